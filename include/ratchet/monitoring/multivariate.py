"""Whether columns have changed together: how well a classifier tells the rows of a day from those of the reference.

Area under the ROC curve of gradient boosting on held-out rows (a classifier two-sample test: Lopez-Paz and Oquab 2017,
Revisiting Classifier Two-Sample Tests). Any day of the reference can be told from the others to some degree, and how
well is what a new day is held against (`levels`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from include.ratchet.monitoring.binning import Bins
from include.ratchet.monitoring.quality import sample

Codes = npt.NDArray[np.int16]
ROWS = 1500
"""Of either side."""
FOLDS = 3
MIN_ROWS = 100


def code_rows(bins: Mapping[str, Bins], columns: Mapping[str, Any]) -> Codes:
    """(n_rows, n_columns): the bin of each value, which is all that the classifier sees."""
    return np.stack([bins[name].codes(column) for name, column in columns.items()], axis=1).astype(np.int16)


def separability(before: Codes, now: Codes) -> float:
    """Area under the ROC curve with which rows of two samples are told apart: 0.5 not at all, 1 surely.

    Args:
        before: (n_rows, n_columns) of the reference.
        now: (m_rows, n_columns). Even samples of `ROWS` are taken of either.

    Returns:
        nan where either has fewer than `MIN_ROWS`.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    if min(len(before), len(now)) < MIN_ROWS:
        return float("nan")
    before, now = before[sample(len(before), ROWS)], now[sample(len(now), ROWS)]
    rows, is_now = np.concatenate([before, now]).astype(np.float64), np.r_[np.zeros(len(before)), np.ones(len(now))]
    fold = np.r_[np.arange(len(before)) % FOLDS, np.arange(len(now)) % FOLDS]
    scores = np.zeros(len(rows))
    for number in range(FOLDS):
        held = fold == number
        model = HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=8, early_stopping=False, random_state=0)
        scores[held] = model.fit(rows[~held], is_now[~held]).predict_proba(rows[held])[:, 1]
    from include.ratchet.training.metrics import score

    return float(np.mean([score("roc_auc", is_now[fold == n], scores[fold == n]) for n in range(FOLDS)]))


def separability_of_days(codes: Codes, day: Sequence[int] | npt.NDArray[np.intp], days: Sequence[int]) -> list[float]:
    """How well each of some days can be told from all others.

    Args:
        codes: (n_rows, n_columns) of the reference.
        day: (n_rows,) number of each row's day.
        days: numbers of the days that are asked for.
    """
    position = np.asarray(day)
    return [separability(codes[position != one], codes[position == one]) for one in days]
