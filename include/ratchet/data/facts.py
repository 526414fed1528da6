"""What landed about some rows, by their keys: labels and whatever else became known, as of an instant."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.annotations import AnnotationTable
from include.ratchet.data.availability import hide_outcomes
from include.ratchet.data.casting import ARROW_TYPES
from include.ratchet.data.records import record_keys
from include.ratchet.data.resolution import settle_labels
from include.ratchet.data.tables import Table
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, partition_of

KEY = "_key"


def read_facts(
    settings: Settings, model: Model, events: pa.Array | pa.ChunkedArray, columns: Iterable[str], as_of: datetime,
    version: int | None = None,
) -> pa.Table | None:  # fmt: skip
    """Rows of the model's own table in the partitions that some event times span; None if nothing landed there.

    Args:
        settings: of the installation.
        model: whose table.
        events: event times.
        columns: wanted beside the keys and the label's times, as far as the table has them.
        as_of: outcomes that became available then or later are null.
        version: of the table; None: the newest.

    Returns:
        The wanted columns with `_key`, the text by which records name a row.
    """
    spec, table = model.spec, Table(settings, model.name, model.name)
    times = pc.min_max(events).as_py()
    if times["min"] is None:
        return None
    first, last = (partition_of(spec, times[end]).key for end in ("min", "max"))
    inside = [key for key in table.row_counts(version) if first <= key <= last]
    schema = table.schema(version) if inside else None
    if schema is None:
        return None
    wanted = dict.fromkeys([*spec.keys, spec.event_time, spec.label.column, spec.label.available_time, *columns])
    rows = table.read(inside, version, [name for name in wanted if name is not None and name in schema.names])
    rows = hide_outcomes(rows, model, as_of - timedelta(microseconds=1))
    if spec.label.annotations:
        rows = settle_labels(model, rows, AnnotationTable(settings, model.name).all(as_of), as_of)
    return rows.append_column(KEY, record_keys(spec, rows))


def find_facts(model: Model, facts: pa.Table | None, keys: pa.Array, columns: Iterable[str]) -> pa.Table:
    """Some columns of the rows with these keys, (n_keys,) each in their order; null where it is not known."""
    found = {}
    places = None if facts is None else pc.index_in(keys, value_set=facts[KEY].combine_chunks())
    for name in columns:
        if facts is None or name not in facts.column_names:
            found[name] = pa.nulls(len(keys), ARROW_TYPES[model.spec.columns[name].type])
        else:
            found[name] = facts[name].combine_chunks().take(places)
    return pa.table(found)
