"""What each column contributed to some predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from include.ratchet.training.metrics import Floats

Method = Literal["trees", "linear", "enumerated", "sampled"]
Space = Literal["log_odds", "log_scores", "log_value", "probability", "value"]


def _expit(raw: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-raw)))


def _softmax(raw: Floats) -> Floats:
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


LINKS: Mapping[Space, Callable[[Floats], Floats]] = {
    "log_odds": _expit, "log_scores": _softmax, "log_value": np.exp, "probability": np.asarray, "value": np.asarray,
}  # fmt: skip
"""From what contributions sum to, (n_rows, n_outputs), to what is predicted."""
TASK_SPACES: Mapping[str, tuple[Space, ...]] = {
    "binary": ("log_odds", "probability"), "multiclass": ("log_scores", "probability"),
    "regression": ("value", "log_value"),
}  # fmt: skip
"""In which spaces estimators of a task may add up."""


@dataclass(frozen=True)
class Attribution:
    """Shapley values of some rows against a background.

    They are the interventional ones (Janzing et al. 2020, AISTATS): the value of a set of columns is the mean of what
    is predicted when they are the row's and all others are those of a background row. A row's contributions and the
    base sum to its prediction, in the named space.

    Attributes:
        method: `trees` and `linear` are exact, from the estimator's structure; `enumerated` is exact, from every set of
            columns; `sampled` is an estimate from random orders of columns.
        space: in which contributions add up: log odds, the classes' scores before softmax, the logarithm of the value,
            probability, or the label's units.
        columns: (n_columns,) of the spec's features.
        outputs: (n_outputs,) the classes of a multiclass task; one empty name elsewhere.
        base: (n_outputs,) mean over the background.
        contributions: (n_rows, n_columns, n_outputs).
        residual: (n_rows,) largest difference between what base and contributions sum to and what was predicted.
        standard_error: of the contributions, if they are sampled.
        note: why the estimator was not taken apart, if it was not.
    """

    method: Method
    space: Space
    columns: tuple[str, ...]
    outputs: tuple[str, ...]
    base: Floats = field(repr=False)
    contributions: Floats = field(repr=False)
    residual: Floats = field(repr=False)
    standard_error: Floats | None = field(default=None, repr=False)
    note: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether nothing was sampled."""
        return self.standard_error is None

    def to_rows(self) -> list[dict[str, Any]]:
        """One document for each row, as JSON can hold it; of several classes a number for each."""
        found = []
        for row, values in enumerate(self.contributions):
            one: dict[str, Any] = {
                "method": self.method, "is_exact": self.is_exact, "space": self.space, "base": self._name(self.base),
                "contributions": {name: self._name(value) for name, value in zip(self.columns, values, strict=True)},
                "residual": float(self.residual[row]),
            }  # fmt: skip
            if self.standard_error is not None:
                errors = zip(self.columns, self.standard_error[row], strict=True)
                one["standard_errors"] = {name: self._name(value) for name, value in errors}
            if self.note:
                one["note"] = self.note
            found.append(one)
        return found

    def _name(self, values: Floats) -> float | dict[str, float]:
        if len(self.outputs) == 1:
            return float(values[0])
        return {name: float(value) for name, value in zip(self.outputs, values, strict=True)}
