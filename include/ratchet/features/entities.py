"""The rows that features are computed for: the labelled ones of a window, or those that a caller gives."""

from __future__ import annotations

from datetime import UTC, datetime

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.errors import SchemaChangedError
from include.ratchet.features.schema import (
    AVAILABLE,
    LABEL_AVAILABLE,
    PREDICTION,
    ROW,
    TIMESTAMP,
    column_types,
    interval,
    known_columns,
    source_table,
)
from include.ratchet.spec import Model

_INSTANT = pa.timestamp("us", "UTC")
_NAIVE = pa.timestamp("us")


def labelled_rows(model: Model, as_of: datetime, window_start: datetime | None) -> ir.Table:
    """The rows of a window whose label became available before `as_of`, in no order."""
    spec = model.spec
    table = source_table(model, model.name)
    event, label, available = table[spec.event_time], table[spec.label.column], table[AVAILABLE]
    chosen = [event < instant(as_of), label.notnull(), available < instant(as_of)]
    if window_start is not None:
        chosen.append(event >= instant(window_start))
    prediction = event - interval(spec.prediction_lead)
    times = {LABEL_AVAILABLE: available, PREDICTION: prediction}
    return table.filter(chosen).select(*known_columns(model), spec.label.column, **times)


def number_rows(rows: pa.Table) -> pa.Table:
    """The rows with their numbers."""
    return rows.append_column(ROW, pa.array(np.arange(rows.num_rows)))


def complete_rows(model: Model, rows: pa.Table) -> pa.Table:
    """A caller's rows as entity rows: in declared types, nulls for what they leave out, with their prediction times.

    Raises:
        SchemaChangedError: they leave out a key, the event time or a column that must not be null, or give a column
            that cannot be read in its type.
    """
    spec = model.spec
    required = {*spec.keys, spec.event_time, *(name for name, column in spec.columns.items() if not column.nullable)}
    types = column_types(model, model.name)
    columns, lost = {}, []
    for name in known_columns(model):
        if name in rows.column_names:
            columns[name] = _typed(model, name, rows[name], types[name].to_pyarrow())
        elif name in required:
            lost.append(name)
        else:
            columns[name] = pa.nulls(rows.num_rows, _naive(types[name].to_pyarrow()))
    if lost:
        message = (
            f"{model.name}: rows to score have columns {', '.join(rows.column_names)}; expected {', '.join(lost)} too. "
            "Give them, or declare them nullable in model.yaml."
        )
        raise SchemaChangedError(message)
    lead = pa.scalar(spec.prediction_lead, pa.duration("us"))
    return number_rows(pa.table({**columns, PREDICTION: pc.subtract(columns[spec.event_time], lead)}))


def zone_times(rows: pa.Table) -> pa.Table:
    """The engine's naive UTC times as what they are: instants, timestamp[us, UTC]."""
    for place, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type):
            rows = rows.set_column(place, field.name, rows.column(place).cast(_INSTANT))
    return rows


def instant(value: datetime) -> ir.TimestampScalar:
    """An instant as expressions hold it: naive, in UTC.

    Raises:
        ValueError: it has no time zone.
    """
    if value.tzinfo is None:
        message = f"{value.isoformat()} has no time zone; expected one, such as {value.isoformat()}+00:00"
        raise ValueError(message)
    return ibis.literal(value.astimezone(UTC).replace(tzinfo=None), type=TIMESTAMP)


def _typed(model: Model, name: str, column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    is_naive = pa.types.is_timestamp(column.type) and column.type.tz is None
    try:
        if pa.types.is_timestamp(kind) and not is_naive:
            return column.cast(_INSTANT).cast(_NAIVE)
        if not is_naive:
            return column.cast(kind)
    except pa.ArrowInvalid as error:
        message = f"{model.name}: rows to score: column {name} is {column.type}; expected {kind}: {error}"
        raise SchemaChangedError(message) from error
    message = (
        f"{model.name}: rows to score: column {name} has times without a zone; expected UTC instants. Say the zone."
    )
    raise SchemaChangedError(message)


def _naive(kind: pa.DataType) -> pa.DataType:
    return _NAIVE if pa.types.is_timestamp(kind) else kind
