"""Metrics of predictions, each as a function of row weights, so that a bootstrap of any of them is a few products.

`prepare` sorts or bins once; the function it returns takes weights of shape (n_resamples, n_rows) and gives one
value per resample. Checked against scikit-learn, which has the same definitions, in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Weighted = Callable[[Floats], Floats]
"""Weights (n_resamples, n_rows) to values (n_resamples,)."""

BINS = 15
"""Of the expected calibration error, of equal width (Guo et al. 2017, On Calibration of Modern Neural Networks)."""
_TINY = np.finfo(np.float64).eps


def score(metric: str, label: npt.NDArray[Any], scores: Floats, *, threshold: float = 0.5) -> float:
    """One metric of all rows, each with weight 1.

    Args:
        metric: its name in the spec.
        label: (n_rows,); of a multiclass task, columns of `scores`.
        scores: (n_rows,) or, of a multiclass task, (n_rows, n_classes).
        threshold: score from which a binary prediction is positive.
    """
    return float(prepare(metric, label, scores, threshold=threshold)(np.ones((1, len(label))))[0])


def prepare(metric: str, label: npt.NDArray[Any], scores: Floats, *, threshold: float = 0.5) -> Weighted:
    """The metric of these rows as a function of their weights; nan where a resample leaves it undefined."""
    if scores.ndim == 2:
        return _MULTICLASS[metric](label.astype(np.int64), scores)
    if metric in _REGRESSION:
        return _REGRESSION[metric](label.astype(np.float64), scores)
    truth = label.astype(bool)
    if metric in _CONFUSION:
        return _confusion(truth, scores >= threshold, _CONFUSION[metric])
    return _BINARY[metric](truth, scores)


def _mean_of(loss: Floats) -> Weighted:
    return lambda weights: weights @ loss / weights.sum(axis=1)


def _roc_auc(truth: npt.NDArray[np.bool_], scores: Floats) -> Weighted:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half."""
    order = np.argsort(scores, kind="stable")
    positives, negatives = order[truth[order]], order[~truth[order]]
    below, not_above = (np.searchsorted(scores[negatives], scores[positives], side) for side in ("left", "right"))

    def value(weights: Floats) -> Floats:
        positive = weights[:, positives]
        negative = np.zeros((len(weights), len(negatives) + 1))
        np.cumsum(weights[:, negatives], axis=1, out=negative[:, 1:])
        with np.errstate(invalid="ignore"):
            pairs = positive.sum(axis=1) * negative[:, -1]
            twice_won = np.einsum("ij,ij->i", positive, negative[:, below] + negative[:, not_above])
            return twice_won / 2 / pairs  # type: ignore[no-any-return]

    return value


def _average_precision(truth: npt.NDArray[np.bool_], scores: Floats) -> Weighted:
    """Precision at each threshold, weighted by the recall it adds."""
    order, starts = _tie_groups(-scores)

    def value(weights: Floats) -> Floats:
        positive = np.add.reduceat(weights[:, order] * truth[order], starts, axis=1)
        everything = np.add.reduceat(weights[:, order], starts, axis=1)
        with np.errstate(invalid="ignore"):
            precision = np.cumsum(positive, axis=1) / np.cumsum(everything, axis=1)
            return np.nansum(positive * precision, axis=1) / positive.sum(axis=1)  # type: ignore[no-any-return]

    return value


