"""Another future: the same tables up to an instant, and other data from then on."""

from __future__ import annotations

from datetime import datetime

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from include.ratchet.features.definition import compile_sql
from include.ratchet.features.engine import Engine
from include.ratchet.features.entities import instant, zone_times
from include.ratchet.features.inputs import Inputs
from include.ratchet.features.schema import AVAILABLE, column_types, interval, label_time, source_table, time_order
from include.ratchet.settings import Settings
from include.ratchet.spec import Model

_NEW_ROWS = 500
_GONE = 2


def perturb_inputs(model: Model, inputs: Inputs, since: datetime, *, settings: Settings) -> tuple[Inputs, int]:
    """The tables with everything changed that became available at or after an instant.

    Of rows known later, a third vanish and the others get other values; new rows appear, the first of them at the very
    instant. A row of the model's own table keeps, once its prediction time has come, what is known by then. Static
    tables stay as they are.

    Returns:
        The changed tables in memory, and how many rows in them are changed, gone or new.
    """
    changed, count = dict(inputs.tables), 0
    with Engine(settings) as engine:
        engine.bind_inputs(model, inputs)
        for name in model.spec.table_names:
            if name not in inputs.tables or model.spec.table(name).is_static:
                continue
            rows = source_table(model, name)
            later = rows.filter((rows[AVAILABLE] >= instant(since)) | rows[AVAILABLE].isnull())
            kept = rows.filter(rows[AVAILABLE] < instant(since)).select(*column_types(model, name))
            futures = [_alter_rows(model, name, later, since), _invent_rows(model, name, rows, since)]
            parts = [engine.fetch(compile_sql(part)) for part in (kept, *futures)]
            changed[name] = zone_times(pa.concat_tables(parts))
            count += engine.fetch(compile_sql(later.count().as_table())).column(0)[0].as_py() + parts[2].num_rows
    return Inputs(changed), count


def _alter_rows(model: Model, name: str, rows: ir.Table, since: datetime) -> ir.Table:
    """Rows that became known later, with other values."""
    spec = model.spec.table(name)
    columns = list(column_types(model, name))
    fate = (rows[spec.event_time].epoch_seconds() // 60) % 3
    settled = {*spec.keys, spec.event_time, spec.available_time}
    if name != model.name:
        others = {column: _other(rows[column]) for column in columns if column not in settled}
        return rows.filter(fate != _GONE).select(**{column: rows[column] for column in columns} | others)
    label = model.spec.label
    outcomes = {label.column, *label.outcomes}
    is_asked = rows[spec.event_time] - interval(model.spec.prediction_lead) < instant(since)
    values = {}
    for column in columns:
        value = rows[column]
        if column in {label.available_time, label_time(model)}:
            values[column] = ibis.ifelse(
                fate == _GONE, ibis.null(value.type()), value + interval(model.spec.partition_length)
            )
        elif column in outcomes:
            values[column] = ibis.ifelse(fate == _GONE, ibis.null(value.type()), _other(value))
        else:
            values[column] = value if column in settled else ibis.ifelse(is_asked, value, _other(value))
    return rows.filter(is_asked | (fate != _GONE)).select(**values)


def _invent_rows(model: Model, name: str, rows: ir.Table, since: datetime) -> ir.Table:
    """New rows like the newest ones: known from the instant on, a microsecond apart."""
    spec = model.spec.table(name)
    order = time_order(model, name)
    rows = rows.order_by([rows[column].desc() for column in order]).limit(_NEW_ROWS)
    place = ibis.row_number().over(ibis.window(order_by=[rows[column] for column in order]))
    step = place.as_interval("us")
    first = instant(since)
    if name == model.name:
        label = model.spec.label
        own_time, delay = label_time(model), label.delay
        event = first + interval(model.spec.prediction_lead) + step
    else:
        own_time, delay = spec.available_time, spec.delay
        event = first - interval(delay) + step
    values = {}
    for column in column_types(model, name):
        if column == spec.event_time:
            values[column] = event
        elif column == own_time:
            values[column] = first + step
        elif column in spec.keys:
            # With the event time among the keys the row is a new one already, and stays among its like.
            values[column] = rows[column] if spec.event_time in spec.keys else _other(rows[column])
        else:
            is_kind = name == model.name and column not in {model.spec.label.column, *model.spec.label.outcomes}
            values[column] = rows[column] if is_kind else _other(rows[column])
    return rows.select(**values)


def _other(value: ir.Value) -> ir.Value:
    """Another value of the same type for every value, null included."""
    kind = value.type()
    if kind.is_boolean():
        return ~value.fill_null(False)
    if kind.is_string():
        return value.fill_null("") + "~"
    if kind.is_timestamp() or kind.is_date():
        some = ibis.literal(datetime(2001, 1, 1), type=kind)  # noqa: DTZ001  # naive, as all times in expressions
        return (value.fill_null(some) + ibis.interval(days=400)).cast(kind)
    if kind.is_integer():
        return value.fill_null(0) * -3 - 7919
    return value.fill_null(0.0) * -3.5 - 7919.25
