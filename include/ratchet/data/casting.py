"""Reading values as the types that a spec names, so that one bad value costs one row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.spec.tables import ColumnType

TIMESTAMP = pa.timestamp("us", "UTC")
ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": TIMESTAMP,
    "date": pa.date32(),
}
NULL_WORDS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A", "NaT")
_TRUE, _FALSE = frozenset({"true", "t", "yes", "y", "1", "1.0"}), frozenset({"false", "f", "no", "n", "0", "0.0"})


@dataclass(frozen=True)
class CastResult:
    """A column in its new type.

    Attributes:
        values: the column; null where a value could not be read.
        failed: boolean mask of the values that could not be read, None where all could.
    """

    values: pa.Array
    failed: pa.Array | None = None


def cast_column(column: pa.ChunkedArray | pa.Array, target: pa.DataType) -> CastResult:
    """Cast a column, keeping what can be read and marking the rest.

    Text may be `NA`, `null` and the like for a missing value unless text is wanted; times without a zone are UTC;
    NaN is a missing value.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    array = _simplify(array)
    if pa.types.is_null(array.type):
        return CastResult(pa.nulls(len(array), target))
    if pa.types.is_string(array.type) and not pa.types.is_string(target):
        array = _blank_to_null(array)
    try:
        return CastResult(_cast_whole(array, target))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _cast_each(array, target)


def infer_type(column: pa.ChunkedArray | pa.Array) -> pa.DataType:
    """The narrowest of integer, float, boolean, timestamp and string that reads all of a text column.

    Null if the column holds no value at all.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    blanked = _blank_to_null(array)
    if blanked.null_count == len(blanked):
        return pa.null()
    for target in (pa.int64(), pa.float64(), pa.bool_(), TIMESTAMP):
        try:
            _cast_whole(blanked, target)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
        return target
    return pa.string()


def settle_type(given: pa.DataType) -> pa.DataType:
    """The type in which a column that the spec does not name is stored: one width of each kind."""
    if pa.types.is_dictionary(given):
        given = given.value_type
    rules: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
        (pa.types.is_integer, pa.int64()),
        (pa.types.is_floating, pa.float64()),
        (pa.types.is_decimal, pa.float64()),
        (pa.types.is_timestamp, TIMESTAMP),
        (pa.types.is_date, pa.date32()),
        (pa.types.is_large_string, pa.string()),
        (pa.types.is_string_view, pa.string()),
    )
    return next((target for applies, target in rules if applies(given)), given)


def _simplify(array: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        array = array.cast(pa.string())
    if pa.types.is_floating(array.type):
        nan = pc.is_nan(array)
        if pc.any(nan).as_py():
            array = pc.if_else(nan, pa.scalar(None, array.type), array)
    return array


def _blank_to_null(text: pa.Array) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(text)
    blank = pc.is_in(trimmed, pa.array(NULL_WORDS))
    return pc.if_else(blank, pa.scalar(None, pa.string()), trimmed)


def _cast_whole(array: pa.Array, target: pa.DataType) -> pa.Array:
    """All values at once.

    Raises:
        ArrowInvalid: a value cannot be read.
    """
    given = array.type
    if given == target:
        return array
    if pa.types.is_timestamp(target):
        return _cast_times(array)
    if pa.types.is_integer(target) and pa.types.is_string(given):
        # "5.0": so pandas writes a column of integers with gaps. Not through a float, which rounds large keys.
        return pc.replace_substring_regex(array, r"^([+-]?\d+)\.0*$", r"\1").cast(target)
    if pa.types.is_boolean(target) and (pa.types.is_integer(given) or pa.types.is_floating(given)):
        _check_all(pc.is_in(array, pa.array([0, 1], given)), array, "0 or 1")
    if pa.types.is_boolean(given) and not (pa.types.is_string(target) or pa.types.is_integer(target)):
        message = "a boolean is no number or time"
        raise pa.ArrowInvalid(message)
    if pa.types.is_date(target) and pa.types.is_timestamp(given):
        return array.cast(TIMESTAMP, safe=False).cast(target, safe=False)
    if pa.types.is_floating(target) and pa.types.is_integer(given):
        return array.cast(target, safe=False)
    found = array.cast(target)
    if pa.types.is_floating(target):
        return _simplify(found)
    return found


def _cast_times(array: pa.Array) -> pa.Array:
    given = array.type
    if pa.types.is_timestamp(given):
        # Nanoseconds are cut to microseconds, which is what a table holds.
        naive = array if given.tz else array.cast(pa.timestamp("us"), safe=False)
        return naive.cast(TIMESTAMP, safe=False) if given.tz else pc.assume_timezone(naive, "UTC")
    if pa.types.is_date(given):
        return pc.assume_timezone(array.cast(pa.timestamp("us")), "UTC")
    if not pa.types.is_string(given):
        message = f"{given} is not a time"
        raise pa.ArrowInvalid(message)
    try:
        return array.cast(TIMESTAMP)
    except pa.ArrowInvalid:  # times without a zone
        return pc.assume_timezone(array.cast(pa.timestamp("us")), "UTC")


def _check_all(good: pa.Array, array: pa.Array, expected: str) -> None:
    if not pc.all(pc.or_(good, pc.is_null(array)), min_count=0).as_py():
        message = f"expected {expected}"
        raise pa.ArrowInvalid(message)


def _cast_each(array: pa.Array, target: pa.DataType) -> CastResult:
    """Value by value, each distinct one once: the slow way, taken only if something is wrong."""
    encoded = array.dictionary_encode()
    read, failed = [], []
    for value in encoded.dictionary:
        found = _cast_value(value, target)
        read.append(found)
        failed.append(found is None)
    values = pa.array(read, target).take(encoded.indices)
    mask = pc.fill_null(pa.array(failed, pa.bool_()).take(encoded.indices), False)
    return CastResult(values, mask if pc.any(mask, min_count=0).as_py() else None)


def _cast_value(value: pa.Scalar, target: pa.DataType) -> Any:
    try:
        return _cast_whole(pa.array([value.as_py()], value.type), target)[0].as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _read_text(value.as_py(), target) if pa.types.is_string(value.type) else None


def _read_text(text: str, target: pa.DataType) -> datetime | date | bool | None:
    """Spellings that Arrow does not know but people write."""
    if pa.types.is_boolean(target):
        word = text.lower()
        return True if word in _TRUE else False if word in _FALSE else None
    try:
        if pa.types.is_timestamp(target):
            found = datetime.fromisoformat(text)
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        if pa.types.is_date(target):
            return datetime.fromisoformat(text).date()
    except ValueError:
        return None
    return None
