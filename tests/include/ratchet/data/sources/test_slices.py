from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from include.ratchet.data.sources.batch import SourceBatch, Span, UnreadableRow
from include.ratchet.data.sources.slices import slice_batch
from include.ratchet.spec import Partition

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = [Partition(f"2024-01-0{n}", FIRST + timedelta(days=n - 1), FIRST + timedelta(days=n)) for n in (1, 2, 3)]


def batch() -> SourceBatch:
    times = ["2024-01-01", "rubbish", "2024-01-02T23:59:59", None, "2024-01-03"]
    return SourceBatch(
        pa.table({"at": times, "n": ["0", "1", "2", "3", "4"]}),
        (Span("a", pa.array([1, 2, 4])), Span("b", pa.array([1, 3]))),
        (UnreadableRow("a", 3, "?", "broken"), UnreadableRow("b", 2, "?", "broken")),
        is_text=True,
    )


def test_every_row_is_in_one_partition() -> None:
    """Also those whose time or whose columns cannot be read: they go with the row before."""
    found = [slice_batch(batch(), "at", day) for day in DAYS]
    assert [part.table["n"].to_pylist() for part in found] == [["0", "1"], ["2", "3"], ["4"]]
    assert [[bad.position for bad in part.unreadable] for part in found] == [["a, row 3"], ["b, row 2"], []]
    assert sum(part.rows for part in found) == batch().rows


def test_positions_are_those_in_the_source() -> None:
    part = slice_batch(batch(), "at", DAYS[1])
    assert [part.position(row) for row in range(2)] == ["a, row 4", "b, row 1"]


def test_a_table_without_history_is_taken_whole() -> None:
    assert slice_batch(batch(), None, DAYS[0]).rows == 7
