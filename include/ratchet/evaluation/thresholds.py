"""What other thresholds would cost: one for all, or one for each group so that a fairness criterion holds.

Thresholds are chosen on every other row and measured on the rest, so that their cost is no fitted one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from include.ratchet.evaluation.intervals import Bootstrap, Interval
from include.ratchet.evaluation.parity import Texts
from include.ratchet.spec import ModelSpec
from include.ratchet.training.metrics import Floats, Weighted

_STEPS = 200
"""Thresholds and target rates that are tried."""
NOBODY = 2.0
"""A threshold above every probability."""
_PER = 1000
Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class GroupRule:
    """How a group is decided: a score of at least the threshold counts as positive.

    Equalised odds cannot be met by thresholds alone in general; then some answers are drawn by lot (Hardt, Price and
    Srebro 2016, arXiv 1610.02413).

    Attributes:
        group: its value.
        threshold: of the share of answers that `weight` says.
        other: threshold of the rest of them.
        weight: from 0 to 1.
        drawn: share of answers that no score decides.
        chance: of a positive among those.
        by_lot: share of the group's rows whose answer is not certain, on the rows that were chosen on.
    """

    group: str
    threshold: float
    other: float
    weight: float = 1.0
    drawn: float = 0.0
    chance: float = 0.0
    by_lot: float = 0.0

    def decide(self, scores: Floats) -> Floats:
        """(n_rows,) the chance that a row counts as positive."""
        by_score = self.weight * (scores >= self.threshold) + (1 - self.weight) * (scores >= self.other)
        return np.asarray((1 - self.drawn) * by_score + self.drawn * self.chance)


@dataclass(frozen=True)
class ThresholdPlan:
    """One way of setting thresholds.

    Attributes:
        name: `as it is`, `one threshold`, `demographic parity`, `equal opportunity` or `equalised odds`.
        rules: by group.
        cost: of wrong decisions, per 1,000 rows, in the spec's units.
        change: of the cost, against `as it is`; paired.
        gaps: largest differences between groups that are left: of positive, true and false positive rates.
    """

    name: str
    rules: tuple[GroupRule, ...]
    cost: Interval
    change: Interval
    gaps: dict[str, float]


@dataclass(frozen=True)
class WhatIf:
    """Every plan for one sensitive attribute of a binary model.

    Attributes:
        column: the attribute.
        rows: that plans were measured on.
        false_positive: what one costs.
        false_negative: what one costs.
        plans: the present one first.
    """

    column: str
    rows: int
    false_positive: float
    false_negative: float
    plans: tuple[ThresholdPlan, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The result back from its JSON form."""
        plans = tuple(
            ThresholdPlan(one["name"], tuple(GroupRule(**rule) for rule in one["rules"]), Interval(**one["cost"]),
                          Interval(**one["change"]), dict(one["gaps"]))
            for one in content["plans"]
        )  # fmt: skip
        return cls(**{**content, "plans": plans})


@dataclass(frozen=True)
class _Group:
    """A group's scores and what each threshold gives on them.

    Attributes:
        name: of the group.
        scores: (n_rows,).
        thresholds: (n_thresholds,) falling, from nobody to everybody.
        positive: (n_thresholds,) share of rows; `true` and `false` the same of positives and of negatives.
        cost: (n_thresholds,) of all the group's rows.
    """

    name: str
    scores: Floats
    thresholds: Floats
    positive: Floats
    true: Floats
    false: Floats
    cost: Floats

    @classmethod
    def of(cls, name: str, label: Bits, scores: Floats, costs: tuple[float, float]) -> _Group:
        known = np.unique(scores)
        if len(known) > _STEPS:
            known = np.unique(np.quantile(scores, np.linspace(0, 1, _STEPS), method="lower"))
        thresholds = np.r_[NOBODY, known[::-1]]
        said = scores[:, None] >= thresholds
        true, false = said[label].sum(axis=0), said[~label].sum(axis=0)
        cost = costs[0] * false + costs[1] * (label.sum() - true)
        return cls(name, scores, thresholds, said.mean(axis=0), true / label.sum(), false / (~label).sum(), cost)


