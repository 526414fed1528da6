"""Looks of a backtest: what monitoring would have seen at the end of a day, with what was known by then.

The tests are production's own (`drift`, `levels`); a look of the same champion at the same day is taken once, whatever
policies ask for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from include.ratchet.monitoring import drift, levels
from include.ratchet.monitoring.binning import make_bins
from include.ratchet.monitoring.calendar import CYCLES
from include.ratchet.monitoring.folds import Folds
from include.ratchet.monitoring.signals import Look, Signal
from include.ratchet.registry.importance import permutation_importance
from include.ratchet.spec import ModelKey
from include.ratchet.spec.monitoring import SignalKind
from include.ratchet.spec.training import LOWER_IS_BETTER
from include.ratchet.training.metrics import Floats

_MAX_NORMALS = 16
"""What is normal for a champion, held for so many of them: 1 MB each of the flights."""


class Normal(NamedTuple):
    """What drift is measured against: what days are like, and whether weekdays are told apart."""

    normal: drift.Normal
    is_seasonal: bool


class Looks:
    """Looks at a history's days, shared by policies.

    Args:
        folds: fits and scores.
        key: whose.
        first: the day of the first fit; bins are made of what it saw.
    """

    def __init__(self, folds: Folds, key: ModelKey, first: int) -> None:
        self._folds, self._key, self._first = folds, key, first
        self._history, self._spec = folds.history, folds.history.spec
        self._watch = self._spec.monitoring
        self._sign = -1.0 if self._spec.metric in LOWER_IS_BETTER else 1.0
        self._normal = lru_cache(_MAX_NORMALS)(self._learn_drift)
        self._level = lru_cache(None)(self._learn_level)
        self._importance = lru_cache(None)(self._weigh)
        self.drift = lru_cache(None)(self._look_drift)
        self.performance = lru_cache(None)(self._look_performance)

    def look(self, champion: int, day: int, kinds: frozenset[SignalKind]) -> Look:
        """What is seen of a champion at a day's end.

        Args:
            champion: day of its fit.
            day: that has ended.
            kinds: of signals that are looked for: drift, performance or both.
        """
        found: list[Signal] = []
        judged: set[SignalKind] = set()
        for kind, see in (("drift", self.drift), ("performance", self.performance)):
            if kind in kinds and (signals := see(champion, day)):
                found.extend(signals)
                judged.update(signal.kind for signal in signals)
        partition = self._history.days[day]
        rows = self._history.rows_of(day)
        maturity = float(self._is_known(day, day).mean()) if len(rows) else 0.0
        return Look(
            self._key, partition.key, partition.start, partition.end, partition.end, champion, len(rows), maturity,
            frozenset(judged), tuple(found),
        )  # fmt: skip

    def _look_drift(self, champion: int, day: int) -> tuple[Signal, ...]:
        """One signal of the newest day and one of the window, of those that have the rows to be judged."""
        windows = {self._span(day, 1), self._span(day, self._watch.window)}
        found = (self._test_drift(champion, first, day) for first in sorted(windows))
        return tuple(signal for signal in found if signal is not None)

    def _test_drift(self, champion: int, first: int, day: int) -> Signal | None:
        watch = self._watch
        normal = self._normal(*self._reference_days(champion, first))
        change = drift.test(normal.normal, self._counts[first : day + 1],
                            self._seasons(range(first, day + 1), is_seasonal=normal.is_seasonal), watch.min_rows)  # fmt: skip
        if not np.isfinite(change.p).any():
            return None
        moved = drift.discoveries(change.p, watch.alpha) & (change.effect >= watch.effect)
        weight = float(self._importance(champion)[moved].sum())
        names = [name for name, has_moved in zip(self._columns, moved, strict=True) if has_moved]
        return Signal(
            "drift", ", ".join(names[:3]) or "features", "weight", weight, watch.weight, float(np.nanmin(change.p)),
            day + 1 - first, weight >= watch.weight,
            f"{len(names)} columns with {weight:.0%} of the importance have changed",
        )  # fmt: skip

    def _look_performance(self, champion: int, day: int) -> tuple[Signal, ...]:
        """One signal of the newest window whose labels had come and that the champion has answered."""
        watch = self._watch
        last = next((one for one in range(day, champion - 1, -1) if self._is_mature(one, day)), None)
        if last is None:
            return ()
        days = [one for one in range(max(champion, last + 1 - watch.window), last + 1) if self._is_mature(one, day)]
        if sum(int(self._is_known(one, day).sum()) for one in days) < watch.min_rows:
            return ()
        level, is_seasonal = self._level(champion)
        values = np.array([[self._folds.metric_known(champion, one, day + 1)] for one in days])
        shift = levels.compare(level, values, self._seasons(days, is_seasonal=is_seasonal))
        p = float((shift.p_below if self._sign > 0 else shift.p_above)[0])
        if not np.isfinite(p):
            return ()
        fall = self._sign * float(shift.expected[0] - shift.found[0])
        margin = self._spec.gates.margin if watch.margin is None else watch.margin
        words = f"{self._spec.metric} {shift.found[0]:.4f}, expected {shift.expected[0]:.4f}"
        is_fired = p <= watch.alpha and fall >= margin
        return (Signal("performance", self._spec.metric, "fall", fall, margin, p, len(days), is_fired, words),)

    def _learn_level(self, champion: int) -> tuple[levels.Level, bool]:
        """The champion's metric on the days of its test rows, by the labels that it was judged on."""
        fit = self._folds.fit(champion)
        days = [] if fit is None else np.unique(self._history.days_of(fit.test)).tolist()
        values = np.array([[self._folds.metric_known(champion, one, champion)] for one in days])
        is_seasonal = self._watch.reference.is_seasonal and len(days) >= 7 * CYCLES
        return levels.learn(values.reshape(-1, 1), self._seasons(days, is_seasonal=is_seasonal)), is_seasonal

    def _learn_drift(self, first: int, end: int) -> Normal:
        is_seasonal = self._watch.reference.is_seasonal and end - first >= 7 * CYCLES
        days = range(first, end)
        return Normal(drift.learn(self._counts[first:end], self._seasons(days, is_seasonal=is_seasonal)), is_seasonal)

    def _reference_days(self, champion: int, window: int) -> tuple[int, int]:
        """First day of the reference and the day after its last."""
        reference = self._watch.reference
        if reference.kind == "trailing":
            return max(0, min(window - reference.length.days, window - 1)), max(window, 1)
        return int(self._history.days_of(np.searchsorted(self._history.event, self._history.first_seen(champion)))), champion

    def _weigh(self, champion: int) -> Floats:
        """Each column's share of what the champion loses without it on its test rows, (n_columns,)."""
        fit, history = self._folds.fit(champion), self._history
        rows = np.zeros(0, np.int64) if fit is None else fit.test
        lost = permutation_importance(self._spec, self._folds.estimator(champion), history.features.iloc[rows],
                                      history.codes[rows], history.classes)  # fmt: skip
        shares = np.array([max(lost.get(name, 0.0), 0.0) for name in self._columns])
        return shares / shares.sum() if shares.sum() > 0 else np.full(len(shares), 1 / len(shares))

    @cached_property
    def _columns(self) -> list[str]:
        return list(self._history.features.columns)

    @cached_property
    def _counts(self) -> Floats:
        """Of every day, (n_days, n_columns, n_bins), padded with empty bins; bins are those of the first reference."""
        first, end = self._reference_days(self._first, self._first)
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
        zone = self._spec.zone
        return [self._history.days[day].start.astimezone(zone).weekday() if is_seasonal else 0 for day in days]

    def _span(self, day: int, length: int) -> int:
        return max(0, day + 1 - length)

    def _is_known(self, of: int, day: int) -> np.ndarray:  # type: ignore[type-arg]
        """Which rows of a day have their label at another day's end."""
        return self._history.is_known(self._history.rows_of(of), day + 1)

    def _is_mature(self, of: int, day: int) -> bool:
        known = self._is_known(of, day)
        return len(known) > 0 and float(known.mean()) >= self._watch.maturity
