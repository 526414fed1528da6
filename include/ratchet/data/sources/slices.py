"""Cutting one partition out of a source that hands over its whole history."""

from __future__ import annotations

import bisect

import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.casting import cast_column
from include.ratchet.data.sources.batch import SourceBatch, Span, UnreadableRow
from include.ratchet.spec import Partition

_TIMESTAMP = pa.timestamp("us", "UTC")


def slice_batch(batch: SourceBatch, event_time: str | None, partition: Partition) -> SourceBatch:
    """The rows whose event time lies in the partition; everything, for a table without history.

    A row whose event time cannot be read goes with the row before it, so that it is quarantined once and not in
    every partition.
    """
    if event_time is None or event_time not in batch.table.column_names:
        return batch
    times = cast_column(batch.table[event_time], _TIMESTAMP).values
    assigned = pc.fill_null_backward(pc.fill_null_forward(times))
    inside = pc.and_(
        pc.greater_equal(assigned, pa.scalar(partition.start, _TIMESTAMP)),
        pc.less(assigned, pa.scalar(partition.end, _TIMESTAMP)),
    )
    inside = pc.fill_null(inside, False)
    return SourceBatch(
        table=batch.table.filter(inside),
        spans=_slice_spans(batch.spans, inside),
        unreadable=tuple(row for row in batch.unreadable if _is_near(row, batch.spans, inside)),
        is_text=batch.is_text,
    )


def _slice_spans(spans: tuple[Span, ...], inside: pa.Array) -> tuple[Span, ...]:
    kept, offset = [], 0
    for span in spans:
        kept.append(Span(span.name, span.rows.filter(inside.slice(offset, len(span.rows)))))
        offset += len(span.rows)
    return tuple(kept)


def _is_near(unreadable: UnreadableRow, spans: tuple[Span, ...], inside: pa.Array) -> bool:
    """Whether the readable row before it (the first one, where there is none) is in the partition."""
    offset = 0
    for span in spans:
        if span.name == unreadable.source and len(span.rows):
            before = bisect.bisect_left(span.rows.to_numpy(), unreadable.row) - 1
            return bool(inside[offset + max(before, 0)].as_py())
        offset += len(span.rows)
    return True
