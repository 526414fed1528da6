"""Permutation importance: what a model loses when one column is shuffled (Breiman 2001, Random Forests)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from include.ratchet.spec import ModelSpec
from include.ratchet.spec.training import LOWER_IS_BETTER
from include.ratchet.training.fit import predict
from include.ratchet.training.metrics import score

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_ROWS = 4000


def permutation_importance(
    spec: ModelSpec,
    estimator: Any,
    features: pd.DataFrame,
    label: npt.NDArray[Any],
    classes: npt.NDArray[Any] | None = None,
) -> dict[str, float]:
    """By column, how much worse the decisive metric gets when its values are shuffled.

    Args:
        spec: names the metric and the seed.
        estimator: fitted.
        features: (n_rows, n_features); an even sample of at most 4,000 rows is used.
        label: (n_rows,); of a multiclass task, positions among `classes`.
        classes: of a multiclass task.
    """
    rows = np.linspace(0, len(label) - 1, min(len(label), SAMPLE_ROWS)).astype(np.int64)
    frame, truth = features.iloc[rows].reset_index(drop=True), label[rows]
    if spec.task != "regression" and len(np.unique(truth)) < 2:
        return {}
    sign = -1.0 if spec.metric in LOWER_IS_BETTER else 1.0
    base = score(spec.metric, truth, predict(estimator, frame, spec.task, classes))
    generator = np.random.default_rng(spec.training.seed)
    lost = {}
    for name in features.columns:
        shuffled = frame.assign(**{name: frame[name].to_numpy()[generator.permutation(len(frame))]})
        lost[str(name)] = sign * (base - score(spec.metric, truth, predict(estimator, shuffled, spec.task, classes)))
    return lost


def importance_shares(lost: Mapping[str, float], columns: Sequence[str]) -> dict[str, float]:
    """Each column's share of what is lost without any of them, summing to 1; equal shares where nothing is lost."""
    shares = {name: max(float(lost.get(name, 0.0)), 0.0) for name in columns}
    total = sum(shares.values())
    return {name: share / total if total > 0 else 1 / len(columns) for name, share in shares.items()}
