"""Tables of request records: appended once, compacted without a change, and removed when they are old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.ratchet.data.records import RecordTable
from tests.include.ratchet.data.orders import make_settings

DAY = timedelta(days=1)
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def table(model, tmp_path):
    return RecordTable(make_settings(tmp_path), model, "requests")


def record(number, *, event_time=BEGIN, received_at=BEGIN):
    return {
        "request_id": f"r{number}", "row": 0, "model": "orders", "segment": "", "event_time": event_time,
        "received_at": received_at, "version": 1, "route": "champion", "score": number / 10, "feature_amount": 1.5,
    }  # fmt: skip


def ids(table):
    return sorted(table.between(BEGIN - 9000 * DAY, BEGIN + 100 * DAY, ["request_id"])["request_id"].to_pylist())


def test_rows_of_a_log_are_appended_once(table):
    assert table.append([record(1)], "log", 1)
    assert not table.append([record(1)], "log", 1)
    assert table.append([record(2)], "log", 2)
    assert table.append([record(3)], "another log", 1)
    assert ids(table) == ["r1", "r2", "r3"]
    assert (table.last_of("log"), table.last_of("another log"), table.last_of("none")) == (2, 1, -1)


def test_compaction_changes_no_row_and_forgets_no_log(table):
    for number in range(1, 6):
        table.append([record(number)], "log", number)
    before = len(table.files())
    table.compact()
    assert (before, len(table.files())) == (5, 1)
    assert ids(table) == [f"r{number}" for number in range(1, 6)]
    assert not table.append([record(5)], "log", 5)


def test_records_go_so_long_after_they_were_made_and_not_after_what_they_are_about(table):
    """A year that is lived again is about days long past; its records are new."""
    table.append([
        record(1, event_time=BEGIN - 4000 * DAY),
        record(2, event_time=BEGIN, received_at=BEGIN - timedelta(microseconds=1)),
        record(3, event_time=BEGIN + DAY, received_at=BEGIN - 5 * DAY),
        record(4, event_time=BEGIN + DAY),
    ], "log", 4)  # fmt: skip
    assert table.expire(BEGIN.astimezone(UTC)) == 2
    assert ids(table) == ["r1", "r4"]
    assert table.expire(BEGIN) == 0
    assert not table.append([record(4)], "log", 4)


def test_nothing_is_compacted_or_removed_before_the_first_record(table):
    assert (table.compact(), table.expire(BEGIN)) == (0, 0)
