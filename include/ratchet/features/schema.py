"""A model's tables as Ibis sees them: declared columns, in fixed types, and when each row could first be known.

Times are naive and in UTC inside expressions, so that no result depends on a session's time zone.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from include.ratchet.data.resolution import LABELLED_AT
from include.ratchet.errors import SpecError
from include.ratchet.spec import Model

AVAILABLE = "_available_time"
"""When a row of a table could first be known. A static table does not have it."""
PREDICTION = "_prediction_time"
"""When a row is predicted: its event time less the spec's `prediction_lead`."""
LABEL_AVAILABLE = "_label_available_time"
ROW = "_row"
"""Number of an entity row, in the order of the result."""
ENTITIES = "entities"

TIMESTAMP = dt.Timestamp(scale=6)
DTYPES: dict[str, dt.DataType] = {
    "string": dt.string,
    "integer": dt.int64,
    "float": dt.float64,
    "boolean": dt.boolean,
    "timestamp": TIMESTAMP,
    "date": dt.date,
}


def column_types(model: Model, table: str) -> dict[str, dt.DataType]:
    """Every column that features may read of a table: the declared ones, and those that the spec cannot do without.

    A key without a declared type is text, a time is a timestamp, a label that is not declared gets the task's type.
    """
    spec = model.spec.table(table)
    types = {name: DTYPES[column.type] for name, column in spec.columns.items()}
    for key in spec.keys:
        types.setdefault(key, dt.string)
    times = [spec.event_time, spec.available_time]
    if table == model.name:
        types.setdefault(model.spec.label.column, dt.boolean if model.spec.task == "binary" else dt.float64)
        times += [model.spec.label.available_time, label_time(model)]
    types.update({name: TIMESTAMP for name in times if name is not None})
    return types


def label_time(model: Model) -> str | None:
    """The column of the model's own rows that says when the label was known; None if it is a fixed delay after."""
    label = model.spec.label
    return LABELLED_AT if label.annotations else label.available_time


def source_name(table: str) -> str:
    """The name under which a table's rows stand in the query engine."""
    return f"source_{table}"


def source_table(model: Model, table: str) -> ir.Table:
    """A table with all its columns and, unless it is static, the time at which each row could first be known."""
    spec = model.spec.table(table)
    base = ibis.table(column_types(model, table), name=source_name(table))
    if table == model.name:
        label = model.spec.label
        time = label_time(model)
        known = base[time] if time else base[spec.event_time] + interval(label.delay)
        return base.mutate(**{AVAILABLE: known})
    if spec.is_static:
        return base
    known = base[spec.available_time] if spec.available_time else base[spec.event_time] + interval(spec.delay)
    return base.mutate(**{AVAILABLE: known})


def known_columns(model: Model) -> list[str]:
    """Columns of the model's own rows that are known when it predicts: all but label, outcomes and their time."""
    label = model.spec.label
    hidden = {label.column, label.available_time, label_time(model), *label.outcomes}
    return [name for name in column_types(model, model.name) if name not in hidden]


def entity_table(model: Model) -> ir.Table:
    """The rows to compute features for: row number, prediction time, and what is known by then."""
    types = column_types(model, model.name)
    known = {name: types[name] for name in known_columns(model)}
    return ibis.table({ROW: dt.int64, PREDICTION: TIMESTAMP, **known}, name=ENTITIES)


def interval(length: object) -> ir.IntervalScalar:
    """A timedelta as an Ibis interval, to the microsecond."""
    return ibis.literal(length, type=dt.Interval("us"))


def time_order(model: Model, table: str) -> list[str]:
    """The columns that put a table's rows into one order: event time, then keys."""
    spec = model.spec.table(table)
    return list(dict.fromkeys([*([spec.event_time] if spec.event_time else []), *spec.keys]))


def is_monotone(model: Model, table: str) -> bool:
    """Whether a table's rows become known in the order of their event times, each a fixed delay after it."""
    spec = model.spec.table(table)
    own_time = label_time(model) if table == model.name else spec.available_time
    return spec.event_time is not None and own_time is None


def is_unique(model: Model, table: str, on: Iterable[str]) -> bool:
    """Whether the table's keys leave one row for each value of `on` and available time."""
    spec = model.spec.table(table)
    return is_monotone(model, table) and set(spec.keys) <= {*on, spec.event_time}


def unknown_column(where: str, name: str, known: Iterable[str], remedy: str) -> SpecError:
    """The error for a column that is not there, with the near name."""
    near = difflib.get_close_matches(name, list(known), 1, 0.6)
    hint = f"did you mean {near[0]!r}?" if near else remedy
    return SpecError(f"{where}: no column {name!r}; expected one of {', '.join(known)}. {hint}")
