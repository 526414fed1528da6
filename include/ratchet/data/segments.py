"""Which segment each row belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.snapshots import load_snapshot
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey, ModelSpec, segment_name


def segments_of(table: pa.Table, by: Sequence[str]) -> pa.Array:
    """The segment of each row, (n_rows,) of dictionary<int32, string>.

    Args:
        table: with the columns of `by`.
        by: what the spec divides by.
    """
    values = [_codes(table[name]) for name in by]
    joint = values[0].indices
    for further in values[1:]:
        joint = pc.add(pc.multiply(pc.cast(joint, pa.int64()), len(further.dictionary)), further.indices)
    distinct = pc.dictionary_encode(joint)
    first = pc.index_in(distinct.dictionary, value_set=joint)
    shown = [one.dictionary.take(one.indices.take(first)).to_pylist() for one in values]
    names = pa.array([segment_name(parts) for parts in zip(*shown, strict=True)], pa.string())
    # Two combinations may share a name: those with a null are all the pool's.
    again = names.dictionary_encode()
    return pa.DictionaryArray.from_arrays(again.indices.take(distinct.indices), again.dictionary)


class Parts:
    """The rows of a table by segment, each segment's in their order; found once, taken when they are asked for.

    Args:
        table: with the columns of `by`.
        by: what the spec divides by.

    Attributes:
        names: the segment of each row, (n_rows,) of dictionary<int32, string>.
    """

    def __init__(self, table: pa.Table, by: Sequence[str]) -> None:
        self.names = names = segments_of(table, by)
        codes = names.indices.to_numpy(zero_copy_only=False)
        self._table, self._order = table, np.argsort(codes, kind="stable")
        self._ends = np.cumsum(np.bincount(codes, minlength=len(names.dictionary)))
        self._place = {segment: code for code, segment in enumerate(names.dictionary.to_pylist())}

    def of(self, *segments: str) -> pa.Table:
        """The rows of some segments, one after the other; none of one that the table does not have."""
        rows = [self._rows(self._place[segment]) for segment in segments if segment in self._place]
        return self._table.take(pa.array(np.concatenate(rows))) if rows else self._table.slice(0, 0)

    def _rows(self, code: int) -> npt.NDArray[np.int64]:
        rows: npt.NDArray[np.int64] = self._order[self._ends[code - 1] if code else 0 : self._ends[code]]
        return rows


def part_of(table: pa.Table, spec: ModelSpec, key: ModelKey) -> pa.Table:
    """The rows that a key learns from, in their order: a segment's own, all for the whole or pooled model."""
    return table if key.is_pool or spec.segments is None else Parts(table, spec.segments.by).of(key.segment)


def read_part(spec: ModelSpec, key: ModelKey, snapshot_id: str, settings: Settings) -> pa.Table:
    """The rows of a snapshot that a key learned from. The last snapshot is kept for its other segments.

    Raises:
        FileNotFoundError: there is no such snapshot.
    """
    snapshot = load_snapshot(key.pool, snapshot_id, settings)
    if key.is_pool or spec.segments is None:
        return snapshot.read(verify=False)
    # By its content too: of persons who are erased, rows go.
    wanted = (settings.store, key.model, snapshot_id, snapshot.content_hash, spec.segments.by)
    if wanted not in _LAST:
        _LAST.clear()
        _LAST[wanted] = Parts(snapshot.read(verify=False), spec.segments.by)
    return _LAST[wanted].of(key.segment)


_LAST: dict[tuple[object, ...], Parts] = {}


def _codes(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return pc.dictionary_encode(column.combine_chunks(), null_encoding="encode")
