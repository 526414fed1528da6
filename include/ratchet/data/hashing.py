"""A hash of a table's content: the same for the same values, however they are chunked, encoded or stored."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_TIMESTAMP = pa.timestamp("us", "UTC")


def settle_table(table: pa.Table) -> pa.Table:
    """The table with one spelling of each type: plain strings, no dictionaries, times in microseconds UTC, no NaN."""
    columns = {field.name: _settle_column(table[field.name]) for field in table.schema}
    return pa.table(columns)


def describe_columns(table: pa.Table) -> tuple[tuple[str, str], ...]:
    """Names and types, in order."""
    return tuple((field.name, _name_type(field.type)) for field in table.schema)


def hash_content(table: pa.Table) -> str:
    """SHA-256 over columns, types, order of rows and every value of a settled table."""
    digest = hashlib.sha256()
    for field in table.schema:
        digest.update(f"{field.name}\x00{_name_type(field.type)}\x00{table.num_rows}\x00".encode())
        _hash_array(_whole(table[field.name]), digest)
    return digest.hexdigest()


def _name_type(kind: pa.DataType) -> str:
    """A type's name, without the names that file formats give the items of a list."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{_name_type(kind.value_type)}>"
    return str(kind)


def _settle_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    given = column.type
    if pa.types.is_large_string(given) or pa.types.is_string_view(given):
        return column.cast(pa.string())
    if pa.types.is_timestamp(given) and given != _TIMESTAMP:
        aware = column if given.tz else pc.assume_timezone(column, "UTC")
        return aware.cast(_TIMESTAMP, safe=False)
    if pa.types.is_null(given):
        return column.cast(pa.string())
    if pa.types.is_float64(given) or pa.types.is_float32(given):
        nan = pc.is_nan(column)
        return pc.if_else(nan, pa.scalar(None, given), column) if pc.any(nan, min_count=0).as_py() else column
    return column


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _hash_array(array: pa.Array, digest: Any) -> None:
    """Feed validity and values; what stands in a null's place is not fed."""
    validity = pc.is_valid(array)
    digest.update(b"\x01" + _bits(validity) if array.null_count else b"\x00")
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        _hash_array(pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64()), digest)
        _hash_array(pc.list_flatten(array), digest)
    elif pa.types.is_struct(kind):
        for index in range(kind.num_fields):
            _hash_array(pc.struct_field(array, [index]), digest)
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        filled = pc.fill_null(array, "" if pa.types.is_string(kind) else b"")
        digest.update(pc.binary_length(filled).cast(pa.int64()).to_numpy().tobytes())
        digest.update(_text_bytes(filled))
    elif pa.types.is_boolean(kind):
        digest.update(_bits(pc.fill_null(array, False)))
    else:
        digest.update(_fixed_bytes(array))


def _bits(mask: pa.Array) -> bytes:
    return bytes(mask.to_numpy(zero_copy_only=False).tobytes())


def _text_bytes(array: pa.Array) -> memoryview:
    """The characters of a string array without nulls, end to end."""
    import numpy as np

    _, offsets, data = array.buffers()
    if data is None or len(array) == 0:
        return memoryview(b"")
    bounds = np.frombuffer(offsets, dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    return memoryview(data)[int(bounds[0]) : int(bounds[-1])]


def _fixed_bytes(array: pa.Array) -> bytes:
    kind = array.type
    if pa.types.is_decimal(kind):
        return b"\x00".join(str(value).encode() for value in array.to_pylist())
    plain = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(kind.bit_width)
    if pa.types.is_temporal(kind) and plain is not None:
        array = array.cast(plain)
    zero = pa.scalar(0, array.type)
    return bytes(pc.fill_null(array, zero).to_numpy().tobytes())
