"""Working out what partitions look like once freshly read batches are merged into them. Pure: nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa

from include.ratchet.data.availability import hide_outcomes, late_partitions
from include.ratchet.data.batches import CleanBatch, QuarantinedRow, clean_batch, find_partition
from include.ratchet.data.merging import MergeResult, merge_rows, replace_rows
from include.ratchet.data.reports import PartitionCounts
from include.ratchet.data.schemas import Frame, frame_table
from include.ratchet.data.sources import SourceBatch
from include.ratchet.spec import Model, Partition


@dataclass(frozen=True)
class Standing:
    """What a table holds of the partitions at hand.

    Attributes:
        schema: its columns, None before the first landing.
        rows: the rows of each partition that exists.
        marks: as of when each partition was last read, in seconds since 1970.
        newest: the key of its newest partition.
    """

    schema: pa.Schema | None
    rows: Mapping[str, pa.Table]
    marks: Mapping[str, int]
    newest: str | None


@dataclass(frozen=True)
class FoldResult:
    """What is to be written, and the books.

    Attributes:
        changed: the whole content of every partition that differs from before.
        counts: the books of every batch, in order.
        quarantined: the rows of every batch that broke a rule.
        marks: as of when the partitions are known now.
        new_columns: columns that the table did not have.
    """

    changed: Mapping[str, pa.Table]
    counts: tuple[PartitionCounts, ...]
    quarantined: Mapping[str, tuple[QuarantinedRow, ...]]
    marks: Mapping[str, int]
    new_columns: tuple[str, ...]


class _Fold:
    """The partitions while batch after batch is merged into them."""

    def __init__(self, model: Model, table: str, standing: Standing) -> None:
        self.model, self.table, self.standing = model, table, standing
        self.spec = model.spec.table(table)
        self.is_main = table == model.name
        self.frame = frame_table(model, table, standing.schema)
        self.rows: dict[str, pa.Table] = dict(standing.rows)
        self.marks: dict[str, int] = dict(standing.marks)
        self.newest = standing.newest or ""
        self.touched: set[str] = set()

    def add(self, partition: Partition, batch: SourceBatch, as_of: datetime) -> tuple[PartitionCounts, CleanBatch]:
        """Merge one batch into its partition, and its late rows into theirs."""
        homes = [*(late_partitions(self.model, partition) if self.is_main else []), partition]
        frame = replace(self.frame, is_older=partition.key < self.newest)
        clean = clean_batch(batch, frame, [] if self.spec.is_static else homes)
        rows = hide_outcomes(clean.table, self.model, as_of) if self.is_main else clean.table
        self._grow(rows.schema)
        inserted = updated = 0
        for home in homes:
            mine = rows if self.spec.is_static else find_partition(rows, self.spec.event_time, home)
            if mine.num_rows:
                merged = self._merge(home.key, mine, int(as_of.timestamp()), frame)
                inserted, updated = inserted + merged.inserted, updated + merged.updated
        self.marks[partition.key] = max(int(as_of.timestamp()), self.marks.get(partition.key, 0))
        self.newest = max(self.newest, partition.key)
        counts = PartitionCounts(
            partition=partition.key,
            as_of=as_of.astimezone(UTC).isoformat(),
            read=clean.read,
            landed=clean.table.num_rows,
            quarantined=len(clean.quarantined),
            duplicates=clean.duplicates,
            inserted=inserted,
            updated=updated,
        )
        return counts, clean

    def _merge(self, key: str, fresh: pa.Table, read_at: int, frame: Frame) -> MergeResult:
        order = list(dict.fromkeys((*([self.spec.event_time] if self.spec.event_time else []), *self.spec.keys)))
        if self.spec.is_static:
            merged = replace_rows(self.rows.get(key), fresh, keys=self.spec.keys, order=order)
        else:
            merged = merge_rows(
                self.rows.get(key),
                fresh,
                keys=self.spec.keys,
                order=order,
                outcomes=frame.outcomes,
                is_stale=read_at < self.marks.get(key, read_at),
            )
        if merged.is_changed:
            self.rows[key] = merged.table
            self.touched.add(key)
        return merged

    def _grow(self, schema: pa.Schema) -> None:
        """What one batch brings, the next one is measured by, as when they come day by day."""
        known = self.frame.existing
        fields = [] if known is None else list(known)
        names = {field.name for field in fields}
        self.frame = replace(
            self.frame, existing=pa.schema(fields + [field for field in schema if field.name not in names])
        )


def fold_batches(
    model: Model, table: str, batches: Mapping[Partition, tuple[SourceBatch, datetime]], standing: Standing
) -> FoldResult:
    """Merge batches into a table's partitions, in order.

    Raises:
        SchemaChangedError: a batch lost a column or changed one's type.
    """
    fold = _Fold(model, table, standing)
    added = {partition.key: fold.add(partition, batch, as_of) for partition, (batch, as_of) in sorted(batches.items())}
    return FoldResult(
        changed={key: fold.rows[key] for key in sorted(fold.touched)},
        counts=tuple(counts for counts, _ in added.values()),
        quarantined={key: clean.quarantined for key, (_, clean) in added.items()},
        marks=fold.marks,
        new_columns=tuple(dict.fromkeys(name for _, clean in added.values() for name in clean.new_columns)),
    )
