"""Signals of columns: features and scores that have drifted, nulls, unseen values and columns that broke."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from include.ratchet.monitoring import drift
from include.ratchet.monitoring.binning import Bins
from include.ratchet.monitoring.drift import Floats, Normal
from include.ratchet.monitoring.signals import Signal
from include.ratchet.monitoring.statistics import likelihood_ratio
from include.ratchet.spec.monitoring import MonitoringSpec

_COMMON = 0.9
"""Share of a bin among a column's values from which on it is no news that a day has no other."""
_BROKEN = 2.0
"""Stability index from which on numbers have not drifted but broken, as by another unit; a shift of 1.5 sd has it."""


@dataclass(frozen=True)
class Limits:
    """How far single days of the reference went.

    Attributes:
        shares: (n_columns, n_bins) largest share of a day in each bin.
        apart: (n_columns,) farthest of a day's values from those of all days, as a stability index.
        jump: (n_columns,) farthest of a day's values from those of the days just before.
    """

    shares: Floats
    apart: Floats
    jump: Floats


@dataclass(frozen=True)
class Window:
    """Counts of the newest days of some columns.

    Attributes:
        columns: names.
        counts: (n_days, n_columns, n_bins), the newest day last.
        seasons: (n_days,) as of the reference.
        is_alike: (n_columns,) whether every value of the newest day is the same.
    """

    columns: tuple[str, ...]
    counts: Floats
    seasons: Sequence[int]
    is_alike: npt.NDArray[np.bool_]

    def last(self, days: int) -> Window:
        """The newest days only."""
        return Window(self.columns, self.counts[-days:], list(self.seasons)[-days:], self.is_alike)


def find_drift(
    spec: MonitoringSpec, normal: Normal, window: Window, importance: Mapping[str, float]
) -> tuple[list[Signal], dict[str, Any]]:
    """Whether columns that the model leans on have changed: on the newest day, or over the window.

    Returns:
        The signals, and each column's effect and p-value for drawing.
    """
    signals, drawn = [], {}
    for days in dict.fromkeys((1, spec.window)):
        part = window.last(days)
        change = drift.test(normal, part.counts, part.seasons, spec.min_rows)
        if not np.isfinite(change.p).any():
            continue
        level = np.where(change.effect >= spec.effect, drift.adjusted(change.p), np.nan)
        has_drifted = level <= spec.drift_alpha
        share = float(sum(importance.get(name, 0.0) for name, is_so in zip(window.columns, has_drifted, strict=True)
                          if is_so))  # fmt: skip
        order = np.argsort(-np.nan_to_num(change.effect))
        moved = [f"{window.columns[i]} {change.effect[i]:.2f}" for i in order if has_drifted[i]]
        signals.append(Signal(
            "drift", "columns", "share of importance", share, spec.weight,
            _level_of_weight(level, [importance.get(name, 0.0) for name in window.columns], spec.weight), days,
            share >= spec.weight, f"{len(moved)} columns with {share:.0%} of the importance have drifted"
            + (f" ({', '.join(moved[:5])})" if moved else "") + f" over {len(part.counts)} partition(s)",
        ))  # fmt: skip
        if days == 1 or spec.window == 1:
            drawn = {
                name: {"effect": round(float(effect), 4), "p": float(f"{p:.3g}"), "is_drifted": bool(is_so)}
                for name, effect, p, is_so in zip(window.columns, change.effect, change.p, has_drifted, strict=True)
                if np.isfinite(p)
            }
    return signals, drawn


def _level_of_weight(levels: Floats, importance: Sequence[float], weight: float) -> float:
    """The level from which on columns with so much importance have drifted; 1 if they never do."""
    order = np.argsort(levels)  # nan comes last
    enough = np.flatnonzero(np.cumsum(np.asarray(importance)[order]) >= weight - 1e-9)
    found = levels[order[enough[0]]] if len(enough) else np.nan
    return float(found) if np.isfinite(found) else 1.0


def find_payload_drift(spec: MonitoringSpec, drawn: Mapping[str, Mapping[str, Any]]) -> list[Signal]:
    """Descriptors of payloads that have drifted: no model leans on them, so that each counts by itself."""
    levels = drift.adjusted(np.array([one["p"] for one in drawn.values()], np.float64))
    return [
        Signal(
            "quality", name, "stability index", one["effect"], spec.effect, float(level), 1, one["is_drifted"],
            f"{name}: distributed otherwise than in training (index {one['effect']:.2f})",
        )
        for (name, one), level in zip(drawn.items(), levels, strict=True)
    ]  # fmt: skip


def find_score_drift(spec: MonitoringSpec, normal: Normal, window: Window) -> list[Signal]:
    """Whether the champion's answers are distributed otherwise than on its test rows."""
    signals = []
    for days in dict.fromkeys((1, spec.window)):
        part = window.last(days)
        change = drift.test(normal, part.counts, part.seasons, spec.min_rows)
        effect, p = float(change.effect[0]), float(change.p[0])
        if np.isfinite(p):
            signals.append(Signal(
                "prediction", "score", "stability index", effect, spec.effect, p, len(part.counts),
                bool(p <= spec.alpha and effect >= spec.effect),
                f"scores are distributed otherwise than at the test (index {effect:.2f}) over {len(part.counts)} "
                "partition(s)",
            ))  # fmt: skip
    return signals


