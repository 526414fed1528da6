"""Ingestion: partitions of a model's tables land, are validated, and only then count as there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.ratchet.data.landing import LandingReport, land_many, static_partition
from include.ratchet.errors import PartitionUnavailableError
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.spec import Model, ModelSpec, Partition, partition_of, partitions_between
from include.ratchet.validation import ValidationReport, validate_partitions


@dataclass(frozen=True)
class IngestionPlan:
    """Partitions to land, oldest first, in batches that one task takes each."""

    model: str
    batches: tuple[tuple[str, ...], ...]


BATCH_PARTITIONS = 92
"""A quarter of days: a few seconds of work, so that a task's start does not weigh."""


def plan_ingestion(spec: ModelSpec, first: str, last: str, *, batch: int = BATCH_PARTITIONS) -> IngestionPlan:
    """The partitions from the first to the last, both included.

    Raises:
        ValueError: a text is no partition, or the last lies before the first.
    """
    begin, end = partition_of(spec, first), partition_of(spec, last)
    if end.start < begin.start:
        message = f"{spec.name}: the range ends ({last}) before it begins ({first}); swap the two"
        raise ValueError(message)
    keys = [partition.key for partition in partitions_between(spec, begin, end)]
    return IngestionPlan(spec.name, tuple(tuple(keys[i : i + batch]) for i in range(0, len(keys), batch)))


def last_ended(spec: ModelSpec, now: datetime) -> str:
    """The newest partition that has ended."""
    return partition_of(spec, partition_of(spec, now).start - spec.partition_length / 2).key


def land_partitions(
    workspace: Workspace, model: Model, keys: Sequence[str], run_id: str, *, as_of: datetime | None = None,
    progress: Callable[[Partition], None] | None = None,
) -> tuple[LandingReport, ...]:  # fmt: skip
    """Land partitions of every table of a model, each as it was known when it ended (or as of a given instant).

    Raises:
        PartitionUnavailableError: the model's own table has none of them.
    """
    partitions = [partition_of(model.spec, key) for key in keys]
    reports = []
    for table in model.spec.table_names:
        try:
            reports.append(
                land_many(
                    model, table, partitions, lambda partition: as_of or partition.end, settings=workspace.settings,
                    connections=workspace.connections, run_id=run_id,
                    progress=progress if table == model.name else None,
                )
            )  # fmt: skip
        except PartitionUnavailableError:
            # Weather of an hour may be missing; a model without its own rows has nothing to go on.
            if table == model.name:
                raise
    return tuple(reports)


def validate_landed(
    workspace: Workspace, model: Model, keys: Sequence[str], run_id: str,
    tell: Callable[[ValidationReport], None] = lambda report: None,
) -> tuple[ValidationReport, ...]:  # fmt: skip
    """Validate what has landed of every table, as of the last partition's end.

    Args:
        workspace: the installation.
        model: whose data.
        keys: of the partitions.
        run_id: the run that asks.
        tell: hears of every report, before one that failed raises.

    Raises:
        ValidationFailedError: an expectation of severity `fail` did not hold.
    """
    partitions = [partition_of(model.spec, key) for key in keys]
    reports = tuple(
        validate_partitions(
            model, table, [static_partition()] if model.spec.table(table).is_static else partitions,
            settings=workspace.settings, run_id=run_id, as_of=partitions[-1].end,
        )
        for table in model.spec.table_names
    )  # fmt: skip
    for report in reports:
        tell(report)
    for report in reports:
        report.raise_for_failures()
    return reports


def describe(reports: Sequence[LandingReport]) -> dict[str, Any]:
    """What has landed, in numbers that a task may pass on."""
    return {
        report.table: {
            "read": report.read, "landed": report.landed, "quarantined": report.quarantined,
            "duplicates": report.duplicates, "version": report.version, "new_columns": list(report.new_columns),
        }
        for report in reports
    }  # fmt: skip
