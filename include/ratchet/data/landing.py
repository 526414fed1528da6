"""Landing: one partition, or a whole history of them, from a source into a versioned table.

Running a partition twice, or in two runs at once, gives the same table: rows are merged by their keys, partitions are
replaced whole in one commit, and a commit whose basis has moved is worked out again. Nothing of a run is written into
a row; which run wrote what is in the table's log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import pyarrow as pa

from include.ratchet.data.availability import late_partitions
from include.ratchet.data.connections import Connections
from include.ratchet.data.erased import drop_erased, read_erased
from include.ratchet.data.folding import FoldResult, Standing, fold_batches
from include.ratchet.data.planning import Reads, asked_mark, chunk_reads, find_newer, plan_reads, static_partition
from include.ratchet.data.quarantine import keep_quarantined, quarantine_table
from include.ratchet.data.reports import LandingReport, PartitionCounts
from include.ratchet.data.sources import Source, SourceBatch, open_source
from include.ratchet.data.tables import (
    PARTITION_COLUMN,
    Table,
    count_rows,
    read_mark,
    read_partitions,
    read_schema,
    retry_commits,
    split_partitions,
)
from include.ratchet.errors import PartitionUnavailableError, QuarantineLimitError
from include.ratchet.settings import Settings
from include.ratchet.spec import STATIC_KEY, Model, Partition

__all__ = ["LandingReport", "PartitionCounts", "land", "land_many", "late_partitions", "static_partition"]

Batches: TypeAlias = Mapping[Partition, tuple[SourceBatch, datetime]]
"""What a source gave for each partition, and as of when."""
_COMMIT_PARTITIONS = 400


def land(
    model: Model,
    table: str,
    partition: Partition,
    as_of: datetime,
    *,
    settings: Settings,
    connections: Connections,
    run_id: str,
) -> LandingReport:
    """Land one partition as it could be known at `as_of`, and merge late labels into the partitions before it.

    Raises:
        PartitionUnavailableError: the source has nothing for it.
        SourceError: the source could not be read.
        SchemaChangedError: a column was lost or changed its type.
        QuarantineLimitError: too large a share of the rows broke a rule; they are in the quarantine.
        CommitConflictError: other writers kept winning the table.
    """
    return land_many(
        model, table, [partition], lambda _: as_of, settings=settings, connections=connections, run_id=run_id
    )


def land_many(
    model: Model,
    table: str,
    partitions: Sequence[Partition],
    as_of_of: Callable[[Partition], datetime],
    *,
    settings: Settings,
    connections: Connections,
    run_id: str,
    progress: Callable[[Partition], None] | None = None,
) -> LandingReport:
    """Land many partitions in few commits; the table is the same as after landing them one by one, in any order.

    A partition is read as of the last time that landing day by day would have looked at it: a neighbour that was
    landed later may be there already, and would have merged this one's late labels. Partitions that the source does
    not have are skipped and named in the report. A static table's only partition takes the last of the instants.

    Args:
        model: whose table it is.
        table: the model's own name or one of its further tables.
        partitions: what to land, in order.
        as_of_of: the instant as of which each partition would be landed.
        settings: where the tables are.
        connections: addresses and credentials of sources.
        run_id: noted in the table's log and in the quarantine.
        progress: called once for each partition asked for, when it has been read.

    Raises:
        PartitionUnavailableError: the source has none of the partitions.
        QuarantineLimitError: partitions went over the limit; the others were landed.
    """
    landing = _Landing(model, table, settings, run_id, partitions, as_of_of, progress or (lambda _: None))
    source = open_source(model, table, connections)
    done: dict[Partition, datetime] = {}
    # Again after the commit: a run that landed a neighbour meanwhile saw this one's partitions as little as this one
    # saw its; whichever of the two comes second merges the labels of both.
    while pending := find_newer(landing.plan(), done):
        for chunk in chunk_reads(pending, _COMMIT_PARTITIONS):
            landing.land(landing.read(source, chunk))
        done |= pending
    report = landing.report()
    _check_limit(model, table, [*report.partitions, *report.late], settings)
    return report


class _Landing:
    """One call's work on one table, commit after commit."""

    def __init__(
        self,
        model: Model,
        table: str,
        settings: Settings,
        run_id: str,
        partitions: Sequence[Partition],
        as_of_of: Callable[[Partition], datetime],
        progress: Callable[[Partition], None],
    ) -> None:
        self._model, self._table, self._run_id = model, table, run_id
        self._target = Table(settings, model.name, table)
        self._subject = model.spec.subject_of(table)
        self._erased = read_erased(settings, model.spec) if self._subject else None
        self._quarantine = quarantine_table(settings, model.name, table)
        self._partitions, self._as_of_of, self._progress = partitions, as_of_of, progress
        is_static = model.spec.table(table).is_static
        self._keys = {STATIC_KEY} if is_static else {partition.key for partition in partitions}
        self._untold = set(self._keys)
        self._asked: dict[str, datetime] = {}
        self._absences: list[PartitionUnavailableError] = []
        self._counts: dict[str, PartitionCounts] = {}
        self._new_columns: dict[str, None] = {}
        self._version: int | None = None

    def plan(self) -> Reads:
        """What is to be read of the table as it stands now."""
        plan = plan_reads(self._model, self._table, self._partitions, self._as_of_of, self._target.open(), self._asked)
        self._asked = {partition.key: self._as_of_of(partition) for partition in self._partitions}
        return plan

    def read(self, source: Source, plan: Reads) -> Batches:
        """What the source has of some partitions, without the rows of those who were erased."""
        batches: dict[Partition, tuple[SourceBatch, datetime]] = {}
        for partition, as_of in plan.items():
            try:
                found = source.read(partition, as_of)
                if self._erased is not None:
                    found = drop_erased(found, self._subject or "", self._erased)
                batches[partition] = (found, as_of)
            except PartitionUnavailableError as absence:
                self._absences.append(absence)
            if partition.key in self._untold:
                self._untold.remove(partition.key)
                self._progress(partition)
        return batches

    def land(self, batches: Batches) -> None:
        """Merge and commit, again for as long as another writer is faster; the source is not asked again."""
        if not batches:
            return
        folded, version = retry_commits(lambda: self._attempt(batches), self._target.name)
        for counts in folded.counts:
            before = self._counts.get(counts.partition)
            self._counts[counts.partition] = counts if before is None else counts.after(before)
        self._new_columns |= dict.fromkeys(folded.new_columns)
        self._version = version if version is not None else self._version

    def report(self) -> LandingReport:
        """What became of the partitions asked for.

        Raises:
            PartitionUnavailableError: the source had none of them.
        """
        own = tuple(counts for key, counts in sorted(self._counts.items()) if key in self._keys)
        if not own:
            raise self._absences[-1]
        return LandingReport(
            model=self._model.name,
            table=self._table,
            run_id=self._run_id,
            version=self._version if self._version is not None else self._target.version(),
            is_changed=self._version is not None,
            new_columns=tuple(self._new_columns),
            partitions=own,
            late=tuple(counts for key, counts in sorted(self._counts.items()) if key not in self._keys),
            unavailable=tuple(sorted(self._keys - self._counts.keys())),
        )

    def _attempt(self, batches: Batches) -> tuple[FoldResult, int | None]:
        delta = self._target.open()
        standing = _read_standing(self._model, self._table, batches, delta)
        folded = fold_batches(self._model, self._table, batches, standing)
        keep_quarantined(self._quarantine, folded.quarantined, self._run_id)
        accepted = _leave_refused(self._model, self._table, batches, standing, folded)
        return folded, self._write(delta, accepted)

    def _write(self, delta: Any | None, folded: FoldResult) -> int | None:
        if not folded.changed:
            return None
        tables = [_add_key(rows, key) for key, rows in folded.changed.items()]
        marks = {key: folded.marks[key] for key in folded.changed if key in folded.marks}
        for key in folded.changed.keys() & self._asked.keys():
            name, asked = asked_mark(key), int(self._asked[key].timestamp())
            marks[name] = max(asked, read_mark(delta, name) or asked)
        rows = pa.concat_tables(tables, promote_options="default")
        return self._target.commit(delta, rows, list(folded.changed), {"run": self._run_id}, marks)


