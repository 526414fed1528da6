"""Request records: found by id, key, time, version or output, a page at a time, and one of them whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from include.ratchet.errors import RecordNotFoundError
from include.ratchet.settings import Settings
from include.ratchet.spec import Model

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

Origin = Literal["requests", "scores"]
"""Answers of the prediction service, or of batch scoring."""
_SHOWN = ("request_id", "row", "segment", "pooled_for", "key", "event_time", "received_at", "latency_ms", "version",
          "route", "score", "error")  # fmt: skip
DAYS = 31
"""Partitions that one search reads, the newest first, unless it says which."""


@dataclass(frozen=True)
class RecordQuery:
    """Which records.

    Attributes:
        origin: which table.
        request_id: of the request.
        key: by which labels come.
        start: first event time.
        end: event time before which they lie.
        version: that answered.
        segment: of the model that answered, or that it stood in for.
        low: smallest score.
        high: largest score.
        has_error: whether there is no score; None: either.
        offset: rows to leave out.
        limit: rows of a page.
    """

    origin: Origin = "requests"
    request_id: str | None = None
    key: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    version: int | None = None
    segment: str | None = None
    low: float | None = None
    high: float | None = None
    has_error: bool | None = None
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True)
class RecordRow:
    """A record, as lists show it."""

    request_id: str
    row: int
    segment: str | None
    pooled_for: str | None
    key: str | None
    event_time: datetime | None
    received_at: datetime | None
    latency_ms: float | None
    version: int | None
    route: str | None
    score: float | None
    error: str | None


@dataclass(frozen=True)
class Records:
    """A page of records, newest event first.

    Attributes:
        rows: of the page.
        total: that were found.
        searched: partitions that were read, oldest first.
        skipped: older ones that were not; a search by time reaches them.
    """

    rows: tuple[RecordRow, ...]
    total: int
    offset: int
    limit: int
    searched: tuple[str, ...]
    skipped: int


@dataclass(frozen=True)
class RecordDetails:
    """Everything that was recorded of one prediction.

    Attributes:
        columns: by name, in the order in which they are kept.
        payload: the row as it came.
        output: what was answered.
        features: by name.
        feedback: what became known of it later, oldest first.
    """

    columns: dict[str, Any]
    payload: Any
    output: Any
    features: dict[str, Any]
    feedback: tuple[dict[str, Any], ...]


def find(settings: Settings, model: Model, query: RecordQuery) -> Records:
    """A page of the records that a query asks for."""
    from include.ratchet.data.records import RecordTable
    from include.ratchet.data.tables import PARTITION_COLUMN

    table = RecordTable(settings, model, query.origin)
    delta, every = table.open(), sorted(table.row_counts())
    wanted = _narrow(model, query, every)
    if delta is None or not wanted:
        return Records((), 0, query.offset, query.limit, (), len(every))
    dataset = delta.to_pyarrow_dataset(file_pruning_predicate=[(PARTITION_COLUMN, "in", wanted)])
    names = [name for name in _SHOWN if name in dataset.schema.names]
    rows = dataset.to_table(columns=names, filter=_condition(query, wanted))
    order = [("event_time", "descending"), ("request_id", "ascending"), ("row", "ascending"), ("version", "ascending")]
    page = rows.sort_by(order).slice(query.offset, query.limit).to_pylist()
    found = tuple(RecordRow(**{name: row.get(name) for name in _SHOWN}) for row in page)
    return Records(found, rows.num_rows, query.offset, query.limit, tuple(wanted), len(every) - len(wanted))


def read_record(
    settings: Settings, model: Model, origin: Origin, request_id: str, row: int, version: int | None = None
) -> RecordDetails:
    """One record whole, with what became known of it.

    Raises:
        RecordNotFoundError: there is none.
    """
    import pyarrow.compute as pc

    from include.ratchet.data.records import FEATURE
    from include.ratchet.replay import Selection, find_records

    rows = find_records(settings, model, Selection(request_id=request_id, origin=origin))
    rows = rows.filter(pc.equal(rows["row"], row))
    if version is not None:
        rows = rows.filter(pc.equal(rows["version"], version))
    if not rows.num_rows:
        message = f"{model.name}: request {request_id!r} has no row {row} by version {version}"
        raise RecordNotFoundError(message)
    one = rows.slice(0, 1).to_pylist()[0]
    features = {name.removeprefix(FEATURE): value for name, value in one.items() if name.startswith(FEATURE)}
    columns = {name: value for name, value in one.items()
               if not name.startswith(FEATURE) and name not in ("payload", "output")}  # fmt: skip
    return RecordDetails(columns, _parse(one["payload"]), _parse(one["output"]), features,
                         _read_feedback(settings, model, one))  # fmt: skip


def _narrow(model: Model, query: RecordQuery, every: list[str]) -> list[str]:
    """The partitions to read."""
    from include.ratchet.replay.find import find_partitions

    found = find_partitions(model.spec, every, query.start, query.end)
    is_named = query.request_id is not None or query.key is not None or query.start is not None
    return found if is_named else found[-DAYS:]


def _condition(query: RecordQuery, partitions: list[str]) -> pc.Expression:
    import pyarrow as pa
    import pyarrow.dataset as pads

    from include.ratchet.data.tables import PARTITION_COLUMN

    moment = pa.timestamp("us", "UTC")
    found = pads.field(PARTITION_COLUMN).isin(pa.array(partitions, pa.string()))
    for name, wanted in (("request_id", query.request_id), ("key", query.key), ("version", query.version)):
        if wanted is not None:
            found &= pads.field(name) == wanted
    if query.segment is not None:
        found &= (pads.field("segment") == query.segment) | (pads.field("pooled_for") == query.segment)
    if query.start is not None:
        found &= pads.field("event_time") >= pa.scalar(query.start, moment)
    if query.end is not None:
        found &= pads.field("event_time") < pa.scalar(query.end, moment)
    if query.low is not None:
        found &= pads.field("score") >= query.low
    if query.high is not None:
        found &= pads.field("score") <= query.high
    if query.has_error is not None:
        found &= pads.field("error").is_valid() if query.has_error else pads.field("error").is_null()
    return found


def _read_feedback(settings: Settings, model: Model, record: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Labels, people's answers and complaints about a record, by its id or key."""
    import pyarrow.dataset as pads

    from include.ratchet.data.records import RecordTable

    delta = RecordTable(settings, model, "feedback").open()
    if delta is None:
        return ()
    by_id = (pads.field("request_id") == record["request_id"]) & (pads.field("row") == record["row"])
    wanted = by_id if record["key"] is None else by_id | (pads.field("key") == record["key"])
    rows: pa.Table = delta.to_pyarrow_dataset().to_table(
        columns=["feedback_id", "kind", "value", "available_time", "received_at", "caller"], filter=wanted
    )
    return tuple({**row, "value": _parse(row["value"])} for row in rows.sort_by("received_at").to_pylist())


def _parse(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text
