"""Partitions as monitoring sees them: which of them a row belongs to, and which are alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from include.ratchet.spec import ModelSpec, Partition, partition_of, partitions_between

CYCLES = 4
"""Of each weekday (or hour) so many must be known before like is compared with like."""


def season_of(spec: ModelSpec, partition: Partition) -> int:
    """The weekday of a day (Monday is 0), the hour of an hour, in the spec's time zone."""
    local = partition.start.astimezone(spec.zone)
    return local.weekday() if spec.partition == "day" else local.hour


def seasons_of(spec: ModelSpec, partitions: Sequence[Partition], *, is_seasonal: bool) -> list[int]:
    """The season of each partition; 0 of all where seasons are not told apart."""
    return [season_of(spec, one) if is_seasonal else 0 for one in partitions]


def has_seasons(spec: ModelSpec, partitions: Sequence[Partition]) -> bool:
    """Whether every season is known often enough to be compared with itself."""
    if not spec.monitoring.reference.is_seasonal:
        return False
    found = np.bincount([season_of(spec, one) for one in partitions], minlength=7 if spec.partition == "day" else 24)
    return bool(found.min() >= CYCLES)


def by_partition(spec: ModelSpec, times: npt.NDArray[np.datetime64]) -> tuple[list[Partition], npt.NDArray[np.intp]]:
    """The partitions from the first to the last of some instants (n_rows,) in UTC, and the position of each row's."""
    if not len(times):
        return [], np.zeros(0, np.intp)
    ends = [partition_of(spec, f"{one.astype('datetime64[us]').item().isoformat()}+00:00") for one in
            (times.min(), times.max())]  # fmt: skip
    found = list(partitions_between(spec, *ends))
    starts = np.array([one.start.replace(tzinfo=None) for one in found], "datetime64[us]")
    return found, np.searchsorted(starts, times.astype("datetime64[us]"), side="right") - 1
