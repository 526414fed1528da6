"""Which segment each row belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

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


def part_of(table: pa.Table, spec: ModelSpec, key: ModelKey) -> pa.Table:
    """The rows that a key learns from, in their order: a segment's own, all for the whole or pooled model."""
    if key.is_pool or spec.segments is None:
        return table
    return table.filter(pc.equal(pc.cast(segments_of(table, spec.segments.by), pa.string()), key.segment))


def _codes(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return pc.dictionary_encode(column.combine_chunks(), null_encoding="encode")
