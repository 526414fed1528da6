"""What a replayed policy was worth, with hindsight: by all labels, also those that came later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from include.ratchet.evaluation.intervals import Bootstrap, Interval
from include.ratchet.monitoring.backtest.folds import Folds
from include.ratchet.monitoring.backtest.policies import Run
from include.ratchet.spec.training import LOWER_IS_BETTER
from include.ratchet.training.metrics import Floats, Weighted, prepare

HARM_DAYS = 28
MIN_WEEKS = 8
"""From which on means are resampled by weeks: days resemble their neighbours, and are not as many as they seem."""
_MEAN_RESAMPLES = 1000


@dataclass(frozen=True)
class PolicyResult:
    """What became of one policy.

    Attributes:
        name: of the policy.
        mean: of the metric of the days, weighted by their rows; weeks are resampled (days of a short history).
        pooled: the metric of all rows together.
        gain: of the mean over `never`, above 0 is better; resampled likewise, paired.
        fits: how many, the first included.
        fit_seconds: of them all.
        refused: fits that were not promoted.
        alarms: spells of days on which a signal fired.
        escalations: days on which people were asked for.
        harmed_days: days at whose end the last 28 were surely worse than under `nightly`, by more than the margin.
        missed_days: of those, the ones that no fit was asked for in those 28 days or soon after.
        asked: days on which a fit was asked for, the first left out.
        weeks: the metric of each seven days' rows; rows are resampled.
        days: the metric of each day, None where it has none.
        worth: a prediction's mean value, and its gain over `never`, both resampled as the metric is; None where the
            spec's scope states no value.
    """

    name: str
    mean: Interval
    pooled: float
    gain: Interval
    fits: int
    fit_seconds: float
    refused: int
    alarms: int
    escalations: int
    harmed_days: int
    missed_days: int
    asked: tuple[str, ...]
    weeks: tuple[Interval, ...]
    days: tuple[float | None, ...]
    worth: tuple[Interval, Interval] | None = None


class Judgement:
    """Measures runs with hindsight: by all labels, also those that came later."""

    def __init__(self, folds: Folds, served: range, never: Run, nightly: Run) -> None:
        self._folds, self._history, self._served = folds, folds.history, served
        self._spec = folds.history.spec
        self._sign = -1.0 if self._spec.metric in LOWER_IS_BETTER else 1.0
        self._rows = np.array([len(self._history.rows_of(day)) for day in served], np.float64)
        self._weeks: dict[tuple[tuple[int, int], ...], Interval] = {}
        self._first, self._never, self._nightly = never, self._daily(never), self._daily(nightly)

    def judge(self, run: Run) -> PolicyResult:
        """All numbers of one run."""
        daily = self._daily(run)
        starts = np.arange(0, len(daily), 7 if len(daily) >= 7 * MIN_WEEKS else 1)
        means = self._bootstrap(len(starts), _MEAN_RESAMPLES)
        one, other = (_mean_of(days, self._rows, starts) for days in (daily, self._never))
        harmed = self._harmed(daily)
        missed = harmed & ~self._answered(run)
        pairs = list(zip(run.champions, self._served, strict=True))
        fits = [self._folds.fit(day) for day in run.fits]
        return PolicyResult(
            run.policy, means.measure(one), float(self._measure(pairs)(np.ones((1, int(self._rows.sum()))))[0]),
            means.compare(one, other, self._sign)[2], len(run.fits),
            round(sum(fit.seconds for fit in fits if fit is not None), 2), len(run.refused), run.alarms,
            run.escalations, int(harmed.sum()), int(missed.sum()),
            tuple(self._history.days[day].key for day in run.asked),
            tuple(self._week(tuple(pairs[start : start + 7])) for start in range(0, len(pairs), 7)),
            tuple(float(value) if np.isfinite(value) else None for value in daily), self._worth(run, means, starts),
        )  # fmt: skip

    def _worth(self, run: Run, means: Bootstrap, starts: npt.NDArray[np.int64]) -> tuple[Interval, Interval] | None:
        business = self._spec.business
        if business is None:
            return None
        own, never = (self._worth_of_days(one, starts) for one in (run, self._first))
        mean, _, gain = means.compare(own, never, -1.0 if business.lower_is_better else 1.0)
        return mean, gain

    def _worth_of_days(self, run: Run, starts: npt.NDArray[np.int64]) -> Weighted:
        found = [self._folds.worth(fit, day) for fit, day in zip(run.champions, self._served, strict=True)]
        return _mean_of(np.array([mean for mean, _ in found]), np.array([rows for _, rows in found], float), starts)

    def _harmed(self, daily: Floats) -> npt.NDArray[np.bool_]:
        """Days at whose end the last 28 were surely worse than nightly's by more than the margin, (n_days,)."""
        margin = self._spec.margin
        lost, found = self._sign * (self._nightly - daily), np.zeros(len(daily), bool)
        bootstrap, days = self._bootstrap(HARM_DAYS, 200), np.arange(HARM_DAYS)
        for end in range(HARM_DAYS, len(daily) + 1):
            part = slice(end - HARM_DAYS, end)
            if np.nan_to_num(lost[part]).any():
                found[end - 1] = bootstrap.measure(_mean_of(lost[part], self._rows[part], days)).low > margin
        return found

    def _answered(self, run: Run) -> npt.NDArray[np.bool_]:
        """Days for which a fit was asked in the 28 days up to them, or within streak and window after, (n_days,)."""
        watch, days = self._spec.monitoring, np.arange(len(self._served))
        asked = np.array(run.asked, np.int64) - self._served.start
        apart = asked[None, :] - days[:, None]
        in_time = (apart > -HARM_DAYS) & (apart <= watch.policy.streak + watch.window)
        return np.asarray(in_time.any(axis=1), np.bool_)

    def _daily(self, run: Run) -> Floats:
        return np.array([self._folds.metric(fit, day) for fit, day in zip(run.champions, self._served, strict=True)])

    def _week(self, pairs: tuple[tuple[int, int], ...]) -> Interval:
        """The metric of some days' rows, each day by its fit."""
        if pairs not in self._weeks:
            rows = sum(len(self._history.rows_of(day)) for _, day in pairs)
            nothing = Interval(float("nan"), float("nan"), float("nan"))
            bootstrap = self._bootstrap(rows, self._history.resamples)
            self._weeks[pairs] = bootstrap.measure(self._measure(pairs)) if rows else nothing
        return self._weeks[pairs]

    def _measure(self, pairs: Sequence[tuple[int, int]]) -> Weighted:
        there = [(fit, day) for fit, day in pairs if len(self._history.rows_of(day))]
        scores = np.concatenate([self._folds.scores(fit, day) for fit, day in there])
        label = np.concatenate([self._history.codes[self._history.rows_of(day)] for _, day in there])
        return prepare(self._spec.metric, label, scores, threshold=self._spec.evaluation.threshold)

    def _bootstrap(self, units: int, resamples: int) -> Bootstrap:
        return Bootstrap(units, resamples, self._spec.evaluation.confidence, self._spec.training.seed)


def _mean_of(daily: Floats, rows: Floats, starts: npt.NDArray[np.int64]) -> Weighted:
    """Mean over days with a metric, weighted by their rows; units that are resampled begin at `starts`."""
    weight = np.where(np.isfinite(daily), rows, 0.0)
    values = np.add.reduceat(weight * np.nan_to_num(daily), starts)
    of_units = np.add.reduceat(weight, starts)
    return lambda weights: (weights @ values) / np.maximum(weights @ of_units, 1e-12)