def plan_thresholds(
    spec: ModelSpec, column: str, groups: Texts, label: npt.NDArray[Any], scores: Floats
) -> WhatIf | None:  # fmt: skip
    """What each way of setting thresholds costs; None of less than two groups with enough rows of both classes.

    Args:
        spec: costs, present threshold, minimum rows, and of the intervals.
        column: name of the attribute.
        groups: (n_rows,) its value.
        label: (n_rows,) 0 or 1.
        scores: (n_rows,) of the model.
    """
    truth = np.asarray(label == 1)
    names = [str(name) for name in np.unique(groups) if _is_enough(spec, truth, groups == name)]
    if len(names) < 2:
        return None
    rows = np.flatnonzero(np.isin(groups, names))
    groups, truth, scores = groups[rows], truth[rows], scores[rows]
    # Within each group by turns, so that both halves have as much of it.
    turn = np.zeros(len(rows), dtype=np.int64)
    for name in names:
        for outcome in (False, True):
            own = np.flatnonzero((groups == name) & (truth == outcome))
            turn[own] = np.arange(len(own)) % 2
    costs = (spec.evaluation.costs.false_positive, spec.evaluation.costs.false_negative)
    chosen, kept = turn == 0, turn == 1
    parts = [_Group.of(name, truth[chosen & (groups == name)], scores[chosen & (groups == name)], costs)
             for name in names]  # fmt: skip
    present = spec.evaluation.threshold
    rules: dict[str, tuple[GroupRule, ...]] = {
        "as it is": tuple(GroupRule(name, present, present) for name in names),
        "one threshold": _choose_one(parts, truth[chosen], scores[chosen], costs),
        "demographic parity": _match(parts, lambda part: part.positive),
        "equal opportunity": _match(parts, lambda part: part.true),
        "equalised odds": _equalise(parts, [int(truth[chosen & (groups == name)].sum()) for name in names], costs),
    }
    plans = _measure(spec, rules, groups[kept], truth[kept], scores[kept], costs)
    return WhatIf(column, int(kept.sum()), *costs, plans)


def _is_enough(spec: ModelSpec, truth: Bits, own: Bits) -> bool:
    positives = int(truth[own].sum())
    return int(own.sum()) >= spec.evaluation.min_slice_rows and min(positives, int(own.sum()) - positives) >= 20


def _choose_one(
    parts: list[_Group], truth: Bits, scores: Floats, costs: tuple[float, float]
) -> tuple[GroupRule, ...]:  # fmt: skip
    """The cheapest threshold for all."""
    whole = _Group.of("", truth, scores, costs)
    best = float(whole.thresholds[np.argmin(whole.cost)])
    return tuple(GroupRule(part.name, best, best) for part in parts)


def _match(parts: list[_Group], rate: Callable[[_Group], Floats]) -> tuple[GroupRule, ...]:
    """A threshold for each group, so that a rate is as equal as thresholds make it, at the least cost."""
    targets = np.linspace(0, 1, _STEPS + 1)
    nearest = [np.abs(rate(part)[:, None] - targets).argmin(axis=0) for part in parts]
    cost = np.sum([part.cost[place] for part, place in zip(parts, nearest, strict=True)], axis=0)
    best = int(cost.argmin())
    thresholds = [float(part.thresholds[place[best]]) for part, place in zip(parts, nearest, strict=True)]
    return tuple(GroupRule(part.name, one, one) for part, one in zip(parts, thresholds, strict=True))


