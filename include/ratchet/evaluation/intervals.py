"""Bootstrap intervals of metrics and of their differences on the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from include.ratchet.training.metrics import Floats, Weighted

_CHUNK = 4_000_000
"""Weights held at once; 32 MB."""


@dataclass(frozen=True)
class Interval:
    """A value with the interval that its bootstrap resamples span."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"

    def to_dict(self) -> dict[str, float]:
        """As JSON can hold it."""
        return {"value": self.value, "low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Interval:
        """The interval back from its JSON form."""
        return cls(**content)


class Bootstrap:
    """Resamples of some rows, the same for every metric and model, so that differences are paired.

    Each row's weight is drawn from a Poisson distribution of mean 1, which approximates the multinomial bootstrap
    and needs no second pass (Chamandy et al. 2012, Estimating Uncertainty for Massive Data Streams).

    Args:
        rows: number of rows.
        resamples: how many resamples.
        confidence: of the intervals, such as 0.95. They are the percentile intervals.
        seed: of the weights.
    """

    def __init__(self, rows: int, resamples: int, confidence: float, seed: int) -> None:
        self._rows, self._resamples, self._seed = rows, resamples, seed
        self._quantiles = ((1 - confidence) / 2, (1 + confidence) / 2)

    def draws(self, measures: Sequence[Weighted]) -> tuple[Floats, Floats]:
        """Values and resampled values of several measures: (n_measures,) and (n_measures, n_resamples)."""
        point = np.array([measure(np.ones((1, self._rows)))[0] for measure in measures])
        parts = [[measure(weights) for measure in measures] for weights in self._weights()]
        return point, np.concatenate([np.stack(part) for part in parts], axis=1)

    def interval(self, value: float, resampled: Floats) -> Interval:
        """The percentile interval; resamples in which the metric is undefined are left out."""
        known = resampled[np.isfinite(resampled)]
        if len(known) == 0:
            return Interval(float(value), float("nan"), float("nan"))
        low, high = np.quantile(known, self._quantiles)
        return Interval(float(value), float(low), float(high))

    def measure(self, measure: Weighted) -> Interval:
        """The interval of one measure."""
        point, resampled = self.draws([measure])
        return self.interval(point[0], resampled[0])

    def difference(self, one: Weighted, other: Weighted) -> Interval:
        """The paired interval of one minus the other."""
        point, resampled = self.draws([one, other])
        return self.interval(point[0] - point[1], resampled[0] - resampled[1])

    def compare(self, one: Weighted, other: Weighted, sign: float) -> tuple[Interval, Interval, Interval]:
        """Intervals of two measures, and the paired one of the first's gain; `sign` is -1 where lower is better."""
        point, resampled = self.draws([one, other])
        gain = self.interval(sign * (point[0] - point[1]), sign * (resampled[0] - resampled[1]))
        return self.interval(point[0], resampled[0]), self.interval(point[1], resampled[1]), gain

    def _weights(self) -> Iterator[Floats]:
        generator = np.random.default_rng(self._seed)
        size = max(1, _CHUNK // max(1, self._rows))
        for start in range(0, self._resamples, size):
            count = min(size, self._resamples - start)
            yield generator.poisson(1.0, (count, self._rows)).astype(np.float64)
