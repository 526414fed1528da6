"""What is usual of some columns: everything that a reference's days tell, learnt once and kept with the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from include.ratchet.monitoring import drift
from include.ratchet.monitoring.binning import Bins
from include.ratchet.monitoring.calendar import has_seasons, seasons_of
from include.ratchet.monitoring.columns import Limits, learn_limits
from include.ratchet.monitoring.drift import Floats, Normal
from include.ratchet.spec import ModelSpec, partition_of


@dataclass(frozen=True)
class Usual:
    """Some columns on the days of a reference.

    Attributes:
        partitions: keys of the days, in order.
        columns: names.
        is_seasonal: whether seasons are told apart.
        normal: how days differ.
        limits: how far single days went.
    """

    partitions: tuple[str, ...]
    columns: tuple[str, ...]
    is_seasonal: bool
    normal: Normal = field(repr=False)
    limits: Limits = field(repr=False)

    def to_arrays(self, name: str) -> dict[str, Any]:
        """As arrays of a file, under names that begin with a name."""
        return {
            **{f"{name}.normal.{one.name}": getattr(self.normal, one.name) for one in fields(Normal)},
            **{f"{name}.limits.{one.name}": getattr(self.limits, one.name) for one in fields(Limits)},
        }

    @classmethod
    def from_arrays(cls, name: str, head: Sequence[Any], arrays: Mapping[str, Any]) -> Usual:
        """Back from the arrays of a file, and from partitions, columns and whether seasons are told apart."""
        partitions, columns, is_seasonal = head
        return cls(
            tuple(partitions), tuple(columns), is_seasonal,
            Normal(**{one.name: arrays[f"{name}.normal.{one.name}"] for one in fields(Normal)}),
            Limits(**{one.name: arrays[f"{name}.limits.{one.name}"] for one in fields(Limits)}),
        )  # fmt: skip


def learn_usual(
    spec: ModelSpec, partitions: Sequence[str], bins: Mapping[str, Bins], counts: Floats
) -> Usual:  # fmt: skip
    """Learn from the days of a reference.

    Args:
        spec: says whether like is compared with like, and over which window.
        partitions: keys of the days, in order.
        bins: of each column.
        counts: (n_days, n_columns, n_bins), padded with empty bins.
    """
    days = [partition_of(spec, name) for name in partitions]
    is_seasonal = has_seasons(spec, days)
    sizes = np.array([len(one) for one in bins.values()], np.intp)
    return Usual(
        tuple(partitions), tuple(bins), is_seasonal,
        drift.learn(counts, seasons_of(spec, days, is_seasonal=is_seasonal)),
        learn_limits(counts, sizes, spec.monitoring.window),
    )  # fmt: skip


def nothing_usual() -> Usual:
    """Of no columns."""
    none = np.zeros((0, 1))
    normal = Normal(none[None], np.zeros((0, 1, 0)), np.zeros((0, 0)), *[np.zeros(0)] * 4)
    return Usual((), (), False, normal, Limits(none, np.zeros(0), np.zeros(0)))
