"""Means that may be looked at as often as one likes: asymptotic confidence sequences.

Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit theory and asymptotic confidence
sequences, Annals of Statistics 52 (2024), arXiv:2103.06476: Robbins' Gaussian mixture boundary with the sample's own
standard deviation, and rho chosen for a target size. The chance that the interval misses the mean at any look, now or
later, is alpha; asymptotically, so nothing is decided before a burn-in. Its error rate is shown in the tests.

Rows of the same hour or day have weather, holidays and outages in common. Their blocks widen the deviation
(cluster-robust, Liang and Zeger, Biometrika 73, 1986), which holds for what many hours share and softens what whole
days share: a day's own luck cannot be known from one day, so a `min_time` of several days is the remedy there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BURN_IN_ROWS = 100
"""Below this many rows an interval is without end: the normal approximation does not hold yet."""


@dataclass(frozen=True)
class Moments:
    """All that an interval needs of a sample.

    Attributes:
        rows: how many.
        mean: of the values.
        deviation: their standard deviation, or the larger one that their blocks give.
    """

    rows: int
    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Floats, *blocks: npt.NDArray[np.int64]) -> Moments:
        """Moments of (n_rows,) values; no rows have mean and deviation 0.

        Args:
            values: of the rows.
            blocks: (n_rows,) each: numbers of what rows may have in common, such as hours and days.
        """
        if len(values) == 0:
            return cls(0, 0.0, 0.0)
        mean = float(values.mean())
        found = [float(values.var()), *(_block_variance(values - mean, one) for one in blocks)]
        return cls(len(values), mean, math.sqrt(max(found)))


@dataclass(frozen=True)
class Bounds:
    """A mean and the interval that holds it at every look.

    Attributes:
        value: the estimate.
        low: the interval's lower end.
        high: its upper end.
        rows: behind it; of two samples, of the smaller one.
    """

    value: float
    low: float
    high: float
    rows: int

    def __str__(self) -> str:
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it: an end without bound is null."""
        return {name: value if math.isfinite(value) else None for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Bounds:
        """The bounds back from their JSON form."""
        low, high = content["low"], content["high"]
        return cls(content["value"], -math.inf if low is None else low, math.inf if high is None else high,
                   content["rows"])  # fmt: skip


def mean_bounds(sample: Moments, alpha: float, target_rows: int) -> Bounds:
    """The mean of one sample, such as paired differences of two versions' losses on the same rows.

    Args:
        sample: what was seen so far.
        alpha: chance that the mean lies outside at any look.
        target_rows: where the interval is to be as tight as it can be.
    """
    if sample.rows < BURN_IN_ROWS:
        return Bounds(sample.mean, -math.inf, math.inf, sample.rows)
    half = float(half_width(np.asarray(sample.rows), np.asarray(sample.deviation), alpha, target_rows))
    return Bounds(sample.mean, sample.mean - half, sample.mean + half, sample.rows)


def difference_bounds(one: Moments, other: Moments, alpha: float, target_rows: int) -> Bounds:
    """The difference `one - other` of the means of two independent samples, each at alpha / 2 (union bound)."""
    first, second = (mean_bounds(sample, alpha / 2, target_rows) for sample in (one, other))
    return Bounds(
        one.mean - other.mean, first.low - second.high, first.high - second.low, min(one.rows, other.rows)
    )  # fmt: skip


def _block_variance(centred: Floats, blocks: npt.NDArray[np.int64]) -> float:
    """The variance of a row that gives the mean its true variance if only rows of different blocks are independent."""
    _, codes = np.unique(blocks, return_inverse=True)
    sums = np.bincount(codes, weights=centred)
    if len(sums) < 2:
        return 0.0
    return float((sums**2).sum() / len(centred) * len(sums) / (len(sums) - 1))


def half_width(rows: Floats, deviation: Floats, alpha: float, target_rows: int) -> Floats:
    """Half the interval's width after each number of rows, elementwise."""
    scaled = rows * tightest_rho_squared(alpha, target_rows)
    width = np.sqrt(2 * (scaled + 1) / (rows * scaled) * np.log(np.sqrt(scaled + 1) / alpha))
    return np.asarray(deviation * width)


def tightest_rho_squared(alpha: float, target_rows: int) -> float:
    """The square of rho for which the interval is tightest after `target_rows`."""
    twice = -2 * math.log(alpha)
    return (twice + math.log(twice + 1)) / target_rows
