"""Looks of a backtest: what monitoring would have seen at the end of a day, with what was known by then.

The tests are production's own (`columns.find_drift`, `performance.find_worth`); a look at the same champion on the same
day is taken once, whatever policies ask for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa

from include.ratchet.monitoring import drift
from include.ratchet.monitoring.backtest.folds import Folds
from include.ratchet.monitoring.binning import make_bins
from include.ratchet.monitoring.calendar import has_seasons, seasons_of
from include.ratchet.monitoring.columns import Window, find_drift
from include.ratchet.monitoring.performance import LONGER, find_worth
from include.ratchet.monitoring.signals import Look, Signal
from include.ratchet.registry.importance import importance_shares, permutation_importance
from include.ratchet.spec import ModelKey
from include.ratchet.spec.monitoring import SignalKind
from include.ratchet.training.metrics import Floats

_MAX_NORMALS = 16
"""What is normal for a champion, held for so many of them: 1 MB each of the flights."""


class Looks:
    """Looks at a history's days, shared by policies.

    Args:
        folds: fits and scores.
        key: whose.
        first: the day of the first fit; bins are made of what it saw.
    """

    def __init__(self, folds: Folds, key: ModelKey, first: int) -> None:
        self._folds, self._key, self._first, self._history = folds, key, first, folds.history
        # Days also of a model with hourly partitions: a policy decides once a day.
        self._spec = folds.history.spec.model_copy(update={"partition": "day"})
        self._watch = self._spec.monitoring
        self._normal = lru_cache(_MAX_NORMALS)(self._learn)
        self._importance = lru_cache(None)(self._weigh)
        self._tests = lru_cache(None)(self._measure_tests)
        self._known = {"metric": folds.metric_known}
        if self._spec.business is not None and self._spec.business.margin is not None:
            self._known[self._spec.business.number] = folds.worth_known
        self._see = {
            "drift": lru_cache(None)(self._see_drift), "performance": lru_cache(None)(self._see_performance),
        }  # fmt: skip

    def look(self, champion: int, day: int, kinds: frozenset[SignalKind]) -> Look:
        """What is seen of a champion at a day's end.

        Args:
            champion: day of its fit.
            day: that has ended.
            kinds: of signals that are looked for: drift, performance or both.
        """
        signals = [signal for kind in sorted(kinds) for signal in self._see[kind](champion, day)]
        return self._at(champion, day, day, signals)

    def _at(self, champion: int, day: int, now: int, signals: Sequence[Signal] = ()) -> Look:
        """A day at the end of the same or a later one."""
        partition, rows = self._history.days[day], self._history.rows_of(day)
        known = self._history.is_known(rows, now + 1)
        return Look(
            self._key, partition.key, partition.start, partition.end, self._history.days[now].end, champion, len(rows),
            float(known.mean()) if len(rows) else 0.0, frozenset(signal.kind for signal in signals), tuple(signals),
            {name: known(champion, day, now + 1) for name, known in self._known.items()},
        )  # fmt: skip

    def _see_drift(self, champion: int, day: int) -> tuple[Signal, ...]:
        """Of the newest day and of the window."""
        first = max(0, day + 1 - self._watch.window)
        normal, is_seasonal = self._normal(*self._reference(champion, first))
        counts = self._counts[first : day + 1]
        # A column with one value only is a fault, not a drift, and not looked for here.
        is_alike = np.zeros(len(self._columns), np.bool_)
        window = Window(self._columns, counts, self._seasons(range(first, day + 1), is_seasonal=is_seasonal), is_alike)
        return tuple(find_drift(self._watch, normal, window, self._importance(champion))[0])

    def _see_performance(self, champion: int, day: int) -> tuple[Signal, ...]:
        """Of the days that the champion has answered, each by the labels that had come."""
        late = int(self._spec.label.lateness / self._spec.partition_length) + 1
        days = range(max(champion, day + 1 - LONGER * self._watch.window - late), day + 1)
        looks = [self._at(champion, one, day) for one in days]
        numbers, tests, is_seasonal = self._tests(champion)
        seasons = self._seasons(days, is_seasonal=is_seasonal)
        found, _ = find_worth(self._spec, numbers, tests, looks, seasons)
        return tuple(signal for signal in found if signal.kind == "performance")

    def _measure_tests(self, champion: int) -> tuple[dict[str, Floats], list[int], bool]:
        """The champion's numbers on the days of its test rows, by the labels that judged it; the days' seasons."""
        fit = self._folds.fit(champion)
        days = [] if fit is None else np.unique(self._history.days_of(fit.test)).tolist()
        is_seasonal = has_seasons(self._spec, [self._history.days[one] for one in days])
        numbers = {name: np.array([known(champion, one, champion) for one in days], np.float64)
                   for name, known in self._known.items()}  # fmt: skip
        return numbers, self._seasons(days, is_seasonal=is_seasonal), is_seasonal

    def _learn(self, first: int, end: int) -> tuple[drift.Normal, bool]:
        """What is normal of the reference's days."""
        is_seasonal = has_seasons(self._spec, self._history.days[first:end])
        seasons = self._seasons(range(first, end), is_seasonal=is_seasonal)
        return drift.learn(self._counts[first:end], seasons), is_seasonal

    def _reference(self, champion: int, window: int) -> tuple[int, int]:
        """First day of the reference and the day after its last: the training window, or days before the window."""
        reference = self._watch.reference
        if reference.kind == "trailing":
            return max(0, window - max(reference.length.days, 1)), max(window, 1)
        begins = np.searchsorted(self._history.event, self._history.first_seen(champion))
        return int(self._history.days_of(np.array([begins]))[0]), champion

    def _weigh(self, champion: int) -> dict[str, float]:
        """Each column's share of what the champion loses without it on its test rows; equal shares if nothing does."""
        fit, history = self._folds.fit(champion), self._history
        rows = np.zeros(0, np.int64) if fit is None else fit.test
        lost = permutation_importance(
            self._spec, self._folds.estimator(champion), history.features.iloc[rows], history.codes[rows],
            history.classes,
        )  # fmt: skip
        return importance_shares(lost, self._columns)

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        return tuple(self._history.features.columns)

    @cached_property
    def _counts(self) -> Floats:
        """Of every day, (n_days, n_columns, n_bins), padded with empty bins; bins are those of the first reference."""
        first, end = self._reference(self._first, self._first)
        rows = slice(int(self._history.offsets[first]), int(self._history.offsets[end]))
        of_day = self._history.days_of(np.arange(len(self._history.features)))
        days, counted = len(self._history.days), []
        for name in self._columns:
            column = pa.array(self._history.features[name], from_pandas=True)
            # A column of text without a value has no type of its own.
            column = column.cast(pa.string()) if pa.types.is_null(column.type) else column
            bins = make_bins(column[rows])
            flat = np.bincount(of_day * len(bins) + bins.codes(column), minlength=days * len(bins))
            counted.append(flat.reshape(days, len(bins)))
        width = max(each.shape[1] for each in counted)
        padded = [np.pad(each, ((0, 0), (0, width - each.shape[1]))) for each in counted]
        return np.stack(padded, axis=1).astype(np.float64)

    def _seasons(self, days: Sequence[int], *, is_seasonal: bool) -> list[int]:
        return seasons_of(self._spec, [self._history.days[day] for day in days], is_seasonal=is_seasonal)
