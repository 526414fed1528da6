"""Signals of worth: the metric on labels that have come, the one to expect until then, slices, fairness, label shift.

All are numbers of days, held against the champion's own test days (`levels`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from include.ratchet.monitoring import levels
from include.ratchet.monitoring.drift import adjusted
from include.ratchet.monitoring.levels import Floats, Shift
from include.ratchet.monitoring.outcomes import is_worse
from include.ratchet.monitoring.signals import Look, Signal
from include.ratchet.spec import ModelSpec

LONGER = 4
"""Windows in the longer window of the metric."""
TOLD_APART = 0.05
"""How much better than a test day's rows those of a window must be told from the reference's to count."""
LABEL_CHANGE = 0.2
"""How much of the usual mean of labels it must change by to count."""


def find_blindness(spec: ModelSpec) -> str | None:
    """Why the worth of such a model's champions will never be judged; None if it will."""
    split, delay = spec.training.split, spec.label.delay
    days = max(-((delay - split.test) // spec.partition_length), 0)
    if split.by != "time" or days >= levels.MIN_DAYS:
        return None
    return (
        f"monitoring will not judge the metric: {days} partition(s) of training.split.test have their labels when a "
        f"training begins, and {levels.MIN_DAYS} must say how partitions differ; expected a test of at least "
        f"{levels.MIN_DAYS} partitions beyond label.delay"
    )


@dataclass(frozen=True)
class _Series:
    """Numbers of the test days and of the looks, to be compared by name."""

    numbers: Mapping[str, Floats]
    test_seasons: Sequence[int]
    looks: Sequence[Look]
    seasons: Sequence[int]

    def compare(self, names: Sequence[str], days: Sequence[int]) -> Shift | None:
        """The numbers of some looks, by position, beside the reference's; None where either has none."""
        if not days or not names or not all(name in self.numbers for name in names):
            return None
        window = np.array([[self.looks[day].numbers.get(name, np.nan) for name in names] for day in days], np.float64)
        reference = np.stack([self.numbers[name] for name in names], axis=1)
        if not np.isfinite(window).any() or not np.isfinite(reference).any():
            return None
        level = levels.learn(reference, self.test_seasons)
        return levels.compare(level, window, [self.seasons[day] for day in days])


def find_worth(
    spec: ModelSpec, numbers: Mapping[str, Floats], test_seasons: Sequence[int], looks: Sequence[Look],
    seasons: Sequence[int],
) -> tuple[list[Signal], dict[str, float]]:  # fmt: skip
    """Everything that is known of a champion's worth as of the newest look.

    Args:
        spec: the model's.
        numbers: of the reference, by name: one value for each test day.
        test_seasons: of the test days.
        looks: at the same champion, oldest first, the newest is judged.
        seasons: of the looks' partitions.

    Returns:
        The signals, and what is drawn of the newest judged windows.
    """
    series = _Series(numbers, test_seasons, looks, seasons)
    window, newest = spec.monitoring.window, list(range(len(looks)))
    mature = [position for position in newest if looks[position].maturity >= spec.monitoring.maturity]
    signals: list[Signal] = []
    drawn: dict[str, float] = {}
    for kind, name, known in (("performance", "metric", mature), ("estimate", "estimate", newest)):
        # The longer window sees what falls slowly, or by less than days differ.
        for days in dict.fromkeys((tuple(known[-LONGER * window :]), tuple(known[-window:]))):
            shift = series.compare([name], days)
            if shift is not None:
                signals += _metric_signal(spec, kind, shift, len(days))
                drawn |= {f"{name}_window": float(shift.found[0]), f"{name}_expected": float(shift.expected[0]),
                          f"{name}_low": float(shift.low[0]), f"{name}_high": float(shift.high[0])}  # fmt: skip
    signals += _value_signal(spec, series, mature[-LONGER * window :])
    signals += _together_signal(spec, series, newest[-window:])
    signals += _label_signal(spec, series, mature[-window:])
    signals += _group_signals(spec, series, mature[-window:])
    return signals, {name: value for name, value in drawn.items() if np.isfinite(value)}


def _metric_signal(spec: ModelSpec, kind: str, shift: Shift, days: int) -> list[Signal]:
    worse = is_worse(spec)
    p = float((shift.p_above if worse > 0 else shift.p_below)[0])
    fall = worse * float(shift.found[0] - shift.expected[0])
    if not np.isfinite(p):
        return []
    word = "is" if kind == "performance" else "is expected to be"
    return [Signal(
        "performance" if kind == "performance" else "estimate", spec.metric, "fall", fall, spec.margin, p, days,
        p <= spec.monitoring.alpha and fall >= spec.margin,
        f"{spec.metric} {word} {shift.found[0]:.4f} over {days} partition(s), {shift.expected[0]:.4f} "
        f"[{shift.low[0]:.4f}, {shift.high[0]:.4f}] was to be expected",
    )]  # fmt: skip


def _value_signal(spec: ModelSpec, series: _Series, days: Sequence[int]) -> list[Signal]:
    """What predictions are worth to the business; watched where the spec says how much less would count."""
    business = spec.business
    shift = series.compare([business.number], days) if business is not None else None
    if business is None or business.margin is None or shift is None:
        return []
    worse = 1.0 if business.lower_is_better else -1.0
    p = float((shift.p_above if worse > 0 else shift.p_below)[0])
    fall = worse * float(shift.found[0] - shift.expected[0])
    if not np.isfinite(p):
        return []
    return [Signal(
        "performance", business.name, "fall", fall, business.margin, p, len(days),
        p <= spec.monitoring.alpha and fall >= business.margin,
        f"{business.name} is {shift.found[0]:.4g} {business.unit} a prediction over {len(days)} partition(s), "
        f"{shift.expected[0]:.4g} [{shift.low[0]:.4g}, {shift.high[0]:.4g}] was to be expected",
    )]  # fmt: skip


def _together_signal(spec: ModelSpec, series: _Series, days: Sequence[int]) -> list[Signal]:
    shift = series.compare(["multivariate"], days)
    if shift is None or not np.isfinite(shift.p_above[0]):
        return []
    rise, p = float(shift.found[0] - shift.expected[0]), float(shift.p_above[0])
    return [Signal(
        "multivariate", "columns together", "rise of the AUC", rise, TOLD_APART, p, len(days),
        p <= spec.monitoring.alpha and rise >= TOLD_APART,
        f"rows can be told from the reference's with an AUC of {shift.found[0]:.2f}; {shift.expected[0]:.2f} is usual",
    )]  # fmt: skip


def _label_signal(spec: ModelSpec, series: _Series, days: Sequence[int]) -> list[Signal]:
    shift = series.compare(["label"], days)
    if shift is None:
        return []
    found, expected = float(shift.found[0]), float(shift.expected[0])
    p = min(2 * min(float(shift.p_below[0]), float(shift.p_above[0])), 1.0)
    limit = LABEL_CHANGE * abs(expected)
    if not np.isfinite(p):
        return []
    return [Signal(
        "label", spec.label.column, "change of the mean", abs(found - expected), limit, p, len(days),
        p <= spec.monitoring.alpha and abs(found - expected) >= limit,
        f"the mean of {spec.label.column} is {found:.3f} over {len(days)} partition(s), {expected:.3f} before",
    )]  # fmt: skip


def _group_signals(spec: ModelSpec, series: _Series, days: Sequence[int]) -> list[Signal]:
    signals = []
    for kind, drop in (("slice", spec.gates.max_slice_drop or spec.margin), ("fairness", 0.05)):
        names = [name for name in series.numbers if name.startswith(f"{kind}.")]
        shift = series.compare(names, days)
        if shift is None:
            continue
        worse = is_worse(spec) if kind == "slice" else 1.0
        p = adjusted(shift.p_above if worse > 0 else shift.p_below)
        fall = worse * (shift.found - shift.expected)
        is_fired = (p <= spec.monitoring.alpha) & (fall >= drop)
        signals += [
            Signal(
                "slice" if kind == "slice" else "fairness", name.partition(".")[2],
                "fall" if kind == "slice" else "rise of the gap", float(fall[i]), drop, float(p[i]), len(days),
                bool(is_fired[i]),
                f"{name.partition('.')[2]}: {spec.metric if kind == 'slice' else 'gap of rates'} {shift.found[i]:.4f}, "
                f"{shift.expected[i]:.4f} at the test",
            )
            for i, name in enumerate(names) if np.isfinite(p[i])
        ]  # fmt: skip
    return signals
