"""Arrow tables as the pandas frames that Great Expectations reads."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from include.ratchet.spec.tables import ColumnType

_NAMES: dict[ColumnType, str] = {
    "string": "string",
    "integer": "int64",
    "float": "float64",
    "boolean": "boolean",
    "timestamp": "datetime64[us, UTC]",
    "date": "datetime64[ms]",
}


def to_frame(table: pa.Table) -> Any:
    """A frame whose types tell a spec's types apart; an integer with gaps stays an integer.

    Plain NumPy types where they can hold the column: only those are checked as whole arrays.
    """
    import pandas as pd

    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype(), pa.string(): pd.StringDtype("pyarrow")}
    columns = {}
    for name in table.column_names:
        column = table[name]
        is_plain = column.type == pa.int64() and column.null_count == 0
        columns[name] = column.to_pandas(types_mapper=None if is_plain else nullable.get, date_as_object=False)
    return pd.DataFrame(columns, copy=False)


def name_type(kind: ColumnType, *, has_nulls: bool) -> str:
    """What pandas calls a spec's type in such a frame."""
    return "Int64" if kind == "integer" and has_nulls else _NAMES[kind]