def _tie_groups(scores: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row order by ascending score, and where each run of equal scores begins."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    return order, np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])


def _log_loss(truth: npt.NDArray[np.bool_], scores: Floats) -> Weighted:
    clipped = np.clip(scores, _TINY, 1 - _TINY)
    return _mean_of(-np.where(truth, np.log(clipped), np.log1p(-clipped)))


def _brier(truth: npt.NDArray[np.bool_], scores: Floats) -> Weighted:
    return _mean_of((scores - truth) ** 2)


def _ece(truth: npt.NDArray[np.bool_], scores: Floats) -> Weighted:
    """Expected calibration error: mean distance of score and frequency over bins of equal width."""
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    member = np.zeros((len(scores), BINS))
    member[np.arange(len(scores)), bins] = scores - truth
    return lambda weights: np.abs(weights @ member).sum(axis=1) / weights.sum(axis=1)


def _confusion(truth: npt.NDArray[np.bool_], said: npt.NDArray[np.bool_], rate: Callable[..., Floats]) -> Weighted:
    cells = np.stack([truth & said, ~truth & said, truth & ~said, ~truth & ~said], axis=1).astype(np.float64)

    def value(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return rate(*(weights @ cells).T)

    return value


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.where(whole > 0, part / whole, 0.0)


_CONFUSION: dict[str, Callable[..., Floats]] = {
    "accuracy": lambda tp, fp, fn, tn: (tp + tn) / (tp + fp + fn + tn),
    "balanced_accuracy": lambda tp, fp, fn, tn: (tp / (tp + fn) + tn / (tn + fp)) / 2,
    "f1": lambda tp, fp, fn, tn: _ratio(2 * tp, 2 * tp + fp + fn),
    "recall": lambda tp, fp, fn, tn: _ratio(tp, tp + fn),
    "precision": lambda tp, fp, fn, tn: _ratio(tp, tp + fp),
}
_BINARY: dict[str, Callable[[npt.NDArray[np.bool_], Floats], Weighted]] = {
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    "log_loss": _log_loss,
    "brier": _brier,
    "ece": _ece,
}


def _class_log_loss(code: npt.NDArray[np.int64], scores: Floats) -> Weighted:
    shares = np.clip(scores / scores.sum(axis=1, keepdims=True), _TINY, 1)
    return _mean_of(-np.log(shares[np.arange(len(code)), code]))


def _class_cells(code: npt.NDArray[np.int64], scores: Floats) -> Callable[[Floats], tuple[Floats, Floats, Floats]]:
    """Weights to (hits, truths, predictions) by class."""
    classes = np.arange(scores.shape[1])
    said = scores.argmax(axis=1)
    is_true = (code[:, None] == classes).astype(np.float64)
    is_said = (said[:, None] == classes).astype(np.float64)
    return lambda weights: (weights @ (is_true * is_said), weights @ is_true, weights @ is_said)


def _class_balanced_accuracy(code: npt.NDArray[np.int64], scores: Floats) -> Weighted:
    cells = _class_cells(code, scores)

    def value(weights: Floats) -> Floats:
        hits, truths, _ = cells(weights)
        with np.errstate(invalid="ignore"):
            return np.nanmean(np.where(truths > 0, hits / truths, np.nan), axis=1)  # type: ignore[no-any-return]

    return value


def _class_f1(code: npt.NDArray[np.int64], scores: Floats) -> Weighted:
    cells = _class_cells(code, scores)

    def value(weights: Floats) -> Floats:
        hits, truths, said = cells(weights)
        with np.errstate(invalid="ignore"):
            return _ratio(2 * hits, truths + said).sum(axis=1) / (truths + said > 0).sum(axis=1)  # type: ignore[no-any-return]

    return value


_MULTICLASS: dict[str, Callable[[npt.NDArray[np.int64], Floats], Weighted]] = {
    "log_loss": _class_log_loss,
    "accuracy": lambda code, scores: _mean_of((scores.argmax(axis=1) == code).astype(np.float64)),
    "balanced_accuracy": _class_balanced_accuracy,
    "f1_macro": _class_f1,
    "ece": lambda code, scores: _ece(scores.argmax(axis=1) == code, scores.max(axis=1)),
}


def _r2(truth: Floats, scores: Floats) -> Weighted:
    def value(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        mean = weights @ truth / total
        spread = weights @ truth**2 / total - mean**2
        with np.errstate(invalid="ignore", divide="ignore"):
            return 1 - (weights @ (truth - scores) ** 2 / total) / spread  # type: ignore[no-any-return]

    return value


def _rmse(truth: Floats, scores: Floats) -> Weighted:
    mean = _mean_of((truth - scores) ** 2)
    return lambda weights: np.sqrt(mean(weights))


_REGRESSION: dict[str, Callable[[Floats, Floats], Weighted]] = {
    "rmse": _rmse,
    "mae": lambda truth, scores: _mean_of(np.abs(truth - scores)),
    "r2": _r2,
    "mape": lambda truth, scores: _mean_of(np.abs(truth - scores) / np.maximum(np.abs(truth), _TINY)),
}
