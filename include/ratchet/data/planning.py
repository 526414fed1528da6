"""Which partitions a landing reads, and as of when."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from include.ratchet.data.availability import following_partitions, late_partitions
from include.ratchet.data.tables import count_rows, read_mark
from include.ratchet.spec import STATIC_KEY, Model, Partition

Reads = dict[Partition, datetime]


def static_partition() -> Partition:
    """The only partition of a table without history."""
    return Partition(STATIC_KEY, datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


def plan_reads(
    model: Model,
    table: str,
    partitions: Sequence[Partition],
    as_of_of: Callable[[Partition], datetime],
    delta: Any | None,
    known: Mapping[str, datetime],
) -> Reads:
    """Each partition asked for, and the earlier ones whose labels may have arrived and that have been landed before.

    A partition is read as of the latest instant at which landing it or one of the partitions that follow it would
    have looked at it, so that the table does not depend on the order in which they came.

    Args:
        model: whose table it is.
        table: the table's name.
        partitions: those asked for.
        as_of_of: the instant as of which each would be landed by itself.
        delta: the table as it stands, None before the first landing.
        known: as of when partitions were last asked for, by key, as far as it need not be looked up.
    """
    if model.spec.table(table).is_static:
        return {static_partition(): max(as_of_of(partition) for partition in partitions)}
    if table != model.name:
        return {partition: as_of_of(partition) for partition in partitions}
    present = {} if delta is None else count_rows(delta)
    times: Reads = {}

    @functools.cache  # a look-up reads the table's log
    def find_asked(key: str) -> datetime | None:
        if key in known or key not in present:
            return known.get(key)
        mark = read_mark(delta, asked_mark(key))
        return None if mark is None else datetime.fromtimestamp(mark, UTC)

    for partition in partitions:
        as_of = as_of_of(partition)
        for earlier in late_partitions(model, partition):
            if earlier in times or earlier.key in present:
                times[earlier] = max(as_of, times.get(earlier, as_of))
        # It would have been read again when the ones that follow it were asked for.
        followed = [find_asked(later.key) for later in following_partitions(model, partition)]
        times[partition] = max([as_of, times.get(partition, as_of), *(instant for instant in followed if instant)])
    return times


def asked_mark(key: str) -> str:
    """The name under which a table remembers as of when a partition was last asked for by itself."""
    return f"asked:{key}"


def find_newer(plan: Reads, done: Mapping[Partition, datetime]) -> Reads:
    """The part of a plan that has not been read as of that late yet."""
    return {partition: as_of for partition, as_of in plan.items() if partition not in done or done[partition] < as_of}


def chunk_reads(plan: Reads, size: int) -> Iterator[Reads]:
    """A plan in parts of a size, by time."""
    ordered = iter(sorted(plan.items()))
    while chunk := dict(islice(ordered, size)):
        yield chunk
