"""From a source's batch to rows that may be landed: types, rules, duplicates, schema changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.casting import ARROW_TYPES, TIMESTAMP, cast_column, infer_type, settle_type
from include.ratchet.data.rules import Finding, combine_reasons, find_breaches
from include.ratchet.data.schemas import Frame, check_schema, explain_type
from include.ratchet.data.sources import SourceBatch
from include.ratchet.spec import Partition


@dataclass(frozen=True)
class QuarantinedRow:
    """A row that could not be landed."""

    reason: str
    position: str
    raw: str


@dataclass(frozen=True)
class CleanBatch:
    """What became of a batch: `read` = rows of `table` + quarantined + duplicates, always.

    Attributes:
        table: rows to land, unique by key, in the types of the table.
        quarantined: rows that broke a rule.
        duplicates: rows whose keys another row of the batch has.
        read: rows that the source gave.
        new_columns: columns that the table does not have yet.
    """

    table: pa.Table
    quarantined: tuple[QuarantinedRow, ...]
    duplicates: int
    read: int
    new_columns: tuple[str, ...]


def clean_batch(batch: SourceBatch, frame: Frame, homes: Sequence[Partition]) -> CleanBatch:
    """Sort a batch's rows into those to land, those to quarantine, and duplicates.

    Args:
        batch: rows as the source gave them.
        frame: how they are to look.
        homes: partitions that rows may belong to; empty for a table without history.

    Raises:
        SchemaChangedError: a column was lost or changed its type.
    """
    types = _decide_types(batch, frame)
    typed, failures = _cast_table(batch, frame, types)
    findings = [
        *failures,
        *find_breaches(typed, frame.rules, frame.required),
        *_find_strangers(typed, frame, homes),
    ]
    reasons = combine_reasons(findings, typed.num_rows)
    good = typed if not reasons else typed.filter(_keep_mask(typed.num_rows, reasons))
    unique = drop_duplicates(good, frame.spec.keys, frame.spec.quality.duplicates)
    return CleanBatch(
        table=unique,
        quarantined=(*_describe(batch, reasons), *_describe_unreadable(batch)),
        duplicates=good.num_rows - unique.num_rows,
        read=batch.rows,
        new_columns=tuple(n for n in types if frame.existing is not None and n not in frame.existing.names),
    )


def _decide_types(batch: SourceBatch, frame: Frame) -> dict[str, pa.DataType]:
    """The type of every column to land, in order: the spec's, the table's, or the one that came."""
    fixed = frame.fixed_types()
    known = {field.name: field.type for field in frame.existing} if frame.existing is not None else {}
    types: dict[str, pa.DataType] = {}
    for name in (*fixed, *(n for n in batch.table.column_names if n not in fixed)):
        is_away = name not in batch.table.column_names and name not in frame.required
        if name in fixed and is_away and (frame.is_older or name in frame.optional):
            continue
        if name in fixed:
            types[name] = fixed[name]
            continue
        column = batch.table[name]
        came = infer_type(column) if batch.is_text else settle_type(column.type)
        if pa.types.is_null(came):
            # A column without a value has no type yet; it is taken when its first value comes.
            if name in known:
                types[name] = known[name]
        else:
            types[name] = known[name] if name in known and _widens(came, known[name], batch.is_text) else came
    check_schema(types, batch.table.schema, frame)
    return types


def _widens(came: pa.DataType, known: pa.DataType, is_text: bool) -> bool:
    """Whether values of one type can be stored as the other without becoming something else."""
    if came == known or (pa.types.is_integer(came) and pa.types.is_floating(known)):
        return True
    # Text that looks like numbers is still text; a few words among numbers are rows for the quarantine.
    return is_text and (pa.types.is_string(known) or pa.types.is_string(came))


def _cast_table(batch: SourceBatch, frame: Frame, types: Mapping[str, pa.DataType]) -> tuple[pa.Table, list[Finding]]:
    columns, failures = {}, []
    for name, target in types.items():
        found = cast_column(batch.table[name], target)
        columns[name] = found.values
        if found.failed is not None:
            failures.append((found.failed, f"{name}: not readable as {_plain(target)}"))
            _check_share(found.failed, batch.table[name], name, target, frame)
    return pa.table(columns), failures


def _check_share(failed: pa.Array, came: pa.ChunkedArray, name: str, target: pa.DataType, frame: Frame) -> None:
    """A column of which nothing can be read has changed its type; that is no matter of single rows."""
    values = len(came) - came.null_count
    if values == pc.sum(failed).as_py() and values > 1:
        raise explain_type(frame, name, target, came)


def _plain(target: pa.DataType) -> str:
    return next((name for name, arrow in ARROW_TYPES.items() if arrow == target), str(target))


def _find_strangers(table: pa.Table, frame: Frame, homes: Sequence[Partition]) -> list[Finding]:
    """Rows whose event time lies in none of the partitions that are being landed."""
    if frame.spec.event_time is None or not homes:
        return []
    times = table[frame.spec.event_time]
    inside = pa.array([False] * table.num_rows, pa.bool_())
    for home in homes:
        inside = pc.or_(inside, pc.fill_null(_is_within(times, home), True))
    if pc.all(inside, min_count=0).as_py():
        return []
    return [(pc.invert(inside), f"{frame.spec.event_time}: outside of the partition")]


def drop_duplicates(table: pa.Table, keys: tuple[str, ...], keep: str) -> pa.Table:
    """One row for each key: the last or the first of several."""
    if table.num_rows < 2:
        return table
    numbered = table.select(list(keys)).append_column("__row", pa.array(range(table.num_rows), pa.int64()))
    chosen = numbered.group_by(list(keys), use_threads=False).aggregate([("__row", "max" if keep == "last" else "min")])
    if chosen.num_rows == table.num_rows:
        return table
    return table.take(chosen[f"__row_{'max' if keep == 'last' else 'min'}"].sort())


def _keep_mask(rows: int, reasons: Mapping[int, str]) -> pa.Array:
    import numpy as np

    keep = np.ones(rows, dtype=bool)
    keep[list(reasons)] = False
    return pa.array(keep)


def _describe(batch: SourceBatch, reasons: Mapping[int, str]) -> list[QuarantinedRow]:
    if not reasons:
        return []
    raws = batch.table.take(pa.array(list(reasons), pa.int64())).to_pylist()
    return [
        QuarantinedRow(reason, batch.position(row), json.dumps(raw, default=str, sort_keys=True))
        for (row, reason), raw in zip(reasons.items(), raws, strict=True)
    ]


def _describe_unreadable(batch: SourceBatch) -> list[QuarantinedRow]:
    return [QuarantinedRow(row.reason, row.position, json.dumps({"text": row.raw})) for row in batch.unreadable]


def find_partition(table: pa.Table, event_time: str | None, partition: Partition) -> pa.Table:
    """The rows of one partition; all, for a table without history."""
    if event_time is None:
        return table
    return table.filter(_is_within(table[event_time], partition))


def _is_within(times: pa.ChunkedArray, partition: Partition) -> pa.ChunkedArray:
    return pc.and_(
        pc.greater_equal(times, pa.scalar(partition.start, TIMESTAMP)),
        pc.less(times, pa.scalar(partition.end, TIMESTAMP)),
    )
