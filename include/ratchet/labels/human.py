"""How good people are at the task, from rows that several of them labelled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from include.ratchet.data.resolution import Ruling
from include.ratchet.evaluation.intervals import Bootstrap, Interval
from include.ratchet.spec import ModelSpec
from include.ratchet.spec.labels import SOURCE
from include.ratchet.training.metrics import Floats, Weighted, prepare

HARD = {
    "binary": ("accuracy", "balanced_accuracy", "f1", "recall", "precision"),
    "multiclass": ("accuracy", "balanced_accuracy", "f1_macro"),
    "regression": ("rmse", "mae", "r2", "mape"),
}
"""Metrics of labels, without a score, by task."""


@dataclass(frozen=True)
class LabellerLevel:
    """One labeller against the others."""

    labeller: str
    rows: int
    value: Interval


@dataclass(frozen=True)
class HumanLevel:
    """What a person reaches, in the metric that judges the model or, where that asks for scores, in accuracy.

    Attributes:
        metric: its name.
        rows: on which a labeller could be held against others.
        value: of all labellers together.
        labellers: of each, in order.
    """

    metric: str
    rows: int
    value: Interval
    labellers: tuple[LabellerLevel, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class _Comparison:
    row: int
    labeller: str
    said: Any
    consensus: Any


def measure_humans(spec: ModelSpec, rulings: Iterable[Ruling]) -> HumanLevel | None:
    """Hold each labeller against the consensus of the others, which does not contain their own word (leave one out).

    The source is no person, and reviews know of the others: both are left out. So is a row on which the others are at
    a tie. The consensus of numbers is their median. Intervals come from a bootstrap over rows, so that the words on a
    row stay together.

    Returns:
        None where no row has two people's labels to compare.
    """
    found = list(_compare([one.voices for one in rulings]))
    if not found:
        return None
    metric = spec.metric if spec.metric in HARD[spec.task] else "accuracy"
    overall = _measure(spec, metric, found)
    names = sorted({one.labeller for one in found})
    levels = []
    for name in names:
        own = [one for one in found if one.labeller == name]
        levels.append(LabellerLevel(name, len(own), _measure(spec, metric, own)))
    return HumanLevel(metric, len({one.row for one in found}), overall, tuple(levels))


def _compare(voices: Sequence[Mapping[str, Any]]) -> Iterable[_Comparison]:
    for row, said in enumerate(voices):
        people = {name: value for name, value in said.items() if name != SOURCE}
        for name, value in people.items():
            others = [other for one, other in people.items() if one != name]
            consensus = _agree(others)
            if consensus is not None:
                yield _Comparison(row, name, value, consensus)


def _agree(values: Sequence[Any]) -> Any | None:
    if values and isinstance(values[0], float):
        return float(np.median(values))
    most = Counter(values).most_common(2)
    return None if not most or (len(most) > 1 and most[0][1] == most[1][1]) else most[0][0]


def _measure(spec: ModelSpec, metric: str, found: Sequence[_Comparison]) -> Interval:
    rows, place = np.unique([one.row for one in found], return_inverse=True)
    measured = _prepare(spec, metric, found)
    rules = spec.evaluation
    bootstrap = Bootstrap(len(rows), rules.resamples, rules.confidence, spec.training.seed)

    def weighted(weights: Floats) -> Floats:
        # Of few rows a resample may have none at all; the interval leaves it out.
        with np.errstate(invalid="ignore"):
            return measured(weights[:, place])

    return bootstrap.measure(weighted)


def _prepare(spec: ModelSpec, metric: str, found: Sequence[_Comparison]) -> Weighted:
    """The metric of what was said, as scores that are sure."""
    if spec.task == "regression":
        truth, said = (np.array(one, np.float64) for one in zip(*((c.consensus, c.said) for c in found), strict=True))
        return prepare(metric, truth, said)
    if spec.task == "binary":
        positive = True if spec.label.positive is None else spec.label.positive
        truth, said = (
            np.array([value == positive for value in side], dtype=np.float64)
            for side in zip(*((one.consensus, one.said) for one in found), strict=True)
        )
        return prepare(metric, truth, said, threshold=0.5)
    classes = sorted({one.consensus for one in found} | {one.said for one in found})
    codes = np.array([classes.index(one.consensus) for one in found])
    scores: Floats = np.array([[float(one.said == name) for name in classes] for one in found])
    return prepare(metric, codes, scores)
