"""Fitting one estimator on some rows of a snapshot, the same way every time."""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from include.ratchet.errors import SpecError
from include.ratchet.spec import Model
from include.ratchet.spec.modules import has_function, load_function

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Candidate:
    """What is fitted: a kind of estimator and its parameters."""

    name: str
    params: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"name": self.name, "params": dict(self.params)}


def build_estimator(model: Model, candidate: Candidate) -> Any:
    """The unfitted estimator that the model's `estimator.py` makes for a candidate."""
    training = model.spec.training
    fixed = training.candidates[candidate.name].params
    make = load_function(model, "estimator.py", "estimator")
    return make(candidate.name, {**fixed, **candidate.params}, training.seed, training.threads)


def fit_candidate(model: Model, candidate: Candidate, features: pd.DataFrame, label: npt.NDArray[Any]) -> Any:
    """Fit a candidate with everything seeded and the number of threads fixed.

    Args:
        model: whose `estimator.py` is asked.
        candidate: what to fit.
        features: (n_rows, n_features).
        label: (n_rows,).

    Returns:
        The fitted estimator.
    """
    with steady(model):
        return build_estimator(model, candidate).fit(features, label)


def update_estimator(model: Model, estimator: Any, features: pd.DataFrame, label: npt.NDArray[Any]) -> Any:
    """Let a fitted estimator learn on from further rows.

    By the `update(estimator, features, label)` of the model's `estimator.py`, which returns the updated one; without
    it by `partial_fit`, of a pipeline's last step on what the other steps, as they were fitted, make of the rows.

    Args:
        model: whose estimator it is.
        estimator: fitted; it may be changed.
        features: (n_rows, n_features) that it has not seen.
        label: (n_rows,).

    Raises:
        SpecError: it can do neither.
    """
    with steady(model):
        if has_function(model, "estimator.py", "update"):
            return load_function(model, "estimator.py", "update")(estimator, features, label)
        *before, last = [step for _, step in getattr(estimator, "steps", [("", estimator)])]
        if not hasattr(last, "partial_fit"):
            message = (
                f"{model.folder / 'estimator.py'}: training.updates is set, but {type(last).__name__} has no "
                "partial_fit; add `def update(estimator, features, label)`, or take training.updates out"
            )
            raise SpecError(message)
        made: Any = features
        for step in before:
            made = step.transform(made)
        last.partial_fit(made, label)
        return estimator


class steady:  # noqa: N801 - reads as a statement
    """Seeds and thread limits within a `with` block, so that the same input gives the same bits."""

    def __init__(self, model: Model) -> None:
        self._training = model.spec.training

    def __enter__(self) -> None:
        random.seed(self._training.seed)
        np.random.seed(self._training.seed)  # what libraries without a seed of their own draw from
        self._limits = _controller(len(sys.modules)).limit(limits=self._training.threads)

    def __exit__(self, *error: object) -> None:
        self._limits.restore_original_limits()


@functools.lru_cache(maxsize=1)
def _controller(modules: int) -> Any:
    """Of the thread pools of what is loaded: looking for them takes as long as fitting a small model does.

    Args:
        modules: how many are imported; with another number there may be more pools.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


BLOCK = 32
"""Rows are predicted in whole blocks: of a part of one, some matrix products round otherwise."""
_FEW_BLOCKS = 128


def predict(
    estimator: Any, features: pd.DataFrame, task: str, classes: npt.NDArray[Any] | None = None
) -> npt.NDArray[np.float64]:
    """Scores: probability of the positive class (n,), of each class (n, n_classes), or the value (n,).

    A row's bits do not depend on the rows beside it, so that one that was answered alone can be answered again in a
    batch. With `classes`, the columns of a multiclass task are theirs: 0 for one that the estimator has never seen,
    and without those that only the estimator knows.
    """
    rows = len(features)
    whole = rows - rows % BLOCK
    if rows == whole:
        return _predict_blocks(estimator, features, task, classes)
    if rows > _FEW_BLOCKS * BLOCK:
        parts = (features.iloc[:whole], features.iloc[whole:])
        return np.concatenate([predict(estimator, part, task, classes) for part in parts])
    filled = features.iloc[np.minimum(np.arange(whole + BLOCK), rows - 1)]
    return _predict_blocks(estimator, filled, task, classes)[:rows]


def score_of(predicted: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n_rows,) of what `predict` gives, as records keep it: of several classes the likeliest one's probability."""
    return predicted.max(axis=1) if predicted.ndim == 2 else predicted


def _predict_blocks(
    estimator: Any, features: pd.DataFrame, task: str, classes: npt.NDArray[Any] | None
) -> npt.NDArray[np.float64]:
    if task == "regression":
        return np.asarray(estimator.predict(features), dtype=np.float64)
    probabilities = np.asarray(estimator.predict_proba(features), dtype=np.float64)
    if task == "binary":
        probabilities = probabilities[:, 1]
    elif classes is not None:
        probabilities = probabilities @ (estimator.classes_[:, None] == classes).astype(np.float64)
    return probabilities
