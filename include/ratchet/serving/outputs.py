"""Scores of rows by the versions that their routes chose, and how they are answered."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.rollout.routes import Choice
from include.ratchet.serving.fitted import Deployment, Fitted
from include.ratchet.spec import ModelSpec
from include.ratchet.training.fit import score_of

_log = logging.getLogger(__name__)
Output = dict[str, Any]
_OWN = "segments"
"""Stands for all versions of segments in counts: each of thousands numbers its own."""


WITHHELD = ("defer", "holdout")
"""Routes of which the caller is not told what the model says."""


@dataclass(frozen=True)
class Scored:
    """Rows with their scores.

    Attributes:
        outputs: by row, what is answered.
        scores: (n,) probability of the positive or likeliest class, or the value; nan where nothing could be predicted.
        versions: by row, which version predicted.
        routes: by row.
        failures: by row of a challenger that could not predict and was stood in for: version and error.
        counts: rows by version and route; those of segments' own models together.
    """

    outputs: list[Output]
    scores: npt.NDArray[np.float64]
    versions: list[int]
    routes: list[str]
    failures: Mapping[int, tuple[int, str]]
    counts: Mapping[tuple[str, str], int]


def score_rows(
    spec: ModelSpec, answering: Sequence[Deployment], choices: Sequence[Choice], features: pa.Table
) -> Scored:
    """Predict every row by its version. Where a challenger fails, its champion answers and the failure is kept.

    Raises:
        Exception: whatever the champion raises, or a version that a caller asked for by its number.
    """
    outputs: list[Output] = [{}] * len(choices)
    scores = np.full(len(choices), math.nan)
    versions = [choice.version for choice in choices]
    routes: list[str] = [choice.route for choice in choices]
    failures: dict[int, tuple[int, str]] = {}
    groups: dict[tuple[str, int], list[int]] = {}
    for row, (deployment, version) in enumerate(zip(answering, versions, strict=True)):
        groups.setdefault((deployment.key.segment, version), []).append(row)
    for (_, version), rows in groups.items():
        part = features if len(rows) == len(choices) else features.take(pa.array(rows))
        deployment = answering[rows[0]]
        champion, one = deployment.route.champion, deployment.fitted[version]
        try:
            found = one.predict(part, spec.task)
        except Exception as error:
            if version == champion or any(choices[row].route == "pinned" for row in rows):
                raise
            _log.warning("version %s of %s cannot predict, the champion answers: %s", version, deployment.key, error)
            one = deployment.fitted[champion]
            found = one.predict(part, spec.task)
            for row in rows:
                failures[row] = (version, f"{type(error).__name__}: {error}")
                versions[row], routes[row] = champion, "champion"
        scores[rows] = score_of(found)
        for row, values in zip(rows, found, strict=True):
            outputs[row] = render(spec, one, values)
    counted = [str(version) if one.key.is_pool else _OWN for one, version in zip(answering, versions, strict=True)]
    return Scored(outputs, scores, versions, routes, failures, Counter(zip(counted, routes, strict=True)))


def render(spec: ModelSpec, fitted: Fitted, values: Any) -> Output:
    """One row's answer."""
    if spec.task == "regression":
        return {"value": float(values)}
    if spec.task == "binary":
        return {"score": float(values), "class": bool(values >= spec.evaluation.threshold)}
    shares = {str(name): float(share) for name, share in zip(fitted.classes, values, strict=True)}
    return {"class": max(shares, key=lambda name: shares[name]), "probabilities": shares}


def answer_rows(spec: ModelSpec, outputs: Sequence[Output], routes: Sequence[str]) -> list[Output]:
    """By row, what the caller is told: of one that is held out, that it is, and what to do instead of acting on it."""
    holdout = spec.serving.holdout
    name = "value" if spec.task == "regression" else "class"
    neutral = {} if holdout is None or holdout.answer is None else {name: holdout.answer}
    told: dict[str, Output] = {"defer": {"answer": "defer"}, "holdout": {"held_out": True, **neutral}}
    return [told.get(route, one) for one, route in zip(outputs, routes, strict=True)]


def record_outputs(outputs: Sequence[Output], routes: Sequence[str]) -> list[Output]:
    """By row, what is recorded: of one that is held out, what the model would have said, which its loss is of."""
    told: dict[str, Output] = {"defer": {"answer": "defer"}}
    return [{**one, "held_out": True} if route == "holdout" else told.get(route, one)
            for one, route in zip(outputs, routes, strict=True)]  # fmt: skip
