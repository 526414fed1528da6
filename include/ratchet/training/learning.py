"""Whether more rows would help: the chosen candidate fitted on growing shares of them (Cortes et al. 1993)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from include.ratchet.spec import Model
from include.ratchet.training.fit import Candidate, fit_candidate, predict
from include.ratchet.training.frames import class_codes
from include.ratchet.training.metrics import score
from include.ratchet.training.split import Rows, Split

if TYPE_CHECKING:
    import pandas as pd

SHARES = (1 / 27, 1 / 9, 1 / 3)
"""Of the rows before the test, the newest ones; with the whole, four points for half a fit more."""
SAMPLE_ROWS = 4000


@dataclass(frozen=True)
class LearningPoint:
    """The decisive metric after learning from so many rows, on a sample of them and on the test rows."""

    rows: int
    seen: float
    unseen: float


def learning_curve(
    model: Model, candidate: Candidate, features: pd.DataFrame, label: npt.NDArray[Any], split: Split, whole: Any
) -> tuple[LearningPoint, ...]:
    """Points by growing number of rows; a share with one class only, or too small to be fitted, has none.

    Args:
        model: whose candidate it is.
        candidate: to fit.
        features: (n_rows, n_features), the snapshot's.
        label: (n_rows,).
        split: the snapshot's.
        whole: the estimator fitted on all rows before the test.
    """
    classes, codes = class_codes(label, model.spec.task)

    def measure(estimator: Any, rows: Rows) -> float:
        scores = predict(estimator, features.iloc[rows], model.spec.task, classes)
        return score(model.spec.metric, codes[rows], scores, threshold=model.spec.evaluation.threshold)

    rows = split.development
    fits = [(rows, whole)]
    for share in SHARES:
        newest = rows[-math.ceil(len(rows) * share) :]
        if len(np.unique(label[newest])) > 1:
            fits.append((newest, fit_candidate(model, candidate, features.iloc[newest], label[newest])))
    return tuple(
        LearningPoint(len(used), measure(estimator, _sample(used)), measure(estimator, split.test))
        for used, estimator in sorted(fits, key=lambda fit: len(fit[0]))
    )


def _sample(rows: Rows) -> Rows:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE_ROWS)).astype(np.int64)]