def _leave_refused(
    model: Model,
    table: str,
    batches: Batches,
    standing: Standing,
    folded: FoldResult,
) -> FoldResult:
    """The same without the partitions of which too many rows broke a rule."""
    limit = model.spec.table(table).quality.quarantine_limit
    refused = {counts.partition for counts in folded.counts if counts.quarantined_share > limit}
    if not refused:
        return folded
    return fold_batches(model, table, {p: found for p, found in batches.items() if p.key not in refused}, standing)


def _read_standing(model: Model, table: str, partitions: Iterable[Partition], delta: Any | None) -> Standing:
    if delta is None:
        return Standing(schema=None, rows={}, marks={}, newest=None)
    homes = {partition.key for partition in partitions}
    if table == model.name:
        homes |= {late.key for partition in partitions for late in late_partitions(model, partition)}
    present = count_rows(delta)
    rows = split_partitions(read_partitions(delta, sorted(homes & present.keys())))
    marks = {key: mark for key in homes if (mark := read_mark(delta, key)) is not None}
    return Standing(schema=read_schema(delta), rows=rows, marks=marks, newest=max(present, default=None))


def _add_key(rows: pa.Table, key: str) -> pa.Table:
    return rows.append_column(PARTITION_COLUMN, pa.array([key], pa.string()).take(pa.array([0] * rows.num_rows)))


def _check_limit(model: Model, table: str, counts: Sequence[PartitionCounts], settings: Settings) -> None:
    limit = model.spec.table(table).quality.quarantine_limit
    over = [found for found in counts if found.quarantined_share > limit]
    if not over:
        return
    shown = "; ".join(
        f"{found.partition}: {found.quarantined} of {found.read} rows ({found.quarantined_share:.1%})"
        for found in over[:5]
    )
    held = quarantine_table(settings, model.name, table)
    reasons = held.read([found.partition for found in over], columns=["reason"])["reason"].value_counts().to_pylist()
    common = ", ".join(f"{r['values']} ({r['counts']})" for r in sorted(reasons, key=lambda r: -r["counts"])[:5])
    message = (
        f"{table}: too many rows broke a rule in {len(over)} of {len(counts)} partitions: {shown}. The limit is "
        f"{limit:.1%} (quality.quarantine_limit). Most often: {common}. These partitions were not landed; look at the "
        f"rows in {held.location}, and repair the source, the rules or the limit."
    )
    raise QuarantineLimitError(message)
