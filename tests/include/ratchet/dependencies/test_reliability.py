"""Reliability: what landing and validation kept, counted against the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from scipy.stats import binomtest

from include.ratchet.data.batches import QuarantinedRow
from include.ratchet.data.quarantine import keep_quarantined, quarantine_table
from include.ratchet.data.tables import PARTITION_COLUMN, Table
from include.ratchet.dependencies.reliability import judge_table, list_calendar, read_landings, read_reliability, wilson
from include.ratchet.settings import read_settings
from include.ratchet.spec import get_model, partition_of
from include.ratchet.spec.scaffold import make_model
from include.ratchet.validation.failures import read_failures
from include.ratchet.validation.subjects import validate_partition

NAME = "order_returns"
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def model(tmp_path):
    make_model(tmp_path / "models", NAME)
    return get_model(tmp_path / "models", NAME)


@pytest.fixture
def settings(tmp_path):
    return read_settings({"RATCHET_HOME": str(tmp_path / "home"), "RATCHET_MODELS_DIR": str(tmp_path / "models")})


@pytest.mark.parametrize(("count", "of"), [(0, 10), (3, 10), (10, 10), (1, 365), (180, 365)])
def test_interval_of_a_share_is_wilsons(count, of):
    found, expected = wilson(count, of, 0.95), binomtest(count, of).proportion_ci(0.95, "wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.low <= found.value <= found.high
    assert wilson(0, 0, 0.95).to_dict() == {"value": 0.0, "low": 0.0, "high": 1.0}


def calendar_of(model, days):
    return list_calendar(model, START, START + timedelta(days=days))


def test_calendar_has_whole_partitions_none_before_the_start(model):
    days = list_calendar(model, START + timedelta(hours=5), START + timedelta(days=3, hours=2))
    assert [day.key for day in days] == ["2026-01-02", "2026-01-03"]
    late = model.model_copy(update={"spec": model.spec.model_copy(update={"start": "2026-01-03"})})
    assert [day.key for day in list_calendar(late, START, START + timedelta(days=4))] == ["2026-01-03", "2026-01-04"]
    assert list_calendar(model, START, START) == []


def test_missing_late_short_and_broken_days_are_counted_and_named(model):
    days = calendar_of(model, 30)
    rows = {day.key: 100 for day in days}
    landed = {day.key: day.end + timedelta(hours=2) for day in days}
    del rows["2026-01-20"], landed["2026-01-20"]
    landed["2026-01-12"] += timedelta(days=2)
    landed["2026-01-13"] += timedelta(days=5)
    rows["2026-01-25"] = 20
    quarantined = {"2026-01-15": 50, "2026-01-16": 1}
    found = judge_table(model, NAME, days, rows, landed_at=landed, quarantined=quarantined, failed=["2026-01-18"])
    assert (found.partitions, found.missing.count, found.missing.worst) == (30, 1, ("2026-01-20",))
    assert (found.late.count, found.late.of) == (3, 30)
    assert found.late.worst == ("2026-01-13", "2026-01-12", "2026-01-20")
    assert (found.short.count, found.short.worst, found.short.of) == (1, ("2026-01-25",), 22)
    assert set(found.broken.worst) == {"2026-01-15", "2026-01-18"}
    assert found.broken.of == 29
    assert found.quarantined_rows == pytest.approx(51 / (28 * 100 + 20 + 51))


def test_backfilled_history_is_not_called_late(model):
    days = calendar_of(model, 40)
    now = days[-1].end + timedelta(hours=1)
    landed = {day.key: max(now - timedelta(days=2), day.end) for day in days}
    found = judge_table(model, NAME, days, {day.key: 10 for day in days}, landed_at=landed, quarantined={})
    # Those of the last month are timed; the others came with a backfill.
    assert 25 <= found.late.of <= 32
    years = {day.key: day.end + timedelta(days=400) for day in days}
    found = judge_table(model, NAME, days, {day.key: 10 for day in days}, landed_at=years, quarantined={})
    assert (found.late.count, found.late.of, found.late.share.high) == (0, 0, 1.0)


def test_nothing_landed_is_all_missing_and_no_window_is_nothing(model, settings):
    found = read_reliability(settings, model, NAME, calendar_of(model, 10))
    assert (found.missing.count, found.missing.of, found.broken.of, found.late.of) == (10, 10, 0, 0)
    found = read_reliability(settings, model, NAME, [])
    assert (found.partitions, found.missing.share.value) == (0, 0.0)


def write(table, keys, value):
    rows = pa.table({"value": [value] * len(keys), PARTITION_COLUMN: keys})
    table.commit(table.open(), rows, keys, {}, {})


def test_landings_are_read_off_the_log_and_landing_again_does_not_make_a_day_late(settings):
    table = Table(settings, NAME, NAME)
    before = datetime.now(UTC)
    write(table, ["2026-01-01", "2026-01-02"], 1)
    write(table, ["2026-01-03"], 1)
    between = datetime.now(UTC)
    first = read_landings(table, table.open())
    write(table, ["2026-01-01", "2026-01-04"], 2)
    found = read_landings(table, table.open())
    assert set(found) == {"2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"}
    assert {key: found[key] for key in first} == first
    assert all(before - timedelta(seconds=1) <= found[key] <= between for key in first)
    assert found["2026-01-04"] >= between - timedelta(milliseconds=1)


def test_quarantine_and_failed_expectations_make_a_day_broken(model, settings):
    days = calendar_of(model, 3)
    table = Table(settings, NAME, NAME)
    rows = pa.table({
        "order_id": ["a", "b", "c"], "ordered_at": pa.array([day.start for day in days], pa.timestamp("us", "UTC")),
        "shop": ["north", None, "web"], "price": [1.0, 2.0, 3.0], "is_returned": [True, False, True],
        PARTITION_COLUMN: [day.key for day in days],
    })  # fmt: skip
    table.commit(None, rows, [day.key for day in days], {}, {})
    keep_quarantined(quarantine_table(settings, NAME, NAME), {days[2].key: (QuarantinedRow("bad", "1", "{}"),)}, "r")
    for day in days:
        validate_partition(model, NAME, day, settings=settings, run_id="scheduled__1", as_of=day.end)
    failed = read_failures(settings, NAME, NAME, [day.key for day in days])
    assert failed == {days[1].key}
    assert read_failures(settings, NAME, "elsewhere", [days[0].key]) == frozenset()
    found = read_reliability(settings, model, NAME, days, failed)
    assert set(found.broken.worst) == {days[1].key, days[2].key}
    assert (found.broken.count, found.broken.of) == (2, 3)
    assert partition_of(model.spec, days[0].key) == days[0]
