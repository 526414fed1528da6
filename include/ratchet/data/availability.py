"""What could be known when: hiding outcomes from before their time, and which partitions to look at again."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.casting import TIMESTAMP
from include.ratchet.spec import Model, Partition, partition_of


def hide_outcomes(table: pa.Table, model: Model, as_of: datetime) -> pa.Table:
    """Null the label and its companions in rows whose label was not available at `as_of`.

    Sources that know nothing of times (files, most queries) hand over what they have; a year that is lived day by
    day must not see tomorrow's outcomes. A row with an outcome but without an available time is taken at its word.

    Args:
        table: rows of the model's own table, typed.
        model: whose label it is.
        as_of: the instant.
    """
    label = model.spec.label
    names = [name for name in (label.column, *label.outcomes, label.available_time) if name in table.column_names]
    if label.available_time is not None:
        if label.available_time not in table.column_names:
            return table
        available = table[label.available_time]
    else:
        available = pc.add(table[model.spec.event_time], pa.scalar(label.delay))
    hidden = pc.fill_null(pc.greater(available, pa.scalar(as_of, TIMESTAMP)), False)
    if not pc.any(hidden, min_count=0).as_py():
        return table
    for name in names:
        index = table.column_names.index(name)
        empty = pa.scalar(None, table.schema.field(name).type)
        table = table.set_column(index, name, pc.if_else(hidden, empty, table[name]))
    return table


def late_partitions(model: Model, partition: Partition) -> list[Partition]:
    """The past partitions whose labels may have arrived or changed since, oldest first.

    As many as `label.lateness` spans, none before the spec's `start`.
    """
    spec = model.spec
    first = partition_of(spec, spec.start).start if spec.start else None
    found: list[Partition] = []
    current = partition
    for _ in range(_span(model)):
        current = partition_of(spec, current.start - timedelta(seconds=1))
        if first is not None and current.start < first:
            break
        found.append(current)
    return found[::-1]


def following_partitions(model: Model, partition: Partition) -> list[Partition]:
    """The partitions after one that look at its labels again, in order."""
    found: list[Partition] = []
    for _ in range(_span(model)):
        found.append(partition_of(model.spec, (found[-1] if found else partition).end))
    return found


def _span(model: Model) -> int:
    return math.ceil(model.spec.label.lateness / model.spec.partition_length)
