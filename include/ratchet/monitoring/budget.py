"""A fleet's retrainings: more are wanted than there are hours, so those come first that gain the most in a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from include.ratchet.monitoring.outcomes import is_worse
from include.ratchet.monitoring.policy import Decision
from include.ratchet.monitoring.signals import Look
from include.ratchet.spec import ModelKey, ModelSpec

if TYPE_CHECKING:
    from include.ratchet.pipeline.fleet.batches import Costs

_PRIOR = 0.01
"""What fitting again gains where every column has drifted and no metric fell, as a share of the metric."""


@dataclass(frozen=True)
class Wish:
    """A retraining that a key's policy wants.

    Attributes:
        key: whose.
        gain: of the metric, as far as its fall or the drift lets expect.
        rows: of a day, that the gain is for.
        seconds: that the fit is expected to take; of a model whose trainings were not measured, rows.
    """

    key: ModelKey
    gain: float
    rows: float
    seconds: float

    @property
    def worth(self) -> float:
        """Expected gain of all rows of a day for each second of fitting."""
        return self.gain * self.rows / max(self.seconds, 1e-9)


def wish_of(spec: ModelSpec, looks: Sequence[Look], costs: Costs | None) -> Wish:
    """What a retraining of a key promises.

    Args:
        spec: the model's.
        looks: of the key, oldest first; the newest wants the retraining.
        costs: of a key's training, if they were measured.
    """
    newest = looks[-1]
    rows = float(np.mean([look.rows for look in looks[-spec.monitoring.window :]]))
    days = spec.training.window.length / timedelta(days=1)
    learned = int(rows * days * (timedelta(days=1) / spec.partition_length))
    return Wish(newest.key, _expected_gain(spec, newest), rows, costs.of(learned) if costs else max(learned, 1))


def rank(wishes: Sequence[Wish]) -> list[ModelKey]:
    """Keys in the order in which they are trained, the most worth a second first."""
    return [wish.key for wish in sorted(wishes, key=lambda one: (-one.worth, one.key))]


def allot(
    decisions: Mapping[ModelKey, Decision], wishes: Sequence[Wish], budget: int, spent: int
) -> dict[ModelKey, Decision]:
    """The decisions, with those that the day's budget does not reach left to wait; the next look asks again.

    Args:
        decisions: of all keys.
        wishes: of the segments that are to be trained again; the pooled model is none of them.
        budget: retrainings of a day.
        spent: of it, asked for before.
    """
    found, order = dict(decisions), rank(wishes)
    for place, key in enumerate(order, start=1):
        if place > budget - spent:
            reason = (
                f"{', '.join(sorted(found[key].cause))}: number {place} of {len(order)} by expected gain a second; "
                f"{budget} retrainings a day are the segments' budget, {spent} were asked for before"
            )
            found[key] = replace(found[key], outcome="wait", reason=reason)
    return found


def _expected_gain(spec: ModelSpec, look: Look) -> float:
    """The fall of the metric, realised or else estimated; where none fell, what drift lets expect."""
    numbers = look.numbers
    name = "metric" if "metric_window" in numbers else "estimate"
    expected = float(numbers.get(f"{name}_expected", 0.0))
    fall = is_worse(spec) * (float(numbers.get(f"{name}_window", expected)) - expected)
    drifted = max((signal.value for signal in look.fired if signal.kind == "drift"), default=0.0)
    return max(fall, _PRIOR * (abs(expected) or 1.0) * drifted, 0.0)
