"""Merging freshly read rows into those that a table already has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class MergeResult:
    """A partition after a merge, sorted by time and keys."""

    table: pa.Table
    inserted: int
    updated: int
    removed: int = 0

    @property
    def is_changed(self) -> bool:
        """Whether anything differs from before."""
        return bool(self.inserted or self.updated or self.removed)


def merge_rows(
    existing: pa.Table | None,
    fresh: pa.Table,
    *,
    keys: Sequence[str],
    order: Sequence[str],
    outcomes: Collection[str],
    is_stale: bool = False,
) -> MergeResult:
    """Bring fresh rows into a partition by their keys.

    A row that is not in `fresh` stays. An outcome once known is not overwritten by null. Where `fresh` was read as of
    an earlier time than the partition was (`is_stale`), it adds rows and fills outcomes, and changes nothing else.

    Args:
        existing: the partition's rows, unique by key; None or empty if there are none.
        fresh: rows to merge, unique by key; may have more columns than `existing`.
        keys: columns that identify a row.
        order: columns to sort the result by.
        outcomes: columns that are known only later than the row.
        is_stale: whether `existing` knows more than `fresh`.
    """
    if existing is None or existing.num_rows == 0:
        return MergeResult(_sort(fresh, order), fresh.num_rows, 0)
    if existing.column_names == fresh.column_names and _sort(fresh, order).equals(existing):
        return MergeResult(existing, 0, 0)
    mine, theirs = _pair_rows(existing, fresh, keys)
    columns = {}
    for name in dict.fromkeys((*existing.column_names, *fresh.column_names)):
        columns[name] = _merge_column(name, existing, fresh, mine, theirs, name in outcomes, is_stale)
    merged = _sort(pa.table(columns), order)
    inserted = mine.null_count
    updated = _count_updated(existing, merged, keys)
    return MergeResult(merged, inserted, updated)


def replace_rows(
    existing: pa.Table | None, fresh: pa.Table, *, keys: Sequence[str], order: Sequence[str]
) -> MergeResult:
    """Put fresh rows in the place of all that were there, as tables without history are landed."""
    sorted_rows = _sort(fresh, order)
    if existing is None or existing.num_rows == 0:
        return MergeResult(sorted_rows, fresh.num_rows, 0)
    mine, theirs = _pair_rows(existing, fresh, keys)
    removed = theirs.null_count
    return MergeResult(sorted_rows, mine.null_count, _count_updated(existing, sorted_rows, keys), removed)


def _pair_rows(existing: pa.Table, fresh: pa.Table, keys: Sequence[str]) -> tuple[pa.Array, pa.Array]:
    """Row numbers of both sides, side by side; null where a side does not have the key."""
    left = existing.select(keys).append_column("__mine", pa.array(range(existing.num_rows), pa.int64()))
    right = fresh.select(keys).append_column("__theirs", pa.array(range(fresh.num_rows), pa.int64()))
    joined = left.join(right, list(keys), join_type="full outer", use_threads=False)
    return joined["__mine"].combine_chunks(), joined["__theirs"].combine_chunks()


def _merge_column(
    name: str, existing: pa.Table, fresh: pa.Table, mine: pa.Array, theirs: pa.Array, is_outcome: bool, is_stale: bool
) -> pa.Array:
    kind = fresh.schema.field(name).type if name in fresh.column_names else existing.schema.field(name).type
    old = existing[name].take(mine) if name in existing.column_names else pa.nulls(len(mine), kind)
    if name not in fresh.column_names:
        return old
    new = fresh[name].take(theirs)
    if is_outcome:
        return pc.coalesce(old, new) if is_stale else pc.coalesce(new, old)
    if is_stale and name in existing.column_names:
        return pc.if_else(pc.is_null(mine), new, old)
    return pc.if_else(pc.is_null(theirs), old, new)


def _count_updated(existing: pa.Table, merged: pa.Table, keys: Sequence[str]) -> int:
    """Rows of before that are not the same after."""
    before, after = _pair_rows(existing, merged, keys)
    changed = None
    for name in merged.column_names:
        new = merged[name].take(after)
        if name in existing.column_names:
            old = existing[name].take(before)
            same = pc.or_kleene(pc.equal(old, new), pc.and_(pc.is_null(old), pc.is_null(new)))
            differs = pc.invert(pc.fill_null(same, False))
        else:
            differs = pc.is_valid(new)
        changed = differs if changed is None else pc.or_(changed, differs)
    return int(pc.sum(pc.and_(changed, pc.and_(pc.is_valid(before), pc.is_valid(after)))).as_py() or 0)


def _sort(table: pa.Table, order: Sequence[str]) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in order])
