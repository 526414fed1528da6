"""Many rows read at once, column by column: what is right is read fast, and what is not is left to be read by itself.

A column is read here only where that gives what reading its values one by one gives (`payload.RowReader`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.casting import ARROW_TYPES
from include.ratchet.spec.tables import ColumnType

if TYPE_CHECKING:
    from include.ratchet.serving.payload import Field

_GIVEN: dict[ColumnType, set[type]] = {
    "string": {str}, "integer": {int}, "float": {float, int}, "boolean": {bool}, "timestamp": {str}, "date": {str},
}  # fmt: skip
"""What JSON gives for each type; anything else, such as 3.0 for a whole number, is read by itself."""
_ISO = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)$"


def read_columns(fields: Sequence[Field], rows: Sequence[Any], years: tuple[int, int]) -> pa.Table | None:
    """Rows as columns in the spec's types, a field that was left out null; None if any of them may be wrong.

    Args:
        fields: the columns that callers send.
        rows: as they came.
        years: first and last of instants.
    """
    names = {field.name for field in fields}
    if not all(type(row) is dict for row in rows):
        return None
    orders = {tuple(row) for row in rows}
    if not all(names.issuperset(order) for order in orders):
        return None
    if len(orders) == 1:  # as programs write them
        values = dict(zip(*orders, zip(*map(dict.values, rows), strict=True), strict=True))
    else:
        values = {name: [row.get(name) for row in rows] for name in names}
    columns = {}
    for field in fields:
        column = _read_column(field, values.get(field.name, [None] * len(rows)), years)
        if column is None:
            return None
        columns[field.name] = column
    return pa.table(columns)


def _read_column(field: Field, values: Sequence[Any], years: tuple[int, int]) -> pa.Array | None:
    kinds = set(map(type, values)) - {type(None)}
    if not kinds <= _GIVEN[field.type]:
        return None
    try:
        column = _read_times(values, years) if field.type == "timestamp" else _read_plain(field.type, values)
    except (pa.ArrowInvalid, UnicodeEncodeError, OverflowError, ValueError):
        return None
    if column is None or (field.is_required and column.null_count) or not _holds(field, column):
        return None
    return column


def _read_plain(kind: ColumnType, values: Sequence[Any]) -> pa.Array:
    if kind == "date":
        return pa.array(values, pa.string()).cast(pa.date32())
    return pa.array(values, ARROW_TYPES[kind])


def _read_times(values: Sequence[Any], years: tuple[int, int]) -> pa.Array | None:
    texts = pa.array(values, pa.string())
    if pc.any(pc.invert(pc.match_substring_regex(texts, _ISO)), min_count=0).as_py():
        return None
    times = texts.cast(ARROW_TYPES["timestamp"])
    bounds = pc.min_max(times).as_py()
    # A day's room: years are those of the caller's zone.
    first, end = datetime(years[0], 1, 2, tzinfo=UTC), datetime(years[1], 12, 31, tzinfo=UTC)
    return times if bounds["min"] is None or (first <= bounds["min"] and bounds["max"] < end) else None


def _holds(field: Field, column: pa.Array) -> bool:
    """Whether all values keep the spec's bounds."""
    spec = field.spec
    if spec is None:
        return True
    known = column.drop_null()
    if spec.values is not None and not (
        field.type == "string" and pc.all(pc.is_in(known, pa.array(spec.values)), min_count=0).as_py()
    ):
        return False
    if spec.min is None and spec.max is None:
        return True
    if field.type not in ("string", "integer", "float"):
        return field.type != "boolean"
    measures = (pc.utf8_length(known) if field.type == "string" else known).to_numpy(zero_copy_only=False)
    low = -np.inf if spec.min is None else spec.min
    high = np.inf if spec.max is None else spec.max
    return bool(((measures >= low) & (measures <= high)).all())
