"""Finding the records that are to be answered again: by a request's id, or by event time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from include.ratchet.data.records import REQUESTS, RecordTable
from include.ratchet.data.tables import PARTITION_COLUMN
from include.ratchet.errors import RecordNotFoundError
from include.ratchet.settings import Settings
from include.ratchet.spec import WHOLE, Model, ModelSpec, partition_of

Origin = Literal["requests", "scores"]
"""Answers of the prediction service, or of batch scoring."""
_TIME = pa.timestamp("us", "UTC")
_ORDER = [("event_time", "ascending"), ("request_id", "ascending"), ("row", "ascending"), ("version", "ascending")]


@dataclass(frozen=True)
class Selection:
    """Which records are asked for: a request's, or those of an interval, or both; of all segments or of one.

    Attributes:
        request_id: of the request; None for all.
        start: first event time; None: since the first record.
        end: event time before which they lie; None: up to the last record.
        origin: which table; None: a request's id is looked for in both, an interval in the requests.
        segment: of a model divided into segments, whose rows, whichever model answered them; WHOLE: those that the
            pooled model answered; None: all.
    """

    request_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    origin: Origin | None = None
    segment: str | None = None

    def __post_init__(self) -> None:
        """Refuse what asks for nothing.

        Raises:
            ValueError: there is neither an id nor a whole interval, or it ends before it begins.
        """
        if self.request_id is None and (self.start is None or self.end is None):
            message = "found neither a request id nor an interval; expected REQUEST_ID, or both --from and --to"
            raise ValueError(message)
        if self.start is not None and self.end is not None and self.end <= self.start:
            message = f"the interval ends ({self.end}) before it begins ({self.start}); swap the two"
            raise ValueError(message)

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The tables to look into, in order."""
        if self.origin is not None:
            return (self.origin,)
        return ("requests",) if self.request_id is None else ("requests", "scores")

    def __str__(self) -> str:
        parts = [] if self.request_id is None else [f"request {self.request_id!r}"]
        if self.start is not None or self.end is not None:
            start = "the first record" if self.start is None else self.start.isoformat()
            end = "the last" if self.end is None else self.end.isoformat()
            parts.append(f"event times from {start} to {end}")
        if self.segment is not None:
            parts.append("the pooled model" if self.segment == WHOLE else f"segment {self.segment!r}")
        return ", ".join(parts)


def find_records(settings: Settings, model: Model, selection: Selection) -> pa.Table:
    """The records of a selection, by event time, request, row and version.

    Returns:
        The columns of `REQUESTS` and `feature_<name>`; a column that no record has yet is null.

    Raises:
        RecordNotFoundError: there is none; the message says where was looked.
    """
    for origin in selection.origins:
        rows = _read(RecordTable(settings, model, origin), model, selection)
        if rows is not None and rows.num_rows:
            return rows.sort_by(_ORDER)
    searched = [_describe(RecordTable(settings, model, origin)) for origin in selection.origins]
    message = (
        f"{model.name}: found no record of {selection}; looked at {' and '.join(searched)}. A record is there some "
        "seconds after its answer, when its log has been shipped; check the id, the model and the time"
    )
    raise RecordNotFoundError(message)


def _read(table: RecordTable, model: Model, selection: Selection) -> pa.Table | None:
    delta = table.open()
    if delta is None:
        return None
    partitions = find_partitions(model.spec, table.row_counts(), selection.start, selection.end)
    if not partitions:
        return None
    dataset = delta.to_pyarrow_dataset(file_pruning_predicate=[(PARTITION_COLUMN, "in", partitions)])
    chosen = pads.field(PARTITION_COLUMN).isin(pa.array(partitions, pa.string()))
    if selection.request_id is not None:
        chosen &= pads.field("request_id") == selection.request_id
    if selection.start is not None:
        chosen &= pads.field("event_time") >= pa.scalar(selection.start, _TIME)
    if selection.end is not None:
        chosen &= pads.field("event_time") < pa.scalar(selection.end, _TIME)
    rows = dataset.to_table(filter=chosen).drop_columns([PARTITION_COLUMN])
    for field in REQUESTS:
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows if selection.segment is None else rows.filter(_is_of(rows, selection.segment))


def _is_of(rows: pa.Table, segment: str) -> pa.ChunkedArray:
    """Whether rows are a segment's own; of the pooled model, whether it answered them."""
    answered, stood_in = (pc.fill_null(pc.equal(rows[name], segment), False) for name in ("segment", "pooled_for"))
    return pc.or_(answered, stood_in)


def find_partitions(
    spec: ModelSpec, keys: Iterable[str], start: datetime | None, end: datetime | None
) -> list[str]:  # fmt: skip
    """Those of some partitions in which records of an interval of event time can lie; None: without that end."""
    first = "" if start is None else partition_of(spec, start).key
    last = None if end is None else partition_of(spec, end).key
    return [key for key in keys if first <= key and (last is None or key <= last)]


def _describe(table: RecordTable) -> str:
    counts = table.row_counts()
    if not counts:
        return f"{table.location} (no records yet)"
    return f"{table.location} ({sum(counts.values())} records of {min(counts)} to {max(counts)})"


def answered(rows: pa.Table) -> pa.Table:
    """The records that have a score: of the others nothing was answered, for the reason in `error`."""
    return rows.filter(pc.is_valid(rows["score"]))
