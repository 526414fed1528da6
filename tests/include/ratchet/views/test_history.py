"""Timeline, metric and drift of a model key over time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from include.ratchet.monitoring import store
from include.ratchet.registry.ledger import Entry, record
from include.ratchet.spec import ModelKey
from include.ratchet.views import history
from tests.include.ratchet.monitoring.many import make_spec
from tests.include.ratchet.views.filled import BEGIN, DAY, fill, incident, look, open_incidents

KEY = ModelKey("orders")
LATE = datetime.max.replace(tzinfo=UTC)


@pytest.fixture
def settings(either_database):
    fill(either_database, [KEY, ModelKey("orders", "web")], days=5)
    return either_database


def test_timeline_is_a_keys_own_newest_first(settings):
    page = history.read_timeline(settings, KEY, 0, 2)
    assert page.total == 5
    assert [event.title for event in page.events] == ["version 5: promote", "version 4: promote"]
    assert page.events[0].run == ("train_orders", "t4")
    last = history.read_timeline(settings, KEY, 4, 2)
    assert [event.version for event in last.events] == [1]


@pytest.mark.parametrize(("kind", "details", "title"), [
    ("promotion", {}, "version 2 became champion"), ("revert", {}, "back to version 2"),
    ("rollout", {"action": "pause"}, "hand-over to version 2: pause"), ("request", {}, "a retraining was asked for"),
    ("acknowledgement", {"incident": 7}, "incident 7 acknowledged"),
    ("silence", {"until": "2026-03-01T10:00:00+00:00"}, "silence until 2026-03-01 10:00"),
    ("action", {"action": "retrain", "dag": "train_orders", "run": "page__1"}, "retrain"),
    ("conflict", {}, "conflict version 2"),
])  # fmt: skip
def test_every_kind_of_row_has_a_title(settings, kind, details, title):
    record(Entry(KEY, kind, "one", "ada", "because", LATE.replace(year=2030), 2, details=details), settings)
    event = history.read_timeline(settings, KEY, 0, 1).events[0]
    assert (event.title, event.actor, event.reason) == (title, "ada", "because")
    assert event.run == (("train_orders", "page__1") if kind == "action" else None)


def test_alarms_stand_among_the_events_of_their_time_once(settings):
    over = replace(incident(KEY), opened_at=BEGIN + 1.5 * DAY, closed_at=BEGIN + 3.5 * DAY)
    open_incidents(settings, over, replace(incident(KEY, number=2), opened_at=BEGIN - DAY))
    pages = [history.read_timeline(settings, KEY, at, 2) for at in (0, 2, 4)]
    assert [[event.title.removesuffix(": promote") for event in page.events] for page in pages] == [
        ["version 5", "incident 1 is over", "version 4"], ["version 3", "incident 1: drift", "version 2"],
        ["version 1", "incident 2: drift"],
    ]  # fmt: skip
    whole = history.read_timeline(settings, KEY, 0, 50)
    assert whole.events == tuple(event for page in pages for event in page.events)
    assert history.read_timeline(settings, KEY, 50, 50).events == ()


def test_alarms_of_a_model_that_was_never_trained_are_shown(either_database):
    open_incidents(either_database, incident(KEY))
    assert [event.kind for event in history.read_timeline(either_database, KEY, 0, 9).events] == ["incident"]


def test_series_has_the_metric_its_interval_and_where_it_would_be_too_bad(settings):
    series = history.read_series(settings, KEY, make_spec(monitoring={"margin": 0.05}), LATE, 3)
    assert series.metric == "roc_auc"
    assert [point.partition for point in series.points] == ["2026-03-03", "2026-03-04", "2026-03-05"]
    point = series.points[-1]
    assert (point.actual, point.estimate, point.low, point.expected, point.high) == (0.9, 0.91, 0.75, 0.8, 0.85)
    assert point.threshold == pytest.approx(0.75)
    lower = history.read_series(
        settings, KEY, make_spec(monitoring={"margin": 0.05}, evaluation={"metric": "log_loss"}), LATE, 1
    )
    assert lower.points[0].threshold == pytest.approx(0.85)


def test_heat_map_has_the_columns_that_moved_most_first_and_says_what_it_hides(settings, monkeypatch):
    store.write_looks([look(KEY, 5, drift=0.7, fired=True)], settings)
    found = history.read_heat_map(settings, KEY, 0.1, LATE, 2)
    assert found.partitions == ("2026-03-05", "2026-03-06")
    assert found.columns == ("price", "shop")
    assert found.effects == ((0.01, 0.7), (0.0, 0.0))
    assert found.drifted == ((False, True), (False, False))
    monkeypatch.setattr(history, "COLUMNS", 1)
    assert history.read_heat_map(settings, KEY, 0.1, LATE, 2).hidden == 1


def test_day_without_enough_rows_is_a_hole(settings):
    bare = look(KEY, 5)
    store.write_looks([bare.__class__(**{**vars(bare), "numbers": {}})], settings)
    found = history.read_heat_map(settings, KEY, 0.1, LATE, 1)
    assert (found.columns, found.effects) == ((), ())
    point = history.read_series(settings, KEY, make_spec(), LATE, 1).points[0]
    assert (point.actual, point.window, point.threshold) == (None, None, None)


def test_nothing_seen_is_nothing_drawn(settings):
    assert history.read_series(settings, ModelKey("other"), make_spec(), LATE, 9).points == ()
    assert history.read_timeline(settings, ModelKey("other"), 0, 9).total == 0
