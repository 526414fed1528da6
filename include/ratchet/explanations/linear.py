"""Exact contributions of a linear model: what each column adds beyond its mean over the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from include.ratchet.explanations.encoding import NotSeparableError, Sources
from include.ratchet.training.metrics import Floats


@dataclass(frozen=True)
class LinearModel:
    """Weights of encoded columns.

    Attributes:
        weights: (n_outputs, n_encoded).
        intercept: (n_outputs,).
    """

    weights: Floats
    intercept: Floats

    @classmethod
    def read(cls, estimator: Any) -> Self:
        """The weights of a fitted estimator.

        Raises:
            NotSeparableError: it has none.
        """
        if not hasattr(estimator, "coef_"):
            message = f"{type(estimator).__name__} has no coefficients"
            raise NotSeparableError(message)
        weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
        intercept = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64).ravel(), len(weights))
        return cls(weights, intercept)

    def predict(self, rows: Floats) -> Floats:
        """What encoded rows sum to, (n_rows, n_outputs)."""
        return np.asarray(self.intercept + rows @ self.weights.T)

    def attribute(self, rows: Floats, background: Floats, sources: Sources, columns: int) -> tuple[Floats, Floats]:
        """The base (n_outputs,) and contributions (n_rows, n_columns, n_outputs) of encoded rows."""
        means = background.mean(axis=0)
        base, found = self.intercept.copy(), np.zeros((len(rows), columns, len(self.weights)))
        # Column by column and not as a product of matrices, whose last bits depend on how many rows there are.
        for encoded, source in enumerate(sources):
            weight = self.weights[:, encoded]
            base += weight * means[encoded]
            found[:, source] += (rows[:, encoded] - means[encoded])[:, None] * weight
        return base, found
