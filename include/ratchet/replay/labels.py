"""What became of recorded rows: their labels, from the landed table or from what callers said afterwards."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from include.ratchet.data.casting import cast_column
from include.ratchet.data.records import RecordTable, record_keys
from include.ratchet.data.tables import Table
from include.ratchet.features.schema import column_types
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, partition_of


def find_labels(settings: Settings, model: Model, records: pa.Table) -> pa.Table:
    """The label of each record, (n_rows,), null where none has come.

    A landed label counts before one that a caller sent; of several that were sent, the one that was known last.

    Returns:
        One column, named and typed as the spec says.
    """
    label = model.spec.label.column
    kind = column_types(model, model.name)[label].to_pyarrow()
    found = pc.coalesce(_landed(settings, model, records, kind), _sent(settings, model, records, kind))
    return pa.table({label: found})


def _landed(settings: Settings, model: Model, records: pa.Table, kind: pa.DataType) -> pa.Array:
    spec = model.spec
    table = Table(settings, model.name, model.name)
    times = pc.min_max(records["event_time"])
    first, last = (partition_of(spec, times[end].as_py()).key for end in ("min", "max"))
    inside = [key for key in table.row_counts() if first <= key <= last]
    if not inside:
        return pa.nulls(records.num_rows, kind)
    rows = table.read(inside, columns=list(dict.fromkeys([*spec.keys, spec.label.column])))
    places = pc.index_in(records["key"].combine_chunks(), value_set=record_keys(spec, rows))
    return cast_column(rows[spec.label.column].combine_chunks().take(places), kind).values


def _sent(settings: Settings, model: Model, records: pa.Table, kind: pa.DataType) -> pa.Array:
    rows = _read_feedback(settings, model, records)
    values: dict[Any, Any] = {}
    for row in sorted(rows, key=lambda one: str(one["available_time"])):
        values[row["key"] if row["request_id"] is None else (row["request_id"], row["row"] or 0)] = row["value"]
    columns = (records[name].to_pylist() for name in ("key", "request_id", "row"))
    sent = [values.get(key, values.get((request, row))) for key, request, row in zip(*columns, strict=True)]
    found = [None if value is None else json.loads(value) for value in sent]
    if all(value is None for value in found):
        return pa.nulls(records.num_rows, kind)
    return cast_column(pa.array(found), kind).values


def _read_feedback(settings: Settings, model: Model, records: pa.Table) -> list[dict[str, Any]]:
    delta = RecordTable(settings, model, "feedback").open()
    if delta is None:
        return []
    own = pads.field("key").isin(pc.unique(records["key"])) | pads.field("request_id").isin(
        pc.unique(records["request_id"])
    )
    columns = ["request_id", "row", "key", "value", "available_time"]
    found = delta.to_pyarrow_dataset().to_table(columns=columns, filter=(pads.field("kind") == "label") & own)
    return [dict(row) for row in found.to_pylist()]
