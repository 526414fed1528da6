"""Expectations from a spec: types, missing values, ranges, sets, uniqueness, row counts, freshness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from include.ratchet.data.casting import ARROW_TYPES, cast_column
from include.ratchet.spec import Model, Partition
from include.ratchet.spec.modules import load_function
from include.ratchet.spec.tables import ColumnSpec, Severity, TableSpec
from include.ratchet.validation.frames import name_type
from include.ratchet.validation.history import RowRange
from include.ratchet.validation.library import load_expectations

EXPECTATIONS_FILE = "expectations.py"
_SEVERITIES: dict[Severity, str] = {"fail": "critical", "warn": "warning"}


def expect_columns(
    spec: TableSpec, outcomes: Sequence[str], rows: pa.Table, *, is_partial: bool = False
) -> Iterator[Any]:
    """What each column must look like.

    Args:
        spec: the table's section.
        outcomes: columns that may be missing whatever the spec says, as they come later than their row.
        rows: what will be checked.
        is_partial: whether `rows` need not have all columns of the spec.
    """
    for name, column in spec.columns.items():
        is_present = name in rows.column_names
        if is_present or not is_partial:
            has_nulls = is_present and rows[name].null_count > 0
            yield from _expect_column(name, column, has_nulls=has_nulls, is_outcome=name in outcomes)


def _expect_column(name: str, column: ColumnSpec, *, has_nulls: bool, is_outcome: bool) -> Iterator[Any]:
    gxe = load_expectations()

    severity = _SEVERITIES[column.severity]
    expected_type = name_type(column.type, has_nulls=has_nulls)
    yield gxe.ExpectColumnTypeToBe(column=name, type_=expected_type, severity=severity)
    if not column.nullable and not is_outcome:
        yield gxe.ExpectColumnValuesToNotBeNull(column=name, severity=severity)
    elif column.max_null_share is not None:
        yield gxe.ExpectColumnValuesToNotBeNull(column=name, mostly=1 - column.max_null_share, severity=severity)
    if column.min is not None or column.max is not None:
        if column.type == "string":
            yield gxe.ExpectColumnValueLengthsToBeBetween(
                column=name, min_value=_whole(column.min), max_value=_whole(column.max), severity=severity
            )
        else:
            yield gxe.ExpectColumnValuesToBeBetween(
                column=name, min_value=column.min, max_value=column.max, severity=severity
            )
    if column.values is not None:
        yield gxe.ExpectColumnValuesToBeInSet(column=name, value_set=_read_values(column), severity=severity)


def expect_keys(keys: Sequence[str]) -> Any:
    """Each row has its own keys."""
    gxe = load_expectations()

    if len(keys) == 1:
        return gxe.ExpectColumnValuesToBeUnique(column=keys[0], severity="critical")
    return gxe.ExpectCompoundColumnsToBeUnique(column_list=list(keys), severity="critical")


def expect_times(event_time: str, start: datetime, end: datetime) -> Any:
    """Events lie in `[start, end)`."""
    gxe = load_expectations()

    return gxe.ExpectColumnValuesToBeBetween(
        column=event_time, min_value=start, max_value=end, strict_max=True, severity="critical"
    )


def expect_freshness(spec: TableSpec, partition: Partition, as_of: datetime) -> Iterator[Any]:
    """The newest event is not older than `max_age` at the partition's end, or at `as_of` if that is earlier."""
    gxe = load_expectations()

    if spec.quality.max_age is not None and spec.event_time is not None:
        newest = max(partition.start, min(partition.end, as_of) - spec.quality.max_age)
        yield gxe.ExpectColumnMaxToBeBetween(column=spec.event_time, min_value=newest, severity="critical")


def expect_rows(spec: TableSpec, bounds: RowRange) -> Any:
    """A partition has about as many rows as those of the trailing weeks."""
    gxe = load_expectations()

    return gxe.ExpectTableRowCountToBeBetween(
        min_value=bounds.low, max_value=bounds.high, severity=_SEVERITIES[spec.quality.row_count_severity]
    )


def expect_counts(spec: TableSpec) -> Iterator[Any]:
    """The same for many partitions: over a frame with a row for each and columns `rows`, `low` and `high`."""
    gxe = load_expectations()

    severity = _SEVERITIES[spec.quality.row_count_severity]
    for larger, smaller in (("rows", "low"), ("high", "rows")):
        yield gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A=larger, column_B=smaller, or_equal=True, ignore_row_if="either_value_is_missing", severity=severity
        )


def expect_label(model: Model) -> Iterator[Any]:
    """A snapshot has something to learn: a label that is not always missing, and for classes more than one."""
    gxe = load_expectations()

    label = model.spec.label.column
    yield gxe.ExpectColumnProportionOfNonNullValuesToBeBetween(
        column=label, min_value=0, strict_min=True, severity="critical"
    )
    if model.spec.task != "regression":
        yield gxe.ExpectColumnUniqueValueCountToBeBetween(column=label, min_value=2, severity="critical")


def expect_filled(columns: Sequence[str]) -> Iterator[Any]:
    """No feature is missing in every row."""
    gxe = load_expectations()

    for column in columns:
        yield gxe.ExpectColumnProportionOfNonNullValuesToBeBetween(
            column=column, min_value=0, strict_min=True, severity="warning"
        )


def expect_some_rows() -> Any:
    """A snapshot is not empty."""
    gxe = load_expectations()

    return gxe.ExpectTableRowCountToBeBetween(min_value=1, severity="critical")


def load_own(model: Model, table: str) -> list[Any]:
    """What the model's `expectations.py` adds for a table (or for `snapshot`); nothing, if there is no such file.

    Raises:
        SpecError: the file cannot be imported or has no function `expectations`.
    """
    if not Path(model.folder / EXPECTATIONS_FILE).is_file():
        return []
    load_expectations()  # before the file does
    return list(load_function(model, EXPECTATIONS_FILE, "expectations")(table))


def _read_values(column: ColumnSpec) -> list[Any]:
    """The allowed values as the column's type."""
    texts = pa.array(column.values or (), pa.string())
    return list(cast_column(texts, ARROW_TYPES[column.type]).values.to_pylist())


def _whole(bound: float | None) -> int | None:
    return None if bound is None else int(bound)
