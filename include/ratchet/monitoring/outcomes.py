"""What a day's answers were worth: the metric on labels that have come, and the one that the scores let expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.evaluation.business import value_landed
from include.ratchet.spec import WHOLE, Model, ModelSpec
from include.ratchet.spec.training import LOWER_IS_BETTER
from include.ratchet.training.metrics import Floats, prepare, score

POOLED_FOR = "pooled_for"
"""Column of records that names the segment for which the pooled model answered."""
MIN_CLASS_ROWS = 5
"""Of the rarest class of a day, below which its metric is left open."""


@dataclass(frozen=True)
class Calibration:
    """The frequency of the positive class at each score, rising (isotonic regression on the champion's test rows).

    Attributes:
        scores: (n_points,) ascending.
        frequencies: (n_points,).
    """

    scores: Floats
    frequencies: Floats

    def __call__(self, scores: Floats) -> Floats:
        """Probabilities of some scores, of any shape."""
        if not len(self.scores):
            return scores
        return np.interp(scores, self.scores, self.frequencies)


def calibrate(label: npt.NDArray[Any], scores: Floats) -> Calibration:
    """Learn the frequency of each score.

    Args:
        label: (n_rows,) 0 or 1; of a multiclass task, positions among the classes.
        scores: (n_rows,) or (n_rows, n_classes), of which every class is a case of its own.
    """
    from sklearn.isotonic import IsotonicRegression

    if scores.ndim == 2:
        label, scores = (label[:, None] == np.arange(scores.shape[1])).ravel(), scores.ravel()
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, label.astype(np.float64))
    return Calibration(np.asarray(fitted.X_thresholds_, np.float64), np.asarray(fitted.y_thresholds_, np.float64))


def measure(spec: ModelSpec, label: npt.NDArray[Any], scores: Floats) -> float:
    """The decisive metric of some rows; nan where they are too few to have one."""
    if len(label) < 2 * MIN_CLASS_ROWS:
        return float("nan")
    if spec.task == "binary" and min(label.sum(), len(label) - label.sum()) < MIN_CLASS_ROWS:
        return float("nan")
    return score(spec.metric, label, scores, threshold=spec.evaluation.threshold)


def expect(spec: ModelSpec, scores: Floats, calibration: Calibration) -> float:
    """The metric to expect of calibrated scores before any label has come; nan of a regression.

    Every row is taken once for each class, weighing as much as that class is likely: the expected confusion matrix of
    confidence-based performance estimation (Kivimäki et al. 2024, arXiv 2401.08348), for every metric of rows that
    weights can be given to. It holds while the frequency at a score stays what it was: inputs may change, the concept
    may not.
    """
    if spec.task == "regression" or len(scores) < 2 * MIN_CLASS_ROWS:
        return float("nan")
    likely = calibration(scores)
    if scores.ndim == 2:
        likely = likely / np.maximum(likely.sum(axis=1, keepdims=True), 1e-12)
        classes = scores.shape[1]
        label, repeated = np.tile(np.arange(classes), len(scores)), np.repeat(scores, classes, axis=0)
        weights = likely.ravel()
    else:
        label = np.r_[np.ones(len(scores), np.int8), np.zeros(len(scores), np.int8)]
        repeated, weights = np.r_[scores, scores], np.r_[likely, 1 - likely]
    measured = prepare(spec.metric, label, repeated, threshold=spec.evaluation.threshold)
    return float(measured(weights[None, :])[0])


def measure_groups(
    spec: ModelSpec, groups: Mapping[str, npt.NDArray[Any]], label: npt.NDArray[Any], scores: Floats
) -> dict[str, float]:
    """The metric on each declared slice and pooled segment, and the gap of each sensitive attribute, of enough rows.

    Args:
        spec: names slices and sensitive attributes.
        groups: by column: (n_rows,) text.
        label: (n_rows,).
        scores: (n_rows,) or (n_rows, n_classes).
    """
    found: dict[str, float] = {}
    for column, values in groups.items():
        levels, counts = np.unique(values, return_counts=True)
        large = [level for level, rows in zip(levels, counts, strict=True) if rows >= spec.evaluation.min_slice_rows]
        masks = {str(level): values == level for level in large}
        if column == POOLED_FOR:
            masks = {level: mask for level, mask in masks.items() if level not in ("", WHOLE)}
        if column in spec.evaluation.slices or column == POOLED_FOR:
            found |= {
                f"slice.{column} = {level}": measure(spec, label[mask], scores[mask]) for level, mask in masks.items()
            }
        if column in spec.evaluation.sensitive and len(masks) > 1:
            found[f"fairness.{column}"] = _gap(spec, [(label[mask], scores[mask]) for mask in masks.values()])
    return {name: value for name, value in found.items() if np.isfinite(value)}


def measure_value(
    model: Model, landed: pa.Table | None, keys: pa.Array, scores: Floats, classes: Sequence[str] = ()
) -> dict[str, float]:
    """What a prediction was worth in the mean, by the name of that number; nothing where the spec does not say.

    Args:
        model: states what a prediction is worth.
        landed: of the rows, as `read_facts` gives it.
        keys: (n_rows,) of rows with labels.
        scores: (n_rows,) or (n_rows, n_classes).
        classes: of a multiclass task.
    """
    business = model.spec.business
    if business is None or not len(keys):
        return {}
    keys = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
    values = value_landed(model, landed, keys, scores, np.array(classes) if classes else None)
    values = values[np.isfinite(values)]
    return {business.number: float(values.mean())} if len(values) >= 2 * MIN_CLASS_ROWS else {}


def is_worse(spec: ModelSpec) -> float:
    """The sign of a metric's fall: -1 where more is better, 1 where less is."""
    return 1.0 if spec.metric in LOWER_IS_BETTER else -1.0


def _gap(spec: ModelSpec, groups: list[tuple[npt.NDArray[Any], Floats]]) -> float:
    """The largest difference of rates between groups, as `evaluation.fairness` has it at promotion."""
    if spec.task == "binary":
        rates = []
        for label, scores in groups:
            said, truth = scores >= spec.evaluation.threshold, label.astype(bool)
            if not truth.any() or truth.all():
                continue
            rates.append((said[truth].mean(), said[~truth].mean()))
        return float(np.ptp(np.array(rates), axis=0).max()) if len(rates) > 1 else float("nan")
    if spec.task == "multiclass":
        return float(np.ptp([(scores.argmax(axis=1) == label).mean() for label, scores in groups]))
    errors = [np.abs(label - scores) for label, scores in groups]
    return float(np.ptp([error.mean() for error in errors]) / (np.concatenate(errors).mean() or 1.0))
