"""Likely label errors: rows whose label a model that has not seen it finds hard to believe."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.data.records import record_keys
from include.ratchet.errors import TooFewRowsError
from include.ratchet.features import feature_names
from include.ratchet.spec import Model, ModelSpec
from include.ratchet.training.fit import Candidate, fit_candidate, predict
from include.ratchet.training.frames import features_frame, label_array
from include.ratchet.training.metrics import Floats

FAR = 3.5
"""Modified z-score above which a value is an outlier (Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers)."""
_NORMAL = 1.4826
"""Standard deviations of a normal distribution in a median absolute deviation."""


@dataclass(frozen=True)
class Suspect:
    """One row whose label is likely wrong.

    Attributes:
        key: the row's.
        given: its label.
        suggested: the label that the model holds to be true; None where the classes do not say which.
        score: 0 to 1, the less the worse: the probability that the model gives to the label or, of a number, the share
            of rows that would lie farther from their prediction by chance.
    """

    key: str
    given: Any
    suggested: Any
    score: float


def find_suspects(model: Model, candidate: Candidate, table: pa.Table, folds: int) -> list[Suspect]:
    """The rows of a training set whose labels are likely wrong, the worst first.

    Classes: confident learning (Northcutt et al. 2021, Confident Learning) by cleanlab. Numbers: residuals that are
    outliers by their modified z-score.

    Every row is predicted by a model fitted on the other folds, which are drawn at random and not by time: nothing is
    forecast here, a row's later neighbours are evidence of what its label should have been as good as earlier ones,
    and a split by time would leave the first rows without a prediction.

    Args:
        model: whose.
        candidate: the kind of estimator, with its parameters.
        table: the snapshot's rows.
        folds: how many; fewer where a class has not so many rows.

    Raises:
        TooFewRowsError: a class has one row, or there are fewer rows than folds.
    """
    label = label_array(table, model.spec)
    if model.spec.task == "regression":
        predicted = _predict_outside(model, candidate, table, label, folds)
        return _rank_residuals(model.spec, table, label, predicted)
    classes, codes = np.unique(label, return_inverse=True)
    rarest = min(np.bincount(codes)) if len(classes) > 1 else 0
    if rarest < 2:
        message = (
            f"{model.name}: {table.num_rows} labelled rows, {rarest} of the rarest of {len(classes)} classes; expected "
            "at least two classes with two rows each, to predict each row from others. Widen training.window."
        )
        raise TooFewRowsError(message)
    predicted = _predict_outside(model, candidate, table, label, min(folds, int(rarest)), classes)
    return _rank_issues(model.spec, table, codes, predicted)


def _predict_outside(
    model: Model, candidate: Candidate, table: pa.Table, label: npt.NDArray[Any], folds: int,
    classes: npt.NDArray[Any] | None = None,
) -> Floats:  # fmt: skip
    """Out-of-fold predictions: (n_rows, n_classes) or, of a regression, (n_rows,)."""
    from sklearn.model_selection import KFold, StratifiedKFold

    spec = model.spec
    if table.num_rows < folds:
        message = f"{model.name}: {table.num_rows} labelled rows; expected at least {folds}. Widen training.window."
        raise TooFewRowsError(message)
    frame = features_frame(table, feature_names(model))
    kind = KFold if classes is None else StratifiedKFold
    found = np.full(len(label) if classes is None else (len(label), len(classes)), np.nan)
    for learnt, held in kind(folds, shuffle=True, random_state=spec.training.seed).split(frame, label):
        fitted = fit_candidate(model, candidate, frame.iloc[learnt], label[learnt])
        scores = predict(fitted, frame.iloc[held], spec.task, classes if spec.task == "multiclass" else None)
        found[held] = np.stack([1 - scores, scores], axis=1) if spec.task == "binary" else scores
    return found


def _rank_issues(spec: ModelSpec, table: pa.Table, codes: npt.NDArray[np.int64], predicted: Floats) -> list[Suspect]:
    from cleanlab.filter import find_label_issues

    # One process: forks of a task that holds Arrow's and a fit's threads may hang.
    ranked = find_label_issues(codes, predicted, return_indices_ranked_by="self_confidence", n_jobs=1)
    chosen = table.take(pa.array(ranked, pa.int64()))
    given, values = chosen[spec.label.column].to_pylist(), _class_values(table[spec.label.column].to_pylist(), codes)
    keys = record_keys(spec, chosen).to_pylist()
    return [
        Suspect(key, said, values.get(int(predicted[row].argmax())), float(predicted[row, codes[row]]))
        for key, said, row in zip(keys, given, ranked, strict=True)
    ]


def _class_values(labels: list[Any], codes: npt.NDArray[np.int64]) -> dict[int, Any]:
    """The label of each class; of a binary task's negative class, where several labels count as it, none."""
    found: dict[int, Counter[Any]] = {}
    for value, code in zip(labels, codes.tolist(), strict=True):
        found.setdefault(code, Counter())[value] += 1
    return {code: next(iter(counts)) for code, counts in found.items() if len(counts) == 1}


def _rank_residuals(spec: ModelSpec, table: pa.Table, label: npt.NDArray[Any], predicted: Floats) -> list[Suspect]:
    residual = label - predicted
    centred = np.abs(residual - np.median(residual))
    spread = max(_NORMAL * float(np.median(centred)), float(np.finfo(np.float64).eps))
    far = centred / spread
    ranked = [row for row in np.argsort(-far, kind="stable").tolist() if far[row] > FAR]
    keys = record_keys(spec, table.take(pa.array(ranked, pa.int64()))).to_pylist()
    return [
        Suspect(key, float(label[row]), float(predicted[row]), math.erfc(float(far[row]) / math.sqrt(2)))
        for key, row in zip(keys, ranked, strict=True)
    ]
