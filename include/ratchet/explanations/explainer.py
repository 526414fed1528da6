"""Explaining a version's predictions: from its structure where that is known and checked, else from outside."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from include.ratchet.explanations.agnostic import EVALUATIONS, can_enumerate, enumerate_sets, sample_orders
from include.ratchet.explanations.attribution import LINKS, TASK_SPACES, Attribution, Method, Space
from include.ratchet.explanations.encoding import Encoding, NotSeparableError, read_encoding
from include.ratchet.explanations.linear import LinearModel
from include.ratchet.explanations.paths import TreeExplainer
from include.ratchet.explanations.trees import read_trees
from include.ratchet.training.fit import predict
from include.ratchet.training.metrics import Floats

_TOLERANCE = 1e-9
"""By which a sum of contributions may miss the prediction that they explain."""
_Parts = Callable[[pd.DataFrame], tuple[Floats, Floats]]


class Explainer:
    """Explains predictions of one fitted estimator against fixed background rows.

    An estimator of trees, or a linear one, is taken apart, behind the steps that encode its columns one by one. What is
    read out of it must predict as it does, on the background and on every row that is explained; otherwise, and for
    any other estimator, predictions themselves are asked for.

    Args:
        estimator: fitted.
        background: (n_background, n_columns), at least one row.
        task: of the spec.
        seed: of sampled orders.
    """

    def __init__(self, estimator: Any, background: pd.DataFrame, task: str, seed: int) -> None:
        self._estimator, self._background, self._task, self._seed = estimator, background, task, seed
        self._columns = tuple(map(str, background.columns))
        self._outputs = tuple(map(str, estimator.classes_)) if task == "multiclass" else ("",)
        self._note = ""
        self._parts: tuple[Method, Space, _Parts] | None = None
        try:
            self._parts = self._take_apart()
        except NotSeparableError as error:
            self._note = str(error)
        except Exception as error:  # whatever an estimator is made of, it can still be asked
            self._note = f"{type(error).__name__}: {error}"

    @property
    def is_structural(self) -> bool:
        """Whether the estimator was taken apart; asking predictions instead takes thousands of them a row."""
        return self._parts is not None

    def measure_seconds(self) -> float:
        """Roughly how long one row takes if the estimator is asked: by the predictions of the background."""
        started = time.perf_counter()
        self._predict(self._background)
        return (time.perf_counter() - started) * EVALUATIONS / len(self._background)

    def explain(self, features: pd.DataFrame) -> Attribution:
        """Attribute the predictions of some rows to their columns.

        A row's numbers do not depend on the rows beside it.

        Args:
            features: (n_rows, n_columns), at least one row, in the order and types of the background.
        """
        predicted = self._predict(features)
        note = self._note
        if self._parts is not None:
            method, space, attribute = self._parts
            base, found = attribute(features)
            residual = _residual(space, base, found, predicted)
            if _is_close(residual, predicted):
                return Attribution(method, space, self._columns, self._outputs, base, found, residual)
            note = f"what was read out of the estimator misses its predictions by {residual.max():.3g}"
        return self._ask(features, predicted, note)

    def _ask(self, features: pd.DataFrame, predicted: Floats, note: str) -> Attribution:
        """From predictions alone."""
        base = self._predict(self._background).mean(axis=0)
        space: Space = "value" if self._task == "regression" else "probability"
        rows = [features.iloc[[row]] for row in range(len(features))]
        shape = (len(rows), len(self._columns), len(base))
        if can_enumerate(len(self._columns), len(self._background)):
            exact = [enumerate_sets(self._predict, self._background, row) for row in rows]
            found = np.array(exact).reshape(shape)
            residual = _residual(space, base, found, predicted)
            return Attribution("enumerated", space, self._columns, self._outputs, base, found, residual, note=note)
        drawn = [sample_orders(self._predict, self._background, row, self._seed) for row in rows]
        found, errors = (np.array([one[part] for one in drawn]).reshape(shape) for part in (0, 1))
        residual = _residual(space, base, found, predicted)
        return Attribution("sampled", space, self._columns, self._outputs, base, found, residual, errors, note)

    def _predict(self, features: pd.DataFrame) -> Floats:
        found = predict(self._estimator, features, self._task)
        return found.reshape(len(found), -1)

    def _take_apart(self) -> tuple[Method, Space, _Parts]:
        """How to attribute from the estimator's structure, and in which space that adds up."""
        encoding = read_encoding(self._estimator, len(self._columns))
        method, summed, attribute = self._read(encoding)
        predicted = self._predict(self._background)
        for space in TASK_SPACES[self._task]:
            if summed.shape == predicted.shape and _is_close(_miss(space, summed, predicted), predicted):
                return method, space, attribute
        message = "what was read out of the estimator does not predict as it does"
        raise NotSeparableError(message)

    def _read(self, encoding: Encoding) -> tuple[Method, Floats, _Parts]:
        """The method, what the background rows sum to by it, and what attributes."""
        background, sources, columns = encoding.encode(self._background), encoding.sources, len(self._columns)
        if hasattr(encoding.last, "coef_"):
            linear = LinearModel.read(encoding.last)
            return (
                "linear",
                linear.predict(background),
                lambda rows: linear.attribute(encoding.encode(rows), background, sources, columns),
            )
        trees = TreeExplainer(read_trees(encoding.last), background, sources, columns)
        # Of a binary forest the second column is the positive class.
        chosen = slice(1, None) if self._task == "binary" and len(trees.base) == 2 else slice(None)
        return "trees", trees.predict(background)[:, chosen], lambda rows: (
            trees.base[chosen], trees.attribute(encoding.encode(rows))[:, :, chosen]
        )  # fmt: skip


def _residual(space: Space, base: Floats, contributions: Floats, predicted: Floats) -> Floats:
    """(n_rows,) by how much base and contributions miss the predictions, in what is predicted."""
    return _miss(space, base + contributions.sum(axis=1), predicted)


def _miss(space: Space, summed: Floats, predicted: Floats) -> Floats:
    return np.asarray(np.abs(LINKS[space](summed) - predicted).max(axis=1, initial=0.0))


def _is_close(residual: Floats, predicted: Floats) -> bool:
    return bool((residual <= _TOLERANCE * np.maximum(1, np.abs(predicted).max(axis=1))).all())
