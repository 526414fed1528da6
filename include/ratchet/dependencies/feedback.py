"""Feedback loops: what acting on answers does to the outcomes that the next model learns from.

Of a random share of the keys the answer is withheld, so that their outcomes are those of a world in which nobody acts
on the model. Beside them stand the outcomes of all others. The difference is what acting does, and it is the bias of
everything that is learnt from, or measured on, the others alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from include.ratchet.evaluation.comparison import bootstrap_of
from include.ratchet.evaluation.intervals import Interval
from include.ratchet.spec import ModelSpec
from include.ratchet.training.metrics import Floats, Weighted, prepare

Bits = npt.NDArray[np.bool_]
MIN_ROWS = 50
"""Held-out rows with an outcome, and others, below which nothing is estimated; and held-out rows of a band."""
MOST_BANDS = 10


@dataclass(frozen=True)
class Band:
    """Rows of like scores: what came true where answers were acted on, and where they were withheld.

    Attributes:
        low: lowest score.
        high: highest score.
        rows: of both.
        held_rows: of them, held out.
        score: mean.
        acted_on: mean outcome where answers were given.
        held_out: mean outcome where they were withheld.
        effect: of acting: the first less the second.
    """

    low: float
    high: float
    rows: int
    held_rows: int
    score: float
    acted_on: float
    held_out: float
    effect: Interval


@dataclass(frozen=True)
class Feedback:
    """What acting on answers does to outcomes.

    Attributes:
        outcome: what is meant: the positive class, whether the likeliest class came true, or the label's value.
        rows: with an outcome, each key once.
        held_rows: of them, held out.
        effect: of acting on the mean outcome; the bias of the base rate of whoever learns from the others alone.
        decided: the same of the rows that the model decides positive (binary only).
        undecided: the same of the other rows; it is about 0, unless a decision not to act has an effect as well.
        metric: the decisive one.
        metric_acted_on: as it is measured where answers were given.
        metric_held_out: as it is where they were withheld.
        metric_bias: the first less the second.
        bands: by score, rising.
    """

    outcome: str
    rows: int
    held_rows: int
    effect: Interval
    decided: Interval | None
    undecided: Interval | None
    metric: str
    metric_acted_on: Interval
    metric_held_out: Interval
    metric_bias: Interval
    bands: tuple[Band, ...]

    @property
    def is_found(self) -> bool:
        """Whether acting surely moves outcomes: over all rows, or over those that are acted on."""
        return any(one.low > 0 or one.high < 0 for one in (self.effect, self.decided) if one is not None)


@dataclass(frozen=True)
class Observed:
    """Answered rows whose outcome is known, each key once.

    Attributes:
        label: (n_rows,) as metrics take it.
        scores: (n_rows,) or (n_rows, n_classes).
        is_held: (n_rows,) whether the answer was withheld.
        share: (n_rows,) of the keys that were held out when the row was answered: the chance that it was.
    """

    label: npt.NDArray[Any]
    scores: Floats
    is_held: Bits
    share: Floats


def estimate_feedback(spec: ModelSpec, observed: Observed) -> Feedback | None:
    """Compare held-out rows with the others; None where either are too few.

    Rows weigh by the inverse of the chance of what happened to them (Horvitz and Thompson 1952, in Hajek's form), so
    that a share that was changed meanwhile does no harm, within bands of like scores, whose effects are averaged by
    the bands' sizes: post-stratification (Miratrix, Sekhon and Yu 2013, Adjusting Treatment Effect Estimates by
    Post-Stratification in Randomized Experiments). Variances are Neyman's, of 0-1 outcomes with a success and a
    failure added to each side (Agresti and Caffo 2000), so that rare outcomes do not make an interval of no width.
    """
    held = int(observed.is_held.sum())
    if min(held, len(observed.label) - held) < MIN_ROWS:
        return None
    outcome, score, words = _read_outcome(spec, observed)
    estimate = _Estimate(outcome, observed, spec.task != "regression", spec.evaluation.confidence)
    bands = _cut_bands(score, observed.is_held)
    effect = estimate.over(bands)
    if effect is None:
        return None
    is_decided = score >= spec.evaluation.threshold if spec.task == "binary" else None
    return Feedback(
        outcome=words, rows=len(outcome), held_rows=held, effect=effect,
        decided=None if is_decided is None else estimate.over([band & is_decided for band in bands]),
        undecided=None if is_decided is None else estimate.over([band & ~is_decided for band in bands]),
        **_measure_metric(spec, observed),
        bands=tuple(estimate.describe(band, score) for band in bands),
    )  # fmt: skip


def _read_outcome(spec: ModelSpec, observed: Observed) -> tuple[Floats, Floats, str]:
    if spec.task == "multiclass":
        came = observed.scores.argmax(axis=1) == observed.label
        return came.astype(np.float64), observed.scores.max(axis=1), "the likeliest class came true"
    words = "share of the positive class" if spec.task == "binary" else "mean label"
    return observed.label.astype(np.float64), observed.scores, words


def _cut_bands(score: Floats, is_held: Bits) -> list[Bits]:
    """Rows by score, in bands with as many held-out rows each."""
    count = int(np.clip(is_held.sum() // MIN_ROWS, 1, MOST_BANDS))
    edges = np.unique(np.quantile(score[is_held], np.linspace(0, 1, count + 1)[1:-1]))
    places = np.searchsorted(edges, score, side="right")
    bands = [places == place for place in range(len(edges) + 1)]
    return [band for band in bands if (band & is_held).any() and (band & ~is_held).any()]


@dataclass(frozen=True)
class _Estimate:
    """Effects on one outcome."""

    outcome: Floats
    observed: Observed
    is_binary: bool
    confidence: float

    def over(self, bands: Sequence[Bits]) -> Interval | None:
        """The effect over some bands together; None where one side is missing in all of them."""
        parts = [(int(band.sum()), self._compare(band)) for band in bands]
        known = [(rows, found) for rows, found in parts if found is not None]
        whole = sum(rows for rows, _ in known)
        if not whole:
            return None
        value = sum(rows * effect for rows, (effect, _) in known) / whole
        variance = sum(rows**2 * spread for rows, (_, spread) in known) / whole**2
        return self._interval(value, variance)

    def describe(self, band: Bits, score: Floats) -> Band:
        """One band in numbers."""
        acted, held = (self._mean(band & side)[0] for side in (~self.observed.is_held, self.observed.is_held))
        effect = self.over([band]) or Interval(float("nan"), float("nan"), float("nan"))
        own, held_rows = score[band], int((band & self.observed.is_held).sum())
        return Band(float(own.min()), float(own.max()), len(own), held_rows, float(own.mean()), acted, held, effect)

    def _compare(self, band: Bits) -> tuple[float, float] | None:
        """Effect and variance within a band."""
        acted, held = band & ~self.observed.is_held, band & self.observed.is_held
        if not acted.any() or not held.any():
            return None
        (one, spread), (other, further) = self._mean(acted), self._mean(held)
        return one - other, spread + further

    def _mean(self, rows: Bits) -> tuple[float, float]:
        """Weighted mean and its variance."""
        values, held = self.outcome[rows], self.observed.is_held[rows]
        chance = np.where(held, self.observed.share[rows], 1 - self.observed.share[rows])
        weights = 1 / chance
        mean = float(weights @ values / weights.sum())
        count = float(weights.sum() ** 2 / (weights**2).sum())
        if self.is_binary:
            smooth = (mean * count + 1) / (count + 2)
            return mean, smooth * (1 - smooth) / (count + 2)
        spread = float(weights @ (values - mean) ** 2 / weights.sum())
        return mean, spread / max(count - 1, 1)

    def _interval(self, value: float, variance: float) -> Interval:
        half = NormalDist().inv_cdf((1 + self.confidence) / 2) * float(np.sqrt(variance))
        return Interval(value, value - half, value + half)


def _measure_metric(spec: ModelSpec, observed: Observed) -> dict[str, Any]:
    """The decisive metric on both sides, and their difference, by resampling both."""

    def measure(side: Bits, chance: Floats) -> Weighted:
        rows = np.flatnonzero(side)
        own = prepare(spec.metric, observed.label[rows], observed.scores[rows], threshold=spec.evaluation.threshold)
        return lambda weights: own(weights[:, rows] / chance[rows])

    bootstrap = bootstrap_of(spec, len(observed.label))
    sides = (measure(~observed.is_held, 1 - observed.share), measure(observed.is_held, observed.share))
    one, other, bias = bootstrap.compare(*sides, 1.0)
    return {"metric": spec.metric, "metric_acted_on": one, "metric_held_out": other, "metric_bias": bias}