def _equalise(parts: list[_Group], positives: list[int], costs: tuple[float, float]) -> tuple[GroupRule, ...]:
    """The cheapest point that every group can reach: below all upper hulls of their ROC curves."""
    false = np.linspace(0, 1, _STEPS * 5 + 1)
    hulls = [_hull(part) for part in parts]
    reached = [np.interp(false, part.false[hull], part.true[hull]) for part, hull in zip(parts, hulls, strict=True)]
    common = np.min(reached, axis=0)
    negatives = sum(len(part.scores) for part in parts) - sum(positives)
    best = int((costs[0] * negatives * false + costs[1] * sum(positives) * (1 - common)).argmin())
    return tuple(
        _rule(part, hull, float(false[best]), float(own[best]), float(common[best]))
        for part, hull, own in zip(parts, hulls, reached, strict=True)
    )


def _hull(part: _Group) -> npt.NDArray[np.int64]:
    """Thresholds on the upper hull of a ROC curve, from nobody to everybody (Andrew's monotone chain)."""
    kept: list[int] = []
    for place in range(len(part.thresholds)):
        while kept and part.false[kept[-1]] == part.false[place] and part.true[kept[-1]] <= part.true[place]:
            kept.pop()
        while len(kept) > 1 and _turns_up(part, kept[-2], kept[-1], place):
            kept.pop()
        kept.append(place)
    return np.array(kept)


def _turns_up(part: _Group, one: int, two: int, three: int) -> bool:
    run, rise = part.false[two] - part.false[one], part.true[two] - part.true[one]
    return bool(run * (part.true[three] - part.true[one]) >= rise * (part.false[three] - part.false[one]))


def _rule(part: _Group, hull: npt.NDArray[np.int64], false: float, own: float, common: float) -> GroupRule:
    """The mixture that gives a group a false positive rate, and a true positive rate at or below its hull."""
    right = min(max(1, int(np.searchsorted(part.false[hull], false))), len(hull) - 1)
    low, high = hull[right - 1], hull[right]
    run = part.false[high] - part.false[low]
    weight = float(np.clip((part.false[high] - false) / run, 0, 1)) if run > 0 else 0.0
    # Some answers at random, with the false positive rate as chance, lower the other rate and leave this one.
    drawn = (own - common) / (own - false) if own - false > 1e-12 else 0.0
    rule = GroupRule(part.name, float(part.thresholds[low]), float(part.thresholds[high]), weight, drawn, false)
    chances = rule.decide(part.scores)
    by_lot = float(((chances > 1e-9) & (chances < 1 - 1e-9)).mean())
    return GroupRule(rule.group, rule.threshold, rule.other, weight, drawn, false, by_lot)


def _measure(
    spec: ModelSpec, rules: Mapping[str, tuple[GroupRule, ...]], groups: Texts, truth: Bits, scores: Floats,
    costs: tuple[float, float],
) -> tuple[ThresholdPlan, ...]:  # fmt: skip
    """Every plan on rows that it was not chosen on."""
    evaluation = spec.evaluation
    bootstrap = Bootstrap(len(truth), evaluation.resamples, evaluation.confidence, spec.training.seed)
    said = {name: np.zeros(len(truth)) for name in rules}
    for name, own in rules.items():
        for rule in own:
            inside = groups == rule.group
            said[name][inside] = rule.decide(scores[inside])
    paid = {name: _PER * np.where(truth, costs[1] * (1 - chance), costs[0] * chance) for name, chance in said.items()}
    point, draws = bootstrap.draws([_mean(cost) for cost in paid.values()])
    return tuple(
        ThresholdPlan(
            name, rules[name], bootstrap.interval(point[place], draws[place]),
            bootstrap.interval(point[place] - point[0], draws[place] - draws[0]),
            _gaps(said[name], groups, truth),
        )
        for place, name in enumerate(rules)
    )  # fmt: skip


def _mean(values: Floats) -> Weighted:
    return lambda weights: weights @ values / weights.sum(axis=1)


def _gaps(said: Floats, groups: Texts, truth: Bits) -> dict[str, float]:
    every = np.ones(len(truth), dtype=bool)
    masks = {"positive_rate": every, "true_positive_rate": truth, "false_positive_rate": ~truth}
    return {
        name: float(np.ptp([said[mask & (groups == group)].mean() for group in np.unique(groups)]))
        for name, mask in masks.items()
    }
