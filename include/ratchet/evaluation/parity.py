"""How alike the groups of a sensitive attribute fare, with intervals, and what another model changes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from include.ratchet.evaluation.fairness import MISSING
from include.ratchet.evaluation.intervals import Bootstrap, Interval
from include.ratchet.spec import ModelSpec
from include.ratchet.training.metrics import Floats, Weighted

Texts = npt.NDArray[np.str_]
MIN_CASES = 10
"""Rows that a rate of a group is of, below which it is left open."""


@dataclass(frozen=True)
class Change:
    """A rate of a group, or the largest difference of a rate between groups.

    Attributes:
        rate: name: `positive_rate`, `true_positive_rate`, `false_positive_rate`; `accuracy` of several classes;
            `absolute_error` of a regression, in the label's units.
        after: of the model.
        before: of the model that it is compared with, if there is one.
        change: after minus before; paired where both answered the same rows.
    """

    rate: str
    after: Interval
    before: Interval | None = None
    change: Interval | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The change back from its JSON form."""
        sides = {name: Interval(**content[name]) if content[name] else None for name in ("before", "change")}
        return cls(content["rate"], Interval(**content["after"]), **sides)


@dataclass(frozen=True)
class GroupParity:
    """One group's rates; one that too few of its rows are of is left out."""

    group: str
    rows: int
    rates: tuple[Change, ...]


@dataclass(frozen=True)
class Parity:
    """One sensitive attribute.

    Attributes:
        column: the attribute.
        gaps: of each rate, the largest difference between groups. Chance alone makes it larger than zero, so that its
            interval does not reach zero; what a change is worth, its own interval says.
        groups: those with enough rows, the largest first; of two sets of rows, with enough in both.
        too_few: rows of the others.
    """

    column: str
    gaps: tuple[Change, ...]
    groups: tuple[GroupParity, ...]
    too_few: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The result back from its JSON form."""
        groups = tuple(
            GroupParity(one["group"], one["rows"], tuple(map(Change.from_dict, one["rates"])))
            for one in content["groups"]
        )
        return cls(content["column"], tuple(map(Change.from_dict, content["gaps"])), groups, dict(content["too_few"]))


@dataclass(frozen=True)
class _Rate:
    """A rate as a quotient of sums over rows: (n_rows,) each."""

    name: str
    counted: Floats
    of: Floats

    def only(self, rows: npt.NDArray[np.bool_]) -> _Rate:
        return _Rate(self.name, self.counted * rows, self.of * rows)

    def within(self, rows: npt.NDArray[np.bool_]) -> Weighted:
        counted, of = self.counted * rows, self.of * rows
        return lambda weights: (weights @ counted) / (weights @ of)


def group_texts(values: Sequence[Any]) -> Texts:
    """Groups as text; a row without a value is in a group of its own."""
    return np.array([MISSING if value is None else str(value) for value in values], dtype=np.str_)


def measure_parity(
    spec: ModelSpec, column: str, groups: Texts, label: npt.NDArray[Any], after: Floats, before: Floats | None = None
) -> Parity:
    """Rates of each group with enough rows, and their largest differences.

    Args:
        spec: threshold, minimum rows, resamples, confidence and seed.
        column: name of the attribute.
        groups: (n_rows,) its value, as text.
        label: (n_rows,); of a multiclass task, positions among the classes.
        after: scores of the model.
        before: scores of another on the same rows.
    """
    sides = [_rates(spec, label, scores) for scores in (after, before) if scores is not None]
    return _measure(spec, column, groups, sides)


def compare_stretches(
    spec: ModelSpec,
    column: str,
    groups: Texts,
    label: npt.NDArray[Any],
    scores: Floats,
    is_after: npt.NDArray[np.bool_],
) -> Parity:
    """The same of two sets of rows, such as those before and after a hand-over; changes are not paired.

    Args:
        spec: threshold, minimum rows of each set, resamples, confidence and seed.
        column: name of the attribute.
        groups: (n_rows,) its value, as text.
        label: (n_rows,).
        scores: (n_rows,) or (n_rows, n_classes), as they were answered.
        is_after: (n_rows,) which of the sets a row is of.
    """
    rates = _rates(spec, label, scores)
    sides = [tuple(rate.only(rows) for rate in rates) for rows in (is_after, ~is_after)]
    return _measure(spec, column, groups, sides)


def _measure(spec: ModelSpec, column: str, groups: Texts, sides: Sequence[tuple[_Rate, ...]]) -> Parity:
    """From the rates of the model and, if there is one, of the other."""
    levels = [str(level) for level in np.unique(groups)]
    masks = {level: groups == level for level in levels}
    # The first rate of every task is of all rows.
    rows = {level: int(min(side[0].of[mask].sum() for side in sides)) for level, mask in masks.items()}
    names = sorted((name for name in levels if rows[name] >= spec.evaluation.min_slice_rows),
                   key=lambda name: (-rows[name], name))  # fmt: skip
    bootstrap = Bootstrap(len(groups), spec.evaluation.resamples, spec.evaluation.confidence, spec.training.seed)
    told: dict[str, list[Change]] = {name: [] for name in names}
    gaps = []
    for both in zip(*sides, strict=True):
        own = [name for name in names if min(side.of[masks[name]].sum() for side in both) >= MIN_CASES]
        if not own:
            continue
        # A resample without any row of a small group is left out of the interval.
        with np.errstate(invalid="ignore", divide="ignore"):
            point, draws = bootstrap.draws([side.within(masks[name]) for side in both for name in own])
        values, drawn = point.reshape(len(sides), -1), draws.reshape(len(sides), len(own), -1)
        for place, name in enumerate(own):
            told[name].append(_change(bootstrap, both[0].name, values[:, place], drawn[:, place]))
        if len(own) > 1:
            gaps.append(_change(bootstrap, both[0].name, np.ptp(values, axis=1), np.ptp(drawn, axis=1)))
    found = tuple(GroupParity(name, rows[name], tuple(told[name])) for name in names)
    return Parity(column, tuple(gaps), found, {name: rows[name] for name in levels if name not in told})


def _change(bootstrap: Bootstrap, rate: str, values: Floats, draws: Floats) -> Change:
    """From the values and resampled values of the model and, if there is one, of the other."""
    after, *before = (bootstrap.interval(value, drawn) for value, drawn in zip(values, draws, strict=True))
    if not before:
        return Change(rate, after)
    return Change(rate, after, before[0], bootstrap.interval(values[0] - values[1], draws[0] - draws[1]))


def _rates(spec: ModelSpec, label: npt.NDArray[Any], scores: Floats) -> tuple[_Rate, ...]:
    every = np.ones(len(label))
    if spec.task == "regression":
        return (_Rate("absolute_error", np.abs(label - scores), every),)
    if spec.task == "multiclass":
        return (_Rate("accuracy", (scores.argmax(axis=1) == label).astype(np.float64), every),)
    said, truth = (scores >= spec.evaluation.threshold).astype(np.float64), (label == 1).astype(np.float64)
    return (_Rate("positive_rate", said, every), _Rate("true_positive_rate", said * truth, truth),
            _Rate("false_positive_rate", said * (1 - truth), 1 - truth))  # fmt: skip
