"""The rows that features are computed for: the labelled ones of a window, or those that a caller gives."""

from __future__ import annotations

from datetime import UTC, datetime

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa

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

GIVEN = "given"
"""The name under which a caller's rows are bound."""


def labelled_rows(model: Model, as_of: datetime, window_start: datetime | None) -> ir.Table:
    """The rows of a window whose label became available before `as_of`, numbered by event time and keys."""
    spec = model.spec
    table = source_table(model, model.name)
    table = table.rename({LABEL_AVAILABLE: AVAILABLE})
    event = table[spec.event_time]
    chosen = [event < instant(as_of), table[spec.label.column].notnull(), table[LABEL_AVAILABLE] < instant(as_of)]
    if window_start is not None:
        chosen.append(event >= instant(window_start))
    table = _with_prediction(model, table.filter(chosen))
    order = ibis.window(order_by=[spec.event_time, *spec.keys])
    return table.mutate(**{ROW: ibis.row_number().over(order)})


def given_rows(model: Model) -> ir.Table:
    """The rows that are bound under `given`, with their prediction time."""
    return _with_prediction(model, ibis.table(given_types(model), name=GIVEN))


def given_types(model: Model) -> dict[str, dt.DataType]:
    """What a caller's rows consist of."""
    types = column_types(model, model.name)
    return {ROW: dt.int64, **{name: types[name] for name in known_columns(model)}}


def complete_rows(model: Model, rows: pa.Table) -> pa.Table:
    """A caller's rows, numbered, with nulls for what they leave out.

    Raises:
        SchemaChangedError: they leave out a key, the event time or a column that must not be null.
    """
    spec = model.spec
    required = {*spec.keys, spec.event_time}
    required |= {name for name, column in spec.columns.items() if not column.nullable}
    lost = [name for name in known_columns(model) if name in required and name not in rows.column_names]
    if lost:
        message = (
            f"{model.name}: rows to score have columns {', '.join(rows.column_names)}; expected {', '.join(lost)} too. "
            "Give them, or declare them nullable in model.yaml."
        )
        raise SchemaChangedError(message)
    known = [name for name in known_columns(model) if name in rows.column_names]
    absent = [name for name in known_columns(model) if name not in rows.column_names]
    columns = {ROW: pa.array(range(rows.num_rows), pa.int64()), **{name: rows[name] for name in known}}
    return pa.table({**columns, **{name: pa.nulls(rows.num_rows) for name in absent}})


def instant(value: datetime) -> ir.TimestampScalar:
    """An instant as expressions hold it: naive, in UTC.

    Raises:
        ValueError: it has no time zone.
    """
    if value.tzinfo is None:
        message = f"{value.isoformat()} has no time zone; expected one, such as {value.isoformat()}+00:00"
        raise ValueError(message)
    return ibis.literal(value.astimezone(UTC).replace(tzinfo=None), type=TIMESTAMP)


def _with_prediction(model: Model, table: ir.Table) -> ir.Table:
    return table.mutate(**{PREDICTION: table[model.spec.event_time] - interval(model.spec.prediction_lead)})
