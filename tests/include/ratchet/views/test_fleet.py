"""The fleet: rows from the database, sorted, searched and cut to pages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.ratchet.monitoring import store
from include.ratchet.spec import ModelKey
from include.ratchet.views.fleet import DagFacts, FleetQuery, read_fleet, read_row, read_segments
from tests.include.ratchet.views.filled import BEGIN, DAY, fill, hand_over, incident, look, open_incidents

NAMES = ["apples", "bread", "cheese"]
HOSTILE = "<img src=x onerror=alert(1)>/\"'🦊" + "x" * 260


@pytest.fixture
def settings(either_database):
    fill(either_database, [ModelKey(name) for name in NAMES])
    return either_database


def dags(*names, **changes):
    return {name: DagFacts("ada", "What it is for.", BEGIN + 9 * DAY, **changes) for name in (*NAMES, *names)}


def listed(page):
    return [row.model for row in page.rows]


def test_row_has_all_that_is_known(settings):
    open_incidents(settings, incident(ModelKey("bread"), "retrain"))
    hand_over(settings, ModelKey("cheese"))
    apples, bread, cheese = read_fleet(settings, dags(), NAMES, FleetQuery(sort="model")).rows
    assert (apples.health, apples.owner, apples.champion, apples.partition) == ("healthy", "ada", 3, "2026-03-03")
    assert apples.champion_since == apples.training.at == BEGIN + 2 * DAY
    assert (apples.training.outcome, apples.training.version) == ("promote", 3)
    assert (apples.measure.kind, apples.measure.value, apples.measure.low) == ("actual", 0.9, 0.75)
    assert (apples.signal.kind, apples.signal.is_fired) == ("drift", False)
    assert [(one.version, one.share) for one in apples.traffic] == [(3, 1.0)]
    assert (bread.health, bread.next) == ("warning", "a retraining was asked for")
    assert [(one.role, one.version, one.share) for one in cheese.traffic] == [
        ("champion", 3, 0.75), ("challenger", 4, 0.25),
    ]  # fmt: skip


def test_model_without_anything_is_untrained_and_one_without_dags_broken(settings):
    page = read_fleet(settings, dags("new"), [*NAMES, "new", "odd"], FleetQuery())
    assert [(row.model, row.health) for row in page.rows[:2]] == [("odd", "broken"), ("new", "untrained")]
    assert page.by_health == {"broken": 1, "untrained": 1, "healthy": 3}
    new = page.rows[1]
    assert (new.champion, new.measure, new.signal, new.training, new.traffic) == (None, None, None, None, ())


def test_refused_first_training_is_told_though_there_is_no_champion(settings):
    from include.ratchet.registry.ledger import Entry, record

    row = Entry(ModelKey("new"), "verdict", "verdict:new:t", "manual run", "reject: too bad", BEGIN, 1)
    record(row, settings)
    record(
        replace(row, kind="failure", idempotency_key="failure:new", reason="no rows", recorded_at=BEGIN + DAY), settings
    )
    found = read_row(settings, dags("new"), ModelKey("new"))
    assert (found.health, found.training.outcome, found.training.reason) == ("untrained", "failed", "no rows")


@pytest.mark.parametrize(("sort", "ascending"), [
    ("model", ["apples", "bread", "cheese"]), ("metric", ["cheese", "bread", "apples"]),
    ("champion", ["apples", "bread", "cheese"]), ("trained", ["apples", "bread", "cheese"]),
    ("next", ["apples", "bread", "cheese"]), ("health", ["apples", "bread", "cheese"]),
])  # fmt: skip
def test_sorts_both_ways_and_what_has_no_value_comes_last(settings, sort, ascending):
    names = [*NAMES, "new"]
    facts = dags("new") | {"new": DagFacts()}
    page = read_fleet(settings, facts, names, FleetQuery(sort=sort))
    other = read_fleet(settings, facts, names, FleetQuery(sort=sort, is_descending=True))
    if sort in ("model", "health"):
        assert listed(other) == listed(page)[::-1]
    else:
        assert listed(page) == [*ascending, "new"]
        assert listed(other) == [*ascending[::-1], "new"]


def test_strongest_signal_comes_first_and_one_that_counts_before_all(settings):
    store.write_looks([look(ModelKey("cheese"), 2, fired=True)], settings)
    page = read_fleet(settings, dags(), NAMES, FleetQuery(sort="signal", is_descending=True))
    assert listed(page)[0] == "cheese"
    assert page.rows[0].signal.words == "price moved"


def test_search_takes_every_word_and_counts_what_it_found(settings):
    open_incidents(settings, incident(ModelKey("bread")))
    page = read_fleet(settings, dags(), NAMES, FleetQuery(search="ADA e"))
    assert (page.total, page.by_health) == (3, {"warning": 1, "healthy": 2})
    assert listed(read_fleet(settings, dags(), NAMES, FleetQuery(search="bread ada"))) == ["bread"]
    assert read_fleet(settings, dags(), NAMES, FleetQuery(search="nothing")).rows == ()
    only = read_fleet(settings, dags(), NAMES, FleetQuery(health="warning"))
    assert (listed(only), only.total, only.by_health["healthy"]) == (["bread"], 1, 2)


def test_pages_have_every_row_once(settings):
    pages = [read_fleet(settings, dags(), NAMES, FleetQuery(sort="model", offset=at, limit=2)) for at in (0, 2, 4)]
    assert [name for page in pages for name in listed(page)] == NAMES
    assert {page.total for page in pages} == {3}


def test_nobody_sees_a_model_that_was_not_named(settings):
    assert listed(read_fleet(settings, dags(), ["bread"], FleetQuery())) == ["bread"]
    assert read_fleet(settings, dags(), [], FleetQuery()).total == 0


def test_worst_segment_speaks_for_a_divided_model(settings):
    segments = [ModelKey("bread", name) for name in ("north", HOSTILE, "web")]
    fill_more(settings, segments)
    open_incidents(settings, incident(segments[1], "escalate"), incident(segments[2]))
    bread = read_row(settings, dags(), ModelKey("bread"))
    assert (bread.health, bread.segments) == ("failing", 3)
    assert bread.by_health == {"failing": 1, "warning": 1, "healthy": 1}
    assert bread.why.startswith("1 of 3 segments, such as <img src=x onerror=alert(1)>")
    page = read_segments(settings, dags(), "bread", FleetQuery())
    assert [(row.segment, row.health) for row in page.rows] == [
        (HOSTILE, "failing"), ("web", "warning"), ("north", "healthy"),
    ]  # fmt: skip
    assert read_row(settings, dags(), segments[1]).segment == HOSTILE


def test_look_from_before_there_were_summaries_is_a_row_without_numbers(settings):
    from include.ratchet.registry.database import engine_of, looks

    with engine_of(settings.database_url).begin() as connection:
        connection.execute(looks.update().values(summary=None))
    row = read_row(settings, dags(), ModelKey("apples"))
    assert (row.health, row.measure, row.signal, row.partition) == ("healthy", None, None, "2026-03-03")


def fill_more(settings, keys):
    """Champions and looks of more keys; their verdicts are other models' business."""
    from include.ratchet.registry.database import aliases, engine_of

    with engine_of(settings.database_url).begin() as connection:
        connection.execute(aliases.insert(), [
            {"model": key.model, "segment": key.segment, "alias": "champion", "version": 1, "ledger_id": 1}
            for key in keys
        ])  # fmt: skip
    store.write_looks([look(key, 2) for key in keys], settings)
