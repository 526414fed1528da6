"""Candidates beside what scores the same rows: paired gains by a shared bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from include.ratchet.evaluation.intervals import Bootstrap, Interval
from include.ratchet.spec import ModelSpec
from include.ratchet.training.metrics import Floats, Weighted, prepare

CHAMPION = "champion"
"""What the present champion is called among contenders."""


@dataclass(frozen=True)
class Contender:
    """Something that scores the same test rows: a baseline or the champion."""

    name: str
    scores: Floats = field(repr=False)
    version: int | None = None


@dataclass(frozen=True)
class Comparison:
    """A contender's metric, and the candidate's paired gain over it (positive: the candidate is better)."""

    name: str
    metric: Interval
    gain: Interval
    version: int | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Comparison:
        """The comparison back from its JSON form."""
        return cls(content["name"], Interval(**content["metric"]), Interval(**content["gain"]), content.get("version"))


def compare_measures(spec: ModelSpec, rows: int, measures: Sequence[Weighted], rivals: Sequence[Contender],
                      first: int, sign: float) -> tuple[list[Interval], list[Comparison]]:  # fmt: skip
    """Intervals of the first measures, and the paired gains of the very first over the others, one of each rival."""
    bootstrap = bootstrap_of(spec, rows)
    point, draws = bootstrap.draws(measures)
    comparisons = [
        Comparison(
            rival.name,
            bootstrap.interval(point[i], draws[i]),
            bootstrap.interval(sign * (point[0] - point[i]), sign * (draws[0] - draws[i])),
            rival.version,
        )
        for i, rival in enumerate(rivals, first)
    ]
    return [bootstrap.interval(point[i], draws[i]) for i in range(first)], comparisons


def measured(spec: ModelSpec, metric: str, label: npt.NDArray[Any], scores: Floats) -> Weighted:
    """A metric of some scores as a function of row weights."""
    return prepare(metric, label, scores, threshold=spec.evaluation.threshold)


def bootstrap_of(spec: ModelSpec, rows: int) -> Bootstrap:
    """The resamples of some rows that the spec asks for, the same at every call."""
    return Bootstrap(rows, spec.evaluation.resamples, spec.evaluation.confidence, spec.training.seed)