def learn_limits(days: Floats, sizes: npt.NDArray[np.intp], window: int) -> Limits:
    """How far single days of a reference went.

    Args:
        days: (n_days, n_columns, n_bins), in the order of time.
        sizes: (n_columns,) bins of each, the last one of nulls.
        window: days that are judged together.
    """
    values = days * (np.arange(days.shape[2]) < sizes[:, None] - 1)
    jumps = _jumps(values, window)
    return Limits(
        _shares(days).max(axis=0, initial=0.0),
        np.nanmax(_index(values.sum(axis=0), values), axis=0, initial=0.0),
        np.nanmax(jumps, axis=0, initial=0.0),
    )


def find_faults(
    spec: MonitoringSpec, reference: Floats, limits: Limits, window: Window, bins: Mapping[str, Bins]
) -> list[Signal]:
    """What is broken on the newest day: nulls, unseen values, columns with one value only or far from all they had.

    Args:
        spec: the thresholds.
        reference: (n_columns, n_bins) of the reference as a whole.
        limits: of its single days.
        window: its newest day is judged.
        bins: of each column.
    """
    signals = []
    newest = window.counts[-1]
    usual, today = _shares(reference), _shares(newest)
    is_value = np.arange(newest.shape[1]) < np.array([len(bins[name]) - 1 for name in window.columns])[:, None]
    apart = _index(reference * is_value, newest * is_value)
    has_jumped = _has_jumped(limits, window.counts * is_value, apart)
    for position, name in enumerate(window.columns):
        rows, size = newest[position].sum(), len(bins[name])
        if rows < spec.min_rows:
            continue
        watched = [("nulls", size - 1)] + ([("unseen values", size - 2)] if bins[name].kind == "category" else [])
        for what, place in watched:
            # More than on any day of the reference.
            worst = float(limits.shares[position, place])
            limit, share = worst + spec.max_null_rise, float(today[position, place])
            # What was never seen may be as frequent as three in all rows (the rule of three).
            likely = max(worst, min(3 / max(reference[position].sum(), 3), 1.0))
            p = float(binom.sf(newest[position, place] - 1, rows, likely)) if share > limit else None
            signals.append(Signal(
                "quality", name, f"share of {what}", share, limit, p, 1, share > limit,
                f"{name}: {share:.0%} {what}, {usual[position, place]:.0%} in the reference",
            ))  # fmt: skip
        if newest[position, : size - 1].sum() < spec.min_rows:
            continue
        values = reference[position, : size - 1]
        most = float(values.max() / max(values.sum(), 1))
        if window.is_alike[position]:
            is_news = most < _COMMON and float(limits.shares[position, : size - 1].max()) < 1
            signals.append(Signal(
                "quality", name, "share of one value", 1.0, most, None, 1, is_news,
                f"{name}: all rows are alike, which they were on no day of the reference",
            ))  # fmt: skip
        elif bins[name].kind == "number" and has_jumped[position]:
            # Farther than any day of the reference: numbers that rise from day to day are always far from its whole.
            limit = max(float(limits.apart[position]), _BROKEN)
            signals.append(Signal(
                "quality", name, "stability index", float(apart[position]), limit, None, 1, apart[position] > limit,
                f"{name}: jumped to where the reference has hardly a number (index {apart[position]:.1f})",
            ))  # fmt: skip
    return signals


def _has_jumped(limits: Limits, window: Floats, apart: Floats) -> npt.NDArray[np.bool_]:
    """Which columns broke with the days just before, in this window, as they never did in the reference.

    What wanders away slowly, such as a rate over weeks, is no fault, however far it comes.

    Args:
        limits: of the reference's days.
        window: (n_days, n_columns, n_bins), the newest last.
        apart: (n_columns,) of the newest day from the reference.
    """
    if not (apart >= _BROKEN).any():
        return np.zeros(len(apart), bool)
    found = np.nanmax(_jumps(window, len(window)), axis=0, initial=0.0)
    return np.asarray((apart >= _BROKEN) & (found >= _BROKEN) & (found > limits.jump))


def _jumps(days: Floats, reach: int) -> Floats:
    """How far each day is from those just before it, (n_days - 1, n_columns)."""
    total = np.concatenate([np.zeros_like(days[:1]), np.cumsum(days, axis=0)])
    position = np.arange(1, len(days))
    before = total[position] - total[np.maximum(position - reach + 1, 0)]
    return _index(before, days[1:])


def _index(reference: Floats, current: Floats) -> Floats:
    """How far counts are from a reference's, as `drift.Change.effect` has it before what days explain; nan of none."""
    rows, known = current.sum(axis=-1), reference.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(likelihood_ratio(reference, current) * (1 / rows + 1 / known), np.float64)


def _shares(counts: Floats) -> Floats:
    return counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)  # type: ignore[no-any-return]
