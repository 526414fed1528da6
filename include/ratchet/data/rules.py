"""Row-level rules: which rows of a batch go to quarantine, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.casting import cast_column
from include.ratchet.spec.tables import ColumnSpec

Finding = tuple[pa.Array, str]
"""A boolean mask of the rows that break one rule, and the rule in words."""


def find_breaches(table: pa.Table, columns: Mapping[str, ColumnSpec], required: Sequence[str]) -> Iterator[Finding]:
    """Every rule that some row breaks.

    Args:
        table: rows in the spec's types.
        columns: the spec's columns; those that `table` does not have are passed over.
        required: columns that no row can be without.
    """
    for name in required:
        if table[name].null_count:
            yield pc.is_null(table[name]), f"{name}: missing"
    for name, spec in columns.items():
        if name not in table.column_names:
            continue
        yield from _check_column(name, table[name], spec)


def _check_column(name: str, values: pa.ChunkedArray, spec: ColumnSpec) -> Iterator[Finding]:
    if spec.min is not None or spec.max is not None:
        yield from _check_range(name, _measure(values), spec)
    if spec.values is not None:
        allowed = cast_column(pa.array(spec.values, pa.string()), values.type).values
        breach = pc.and_(pc.invert(pc.is_in(values, allowed)), pc.is_valid(values))
        if pc.any(breach, min_count=0).as_py():
            yield breach, f"{name}: not one of {', '.join(spec.values)}"


def _check_range(name: str, values: pa.ChunkedArray, spec: ColumnSpec) -> Iterator[Finding]:
    bounds = pc.min_max(values)
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    if spec.min is not None and low is not None and low < spec.min:
        yield pc.fill_null(pc.less(values, spec.min), False), f"{name}: below {spec.min:g}"
    if spec.max is not None and high is not None and high > spec.max:
        yield pc.fill_null(pc.greater(values, spec.max), False), f"{name}: above {spec.max:g}"


def _measure(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """What bounds are compared with: a number itself, a text's length."""
    if pa.types.is_string(values.type):
        return pc.utf8_length(values).cast(pa.float64())
    return values.cast(pa.float64(), safe=False)


def combine_reasons(findings: Sequence[Finding], rows: int) -> dict[int, str]:
    """The reasons of each row that breaks any rule, by row number from 0."""
    reasons: dict[int, list[str]] = {}
    for mask, reason in findings:
        flat = mask.combine_chunks() if isinstance(mask, pa.ChunkedArray) else mask
        for row in pc.indices_nonzero(flat).to_pylist():
            reasons.setdefault(row, []).append(reason)
    return {row: "; ".join(found) for row, found in sorted(reasons.items()) if row < rows}
