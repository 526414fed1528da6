"""Recorded payloads as rows again, and what of them was masked."""

from __future__ import annotations

import json
from typing import Any

import ibis.expr.operations as ops
import pyarrow as pa

from include.ratchet.data.casting import cast_column
from include.ratchet.features.definition import Definition, define
from include.ratchet.features.schema import column_types, known_columns
from include.ratchet.spec import Model

_TIME = pa.timestamp("us", "UTC")


def read_payloads(model: Model, records: pa.Table) -> pa.Table:
    """The rows that were sent, in declared types, (n_rows,).

    A masked column is null, as its values were not kept; the event time is the record's own, which never is.
    """
    payloads = [json.loads(text) for text in records["payload"].to_pylist()]
    masked = set(model.spec.serving.records.mask)
    types = column_types(model, model.name)
    columns: dict[str, pa.Array] = {}
    for name in known_columns(model):
        kind = types[name].to_pyarrow()
        kind = _TIME if pa.types.is_timestamp(kind) else kind
        values = [None if name in masked else payload.get(name) for payload in payloads]
        columns[name] = cast_column(_to_array(values), kind).values
    columns[model.spec.event_time] = records["event_time"]
    return pa.table(columns)


def masked_features(model: Model) -> frozenset[str]:
    """The features that cannot be computed again, as they read a column that is recorded only as a hash."""
    masked = set(model.spec.serving.records.mask) - {model.spec.event_time}
    definition = define(model)
    return frozenset(name for name in definition.features if masked & _read_columns(definition, name))


def _read_columns(definition: Definition, feature: str) -> set[str]:
    """The columns of the row itself that a feature reads, in its expression or to find what is joined to it."""
    joined = {column: join for join in definition.joins for column in (*join.columns, *join.windows)}
    found: set[str] = set()
    for name in _fields(definition.frame.op().values[feature]):
        if name not in joined:
            found.add(name)
        elif joined[name].kind == "query":
            found |= set(definition.entities.columns)  # nothing says which of them it reads
        else:
            found |= {one for key in joined[name].keys.values() for one in _fields(key.op())}
    return found


def _fields(expression: Any) -> set[str]:
    return {field.name for field in expression.find(ops.Field)}


def _to_array(values: list[Any]) -> pa.Array:
    """JSON values of one column; where they are of several kinds, as text, to be read one by one."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
