"""A trained model, watched day by day while its world stays as it is or changes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.ratchet.data.blobs import open_blobs
from include.ratchet.data.records import RecordTable
from include.ratchet.monitoring import monitor, observe, store
from include.ratchet.monitoring.profile import ProfileTable
from include.ratchet.monitoring.reference import read_reference
from include.ratchet.monitoring.report import NUMBERS, PAGE, draw_report, report_path
from include.ratchet.monitoring.words import facts_of
from include.ratchet.pipeline import ingest
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import Entry
from include.ratchet.spec import ModelKey
from tests.include.ratchet.monitoring.watched import KEY, NAME, kinds

# The life of a model, as in pipeline/test_life.py; arithmetic of our own may not warn.
pytestmark = pytest.mark.filterwarnings("default", "error::RuntimeWarning")
LATE = timedelta(hours=36)
"""Labels of a day are known a day after it."""


def requests(watched):
    return [row for row in ledger.history(KEY, watched.workspace.settings) if row.kind == "request"]


def test_reference_counts_every_row_of_the_snapshot_and_every_test_day(watched):
    workspace = watched.workspace
    found = read_reference(workspace.settings, workspace.model(NAME), KEY, 1)
    assert found.features.columns == ("shop", "price", "shop_return_rate_7d")
    rows = found.features.normal.counts.sum(axis=(0, 2))
    assert rows.min() == rows.max() > 400 * 85
    assert len(found.scores.partitions) == 34  # of the 35 before the training; labels of the last came too late
    assert sum(found.importance.values()) == pytest.approx(1)
    assert found.importance["price"] > found.importance["shop_return_rate_7d"]
    assert np.nanmean(found.numbers["metric"]) == pytest.approx(np.nanmean(found.numbers["estimate"]), abs=0.03)
    again = read_reference(workspace.settings, workspace.model(NAME), KEY, 1)
    assert (again.features.normal.directions == found.features.normal.directions).all()
    assert (again.features.limits.shares == found.features.limits.shares).all()
    assert again.bins == found.bins


def test_quiet_weeks_raise_nothing(watched):
    judged = watched.live("2026-03-01", "2026-03-18")
    assert [one.decision.outcome for one in judged] == ["none"] * 18
    assert requests(watched) == []
    assert store.read_incidents(KEY, watched.workspace.settings) == ()
    assert judged[-1].look.rows == 400
    assert {"drift", "prediction", "performance", "estimate", "label"} <= judged[-1].look.judged


def test_looking_twice_is_looking_once(watched):
    watched.change(d2026_03_03={"nulls": 0.5})
    judged = watched.live("2026-03-01", "2026-03-03")[-1]
    first = judged.look
    table = ProfileTable(watched.workspace.settings, NAME)
    rows = table.row_counts()
    again = watched.watch("2026-03-03")
    assert again.look == first
    assert again.incident == judged.incident  # with the key of its message, which is told once
    assert len(store.read_incidents(KEY, watched.workspace.settings)) == 1
    assert table.row_counts() == rows


def test_unit_change_is_seen_at_once_and_asks_for_one_retraining(watched):
    watched.change(d2026_03_05={"unit": 100.0})
    judged = watched.live("2026-03-03", "2026-03-12")
    outcomes = [one.decision.outcome for one in judged]
    assert outcomes[:2] == ["none", "none"]
    assert "drift" in kinds(judged[2].look)
    assert outcomes[2:4] == ["alert", "alert"]
    assert outcomes[4] == "retrain"
    assert {*outcomes[5:]} == {"wait"}
    (request,) = requests(watched)
    assert "drift" in request.details["cause"]
    assert request.details["window"] == ["2026-03-05T00:00:00+00:00", "2026-03-08T00:00:00+00:00"]
    assert any("price" in words for words in request.details["signals"])
    assert request.as_of == judged[4].look.as_of
    assert [one.idempotency_key for one in ledger.pending_requests(KEY, watched.workspace.settings)] == [
        request.idempotency_key
    ]


def test_incident_is_told_when_it_opens_changes_and_closes(watched):
    watched.change(d2026_03_02={"nulls": 0.5}, d2026_03_04={"nulls": 0.0})
    judged = watched.live("2026-03-01", "2026-03-12")
    told = [(one.look.partition, one.incident.event) for one in judged if one.incident and one.incident.event != "kept"]
    assert told[0] == ("2026-03-02", "opened")
    assert told[-1][1] == "closed"
    assert len([event for _, event in told if event == "opened"]) == 1
    (incident,) = store.read_incidents(KEY, watched.workspace.settings)
    assert not incident.is_open
    assert "quality" in incident.kinds
    assert "price" in judged[1].incident.words
    assert "nulls" in judged[1].incident.words


def test_concept_change_shows_in_the_metric_and_not_in_the_inputs(watched):
    spec = watched.folder / "model.yaml"
    spec.write_text(spec.read_text().replace("    unit: EUR\n", "    unit: EUR\n    margin: 0.1\n"))
    watched.change(d2026_03_03={"concept": True})
    judged = watched.live("2026-03-01", "2026-03-16", late=LATE)
    found = [kinds(one.look) for one in judged]
    assert all("drift" not in one for one in found[:4])
    seen = next(i for i, one in enumerate(found) if "performance" in one)
    assert seen <= 8
    assert "retrain" in [one.decision.outcome for one in judged]
    last = store.read_look(KEY, "2026-03-14", watched.workspace.settings).numbers
    assert last["metric"] < 0.5 < last["estimate"]
    # What predictions are worth to the business has fallen as well, and is said in its own unit.
    workspace = watched.workspace
    number = workspace.model(NAME).spec.scope.business.number
    usual = read_reference(workspace.settings, workspace.model(NAME), KEY, 1).numbers[number]
    assert last[number] < np.nanmin(usual)
    told = [signal.words for one in judged for signal in one.look.fired if signal.subject == "worth"]
    assert "EUR a prediction" in told[0]
    shown = store.read_look(KEY, "2026-03-14", workspace.settings)
    assert facts_of(shown)["worth"] == f"{last[number]:.4g}"


def test_labels_that_come_late_are_counted_into_their_day(watched):
    watched.live("2026-03-01", "2026-03-02")
    settings = watched.workspace.settings
    assert store.read_look(KEY, "2026-03-01", settings).maturity > 0
    assert store.read_look(KEY, "2026-03-02", settings).maturity == 0
    watched.live("2026-03-03", "2026-03-03")
    found = store.read_look(KEY, "2026-03-02", settings)
    assert found.maturity == 1
    assert found.numbers["labelled"] == 400
    assert "metric" in found.numbers


def test_silence_is_a_signal(watched):
    watched.live("2026-03-01", "2026-03-04")
    judged = watched.watch("2026-03-05")
    assert judged.look.rows == 0
    assert kinds(judged.look) == {"service"}
    assert "no records at all" in judged.look.fired[0].words
    assert judged.decision.outcome == "alert"


def test_unseen_values_are_a_fault_of_the_data(watched):
    watched.change(d2026_03_02={"new_shop": 0.2})
    found = watched.live("2026-03-01", "2026-03-02")[-1].look
    assert any(one.kind == "quality" and one.subject == "shop" and "unseen" in one.words for one in found.fired)


def test_backfill_asks_nothing_and_opens_nothing(watched):
    watched.change(d2026_03_02={"unit": 100.0})
    for day in range(1, 8):
        name = f"2026-03-{day:02d}"
        watched.land([name])
        done = watched.watch(name, is_backfill=True)
    assert done.decision.outcome == "retrain"
    assert "history" in done.done
    assert requests(watched) == []
    assert store.read_incidents(KEY, watched.workspace.settings) == ()


def test_history_that_is_looked_at_again_does_not_act(watched):
    watched.change(d2026_03_03={"unit": 100.0})
    watched.live("2026-03-01", "2026-03-06")
    assert len(requests(watched)) == 1
    again = watched.watch("2026-03-05")
    assert "history" in again.done
    assert len(requests(watched)) == 1


def test_retraining_that_did_not_help_calls_for_people(watched):
    watched.change(d2026_03_02={"unit": 100.0})
    watched.live("2026-03-01", "2026-03-05")
    (request,) = requests(watched)
    settings = watched.workspace.settings
    verdict = Entry(
        KEY, "verdict", "verdict:a", "a test", "reject: worse", datetime(2026, 3, 6, tzinfo=UTC), 2,
        datetime(2026, 3, 6, tzinfo=UTC), {"answers": [request.idempotency_key]},
    )  # fmt: skip
    ledger.record(verdict, settings)
    judged = watched.live("2026-03-06", "2026-03-07")
    assert [one.decision.outcome for one in judged] == ["escalate", "escalate"]
    assert [one.incident.worst if one.incident else None for one in judged] == ["escalate", None]
    assert len(requests(watched)) == 1


def test_revert_brings_the_previous_champion_back_once(watched, monkeypatch):
    from include.ratchet.registry.database import engine_of
    from include.ratchet.registry.ledger import PREVIOUS, AliasState
    from include.ratchet.rollout import revert

    watched.configure("monitoring: {policy: {drift: revert}}")
    watched.change(d2026_03_02={"unit": 100.0})
    settings = watched.workspace.settings
    judged = watched.live("2026-03-01", "2026-03-04")
    assert judged[-1].decision.outcome == "revert"
    assert "there is nothing to go back to" in judged[-1].done
    with engine_of(settings.database_url).begin() as connection:
        ledger.set_alias(connection, KEY, PREVIOUS, AliasState(7, None), 1)
    # The registry, which other tests share, has no such version.
    monkeypatch.setattr(revert, "follow", lambda key, aliases, settings: None)
    assert "version 7 again" in watched.watch("2026-03-04").done
    assert ledger.read_aliases(KEY, settings)[ledger.CHAMPION].version == 7
    assert "the champion has changed" in watched.watch("2026-03-04").done
    assert [row.kind for row in ledger.history(KEY, settings)].count("revert") == 1


def test_report_of_what_moved_is_drawn_and_kept(watched):
    watched.change(d2026_03_02={"unit": 100.0})
    look = watched.live("2026-03-01", "2026-03-02")[-1].look
    settings = watched.workspace.settings
    path = draw_report(settings, watched.workspace.model(NAME), look)
    assert path == report_path(KEY, "2026-03-02", PAGE)
    blobs = open_blobs(settings)
    page = blobs.get(path)
    assert page.startswith(b"\n    <!DOCTYPE html>") or b"<!DOCTYPE html>" in page[:100]
    assert b"src=http" not in page.replace(b'"', b"")  # complete in itself
    numbers = json.loads(blobs.get(report_path(KEY, "2026-03-02", NUMBERS)))
    assert numbers["evidently"]["metrics"]
    assert any("price" in one["words"] for one in numbers["signals"])


def test_trailing_reference_takes_the_days_before(watched):
    watched.configure("monitoring: {window: 3, reference: {kind: trailing, length: 10d}}")
    watched.change(d2026_03_01={"unit": 100.0})
    judged = watched.live("2026-03-01", "2026-03-16")
    assert "drift" not in kinds(judged[-1].look)
    assert "drift" in judged[-1].look.judged


def test_model_without_a_champion_is_seen_and_not_judged(watched):
    workspace = watched.workspace
    assert monitor.keys_of(workspace.settings, "nobody")[0].segment == "all"
    assert monitor.judge(workspace, KEY, "2026-03-09") is None


def test_segments_are_seen_by_themselves_a_few_at_a_time(watched, monkeypatch):
    """One table holds the records of all model keys; what is of one key says nothing of another."""
    workspace, day = watched.workspace, "2026-03-01"
    settings, model = workspace.settings, workspace.model(NAME)
    reference, keys = read_reference(settings, model, KEY, 1), [ModelKey(NAME, name) for name in ("a", "b", "c")]
    watched.land([day])
    table = RecordTable(settings, model, "scores")
    rows = table.read([day])
    parts = []
    for key in keys:
        path = f"monitoring/{key.slug}/references/1.npz"
        open_blobs(settings).put(path, replace(reference, key=key).to_bytes())
        ledger.move_champion(
            Entry(key, "promotion", f"promotion:{key}", "a test", "good", datetime(2026, 3, 1, tzinfo=UTC), 1), None,
            settings,
        )  # fmt: skip
        place = rows.column_names.index("segment")
        parts.append(rows.set_column(place, "segment", pa.array([key.segment] * rows.num_rows)))
    price = parts[1].column_names.index("feature_price")
    parts[1] = parts[1].set_column(price, "feature_price", pc.multiply(parts[1]["feature_price"], 100.0))
    table.commit(table.open(), pa.concat_tables(parts[:2]), [day], {}, {})
    monkeypatch.setattr(observe, "_ROWS", 500)
    assert {*keys} < {*monitor.keys_of(settings, NAME)}
    segments = [key.segment for key in keys]
    assert monitor.profile(workspace, NAME, segments, day, datetime(2026, 3, 2, tzinfo=UTC)) == 800
    looks = {look.key.segment: look for look in monitor.compare(workspace, NAME, segments, day)}
    assert [looks[name].rows for name in segments] == [400, 400, 0]
    assert kinds(looks["a"]) == set()
    assert "drift" in kinds(looks["b"])
    assert kinds(looks["c"]) == {"service"}
    # Labels come late to all of them at once, each to its own rows.
    watched.land(["2026-03-02", "2026-03-03"])
    monitor.profile(workspace, NAME, segments, "2026-03-02", datetime(2026, 3, 4, tzinfo=UTC))
    late = {name: store.read_look(ModelKey(NAME, name), day, settings) for name in segments}
    assert [late[name].maturity for name in segments] == [1, 1, 0]
    assert late["a"].numbers["labelled"] == late["b"].numbers["labelled"] == 400
    assert late["a"].numbers["metric"] == late["b"].numbers["metric"] > 0.5


def test_requests_are_watched_with_their_payloads_described(watched):
    """Records of the service: text in the payload is described by numbers that the landed rows know."""
    from tests.include.ratchet.replay.lived import read_orders, record

    watched.configure("monitoring: {records: requests, descriptors: {shop: text}}")
    workspace, days = watched.workspace, [f"2026-03-{day:02d}" for day in range(1, 5)]
    ingest.land_partitions(workspace, workspace.model(NAME), days, "a test")
    for day in days:
        change = {"change": lambda row: row.update(payload=longer(row["payload"]))} if day == days[-1] else {}
        record(workspace, read_orders(workspace, day, 400), day, **change)
    looks = [watched.watch(day).look for day in days]
    assert [look.rows for look in looks] == [400] * 4
    assert all("shop.length" in look.numbers["drift"] for look in looks)
    assert looks[0].numbers["payload.columns"] == 4
    assert looks[0].numbers["latency_p99_ms"] == 1
    assert [kinds(look) for look in looks] == [set(), set(), set(), {"quality"}]
    assert {signal.subject for signal in looks[-1].fired} >= {"shop.length"}


def longer(payload):
    row = json.loads(payload)
    return json.dumps({**row, "shop": row["shop"] + " of the moon and all its seas"})


def test_command_shows_looks_and_draws(watched, monkeypatch, capsys):
    from include.ratchet.cli import monitor as command

    monkeypatch.setattr(command, "open_workspace", lambda: watched.workspace)
    watched.change(d2026_03_02={"nulls": 0.5})
    watched.live("2026-03-01", "2026-03-02")
    command.monitor(NAME, first="2026-03-01", last="2026-03-02", draw=True, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert [look["partition"] for look in shown["looks"]] == ["2026-03-01", "2026-03-02"]
    assert shown["report"].endswith("reports/2026-03-02/report.html")
    assert len(shown["incidents"]) == 1
    command.monitor(NAME)
    told = capsys.readouterr().err
    assert "2026-03-02" in told
    assert "quality" in told
