from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ratchet.data.hashing import hash_content, settle_table

COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "text": (pa.string(), st.text(max_size=5)),
    "whole": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "small": (pa.int8(), st.integers(-128, 127)),
    "real": (pa.float64(), st.floats(allow_nan=False)),
    "single": (pa.float32(), st.floats(width=32, allow_nan=False)),
    "flag": (pa.bool_(), st.booleans()),
    "time": (pa.timestamp("us", "UTC"), st.integers(0, 2**45)),
    "day": (pa.date32(), st.dates()),
    "list": (pa.list_(pa.string()), st.lists(st.none() | st.text(max_size=3), max_size=3)),
    "raw": (pa.binary(), st.binary(max_size=4)),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 8))
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, unique=True))
    columns = {}
    for name in names:
        kind, values = COLUMNS[name]
        columns[name] = pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), kind)
    return settle_table(pa.table(columns))


@given(tables(), st.integers(1, 4))
def test_chunks_slices_and_parquet_do_not_matter(table: pa.Table, size: int) -> None:
    expected = hash_content(table)
    assert hash_content(pa.Table.from_batches(table.to_batches(max_chunksize=size), table.schema)) == expected
    doubled = pa.concat_tables([table, table]).combine_chunks()
    assert hash_content(doubled.slice(table.num_rows)) == expected
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=size, use_dictionary=size % 2 == 0, compression="zstd")
    assert hash_content(pq.read_table(io.BytesIO(sink.getvalue()))) == expected


@given(tables(), tables())
def test_different_content_has_different_hashes(one: pa.Table, other: pa.Table) -> None:
    is_same = one.schema.equals(other.schema) and _bits(one) == _bits(other)
    assert (hash_content(one) == hash_content(other)) == is_same


def _bits(table: pa.Table) -> str:
    """Content with minus zero told from zero, as the hash does."""
    return repr(table.to_pylist())


def test_neighbours_do_not_run_into_each_other() -> None:
    assert hash_content(pa.table({"a": ["ab", "c"]})) != hash_content(pa.table({"a": ["a", "bc"]}))
    assert hash_content(pa.table({"a": ["", None]})) != hash_content(pa.table({"a": [None, ""]}))
    assert hash_content(pa.table({"a": [1], "b": [2]})) != hash_content(pa.table({"b": [2], "a": [1]}))


def test_what_lies_under_a_null_does_not_matter() -> None:
    plain = pa.array([1, None, 3], pa.int64())
    masked = pa.Array.from_buffers(pa.int64(), 3, [pa.py_buffer(b"\x05"), pa.array([1, 99, 3]).buffers()[1]])
    assert masked.to_pylist() == plain.to_pylist()
    assert hash_content(pa.table({"a": masked})) == hash_content(pa.table({"a": plain}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array(["a", None]).dictionary_encode(), pa.array(["a", None])),
        (pa.array(["a"], pa.large_string()), pa.array(["a"])),
        (pa.array([1_000_000], pa.timestamp("ms")), pa.array([1_000_000_000], pa.timestamp("us", "UTC"))),
        (pa.array([7_000], pa.timestamp("ms", "Asia/Tokyo")), pa.array([7_000_000], pa.timestamp("us", "UTC"))),
        (pa.array([float("nan")]), pa.array([None], pa.float64())),
        (pa.nulls(1), pa.array([None], pa.string())),
    ],
    ids=["dictionary", "large", "naive", "zone", "nan", "null"],
)
def test_spellings_of_one_content_are_settled(one: pa.Array, other: pa.Array) -> None:
    assert hash_content(settle_table(pa.table({"a": one}))) == hash_content(settle_table(pa.table({"a": other})))


def test_the_hash_of_a_content_never_changes() -> None:
    """Snapshots of last year are found by it."""
    table = pa.table({"id": ["a", None], "n": pa.array([1, None], pa.int64()), "x": [0.5, None], "b": [True, None]})
    assert hash_content(table) == "87d1d6ae03b74a5939b41b6d8af8984d1bce0920df1d46300ce3feb54968c3dc"
