"""Landing: one partition, or a whole history of them, from a source into a versioned table.

Running a partition twice, or in two runs at once, gives the same table: rows are merged by their keys, partitions are
replaced whole in one commit, and a commit whose basis has moved is worked out again. Nothing of a run is written into
a row; which run wrote what is in the table's log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from include.ratchet.data.availability import late_partitions
from include.ratchet.data.connections import Connections
from include.ratchet.data.folding import FoldResult, Standing, fold_batches
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

_COMMIT_PARTITIONS = 400


def static_partition() -> Partition:
    """The only partition of a table without history."""
    return Partition(STATIC_KEY, datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


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
    """Land many partitions in few commits; the table is the same as after landing them one by one, in order.

    A partition is read once, as of the last time that landing day by day would have looked at it. Partitions that the
    source does not have are skipped and named in the report. A static table's only partition takes the last of the
    instants.

    Args:
        model: whose table it is.
        table: the model's own name or one of its further tables.
        partitions: what to land, in order.
        as_of_of: the instant as of which each partition would be landed.
        settings: where the tables are.
        connections: addresses and credentials of sources.
        run_id: noted in the table's log and in the quarantine.
        progress: called after each partition that was read.

    Raises:
        PartitionUnavailableError: the source has none of the partitions.
        QuarantineLimitError: partitions went over the limit; the others were landed.
    """
    target = Table(settings, model.name, table)
    source = open_source(model, table, connections)
    times = _plan_reads(model, table, partitions, as_of_of, target)
    asked = {static_partition().key} if model.spec.table(table).is_static else {p.key for p in partitions}
    landed: list[_Landed] = []
    absences: list[PartitionUnavailableError] = []
    plan = sorted(times.items())
    for start in range(0, len(plan), _COMMIT_PARTITIONS):
        batches = _read_batches(source, plan[start : start + _COMMIT_PARTITIONS], absences, progress)
        if batches:
            landed.append(_land_batches(model, table, batches, target, settings, run_id))
    counts = [found for chunk in landed for found in chunk.folded.counts]
    own = tuple(found for found in counts if found.partition in asked)
    if not own:
        raise absences[-1]
    report = LandingReport(
        model=model.name,
        table=table,
        run_id=run_id,
        version=next((chunk.version for chunk in landed[::-1] if chunk.version is not None), target.version()),
        is_changed=any(chunk.version is not None for chunk in landed),
        new_columns=tuple(dict.fromkeys(name for chunk in landed for name in chunk.folded.new_columns)),
        partitions=own,
        late=tuple(found for found in counts if found.partition not in asked),
        unavailable=tuple(sorted(asked - {found.partition for found in own})),
    )
    _check_limit(model, table, counts, settings)
    return report


@dataclass(frozen=True)
class _Landed:
    """One commit, or none if nothing had changed."""

    folded: FoldResult
    version: int | None


def _plan_reads(
    model: Model,
    table: str,
    partitions: Sequence[Partition],
    as_of_of: Callable[[Partition], datetime],
    target: Table,
) -> dict[Partition, datetime]:
    """Which partitions to read, as of when: each one asked for, and the late ones that have been landed before."""
    if model.spec.table(table).is_static:
        return {static_partition(): max(as_of_of(partition) for partition in partitions)}
    is_main = table == model.name
    present = target.row_counts() if is_main else {}
    times: dict[Partition, datetime] = {}
    for partition in partitions:
        as_of = as_of_of(partition)
        for earlier in late_partitions(model, partition) if is_main else ():
            if earlier in times or earlier.key in present:
                times[earlier] = max(as_of, times.get(earlier, as_of))
        times[partition] = max(as_of, times.get(partition, as_of))
    return times


def _read_batches(
    source: Source,
    plan: Sequence[tuple[Partition, datetime]],
    absences: list[PartitionUnavailableError],
    progress: Callable[[Partition], None] | None,
) -> dict[Partition, tuple[SourceBatch, datetime]]:
    batches = {}
    for partition, as_of in plan:
        try:
            batches[partition] = (source.read(partition, as_of), as_of)
        except PartitionUnavailableError as absence:
            absences.append(absence)
        if progress is not None:
            progress(partition)
    return batches


def _land_batches(
    model: Model,
    table: str,
    batches: Mapping[Partition, tuple[SourceBatch, datetime]],
    target: Table,
    settings: Settings,
    run_id: str,
) -> _Landed:
    """Read, merge and commit, again for as long as another writer is faster; the source is not asked again."""

    def attempt() -> _Landed:
        delta = target.open()
        standing = _read_standing(model, table, batches, delta)
        folded = fold_batches(model, table, batches, standing)
        keep_quarantined(quarantine_table(settings, model.name, table), folded.quarantined, run_id)
        accepted = _leave_refused(model, table, batches, standing, folded)
        return _Landed(folded, _write(target, delta, accepted, run_id))

    return retry_commits(attempt, target.name)


def _leave_refused(
    model: Model,
    table: str,
    batches: Mapping[Partition, tuple[SourceBatch, datetime]],
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


def _write(target: Table, delta: Any | None, folded: FoldResult, run_id: str) -> int | None:
    if not folded.changed:
        return None
    tables = [
        rows.append_column(PARTITION_COLUMN, pa.array([key], pa.string()).take(pa.array([0] * rows.num_rows)))
        for key, rows in folded.changed.items()
    ]
    rows = pa.concat_tables(tables, promote_options="default")
    return target.commit(delta, rows, list(folded.changed), {"run": run_id}, folded.marks)


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
