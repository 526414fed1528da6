"""Whether a candidate treats the groups of a sensitive attribute alike, by fairlearn's definitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.spec import ModelSpec
from include.ratchet.training.metrics import Floats

MISSING = "missing"


@dataclass(frozen=True)
class FairnessResult:
    """One sensitive attribute.

    Attributes:
        column: the attribute.
        equalized_odds: largest difference of true or false positive rates between groups (binary);
            of mean absolute errors relative to the overall one (regression); of accuracies (multiclass).
        demographic_parity: largest difference of positive rates (binary); 0 elsewhere.
        groups: by group: rows, and the rates behind the two.
    """

    column: str
    equalized_odds: float
    demographic_parity: float
    groups: dict[str, dict[str, float]]


def measure_fairness(
    spec: ModelSpec, table: pa.Table, label: npt.NDArray[Any], scores: Floats
) -> tuple[FairnessResult, ...]:
    """Every sensitive attribute of the spec, over groups with enough rows."""
    return tuple(_measure(spec, column, table, label, scores) for column in spec.evaluation.sensitive)


def _measure(spec: ModelSpec, column: str, table: pa.Table, label: npt.NDArray[Any], scores: Floats) -> FairnessResult:
    from fairlearn.metrics import MetricFrame, count, false_positive_rate, selection_rate, true_positive_rate

    values = np.array([MISSING if value is None else str(value) for value in table.column(column).to_pylist()])
    levels, counts = np.unique(values, return_counts=True)
    enough = np.isin(values, levels[counts >= spec.evaluation.min_slice_rows])
    if not enough.any():
        return FairnessResult(column, 0.0, 0.0, {})
    if spec.task == "binary":
        said = (scores >= spec.evaluation.threshold).astype(int)
        rates: dict[str, Any] = {
            "rows": count, "true_positive_rate": true_positive_rate,
            "false_positive_rate": false_positive_rate, "positive_rate": selection_rate,
        }  # fmt: skip
        odds: tuple[str, ...] = ("true_positive_rate", "false_positive_rate")
        parity: str | None = "positive_rate"
    else:
        said = scores.argmax(axis=1) if scores.ndim == 2 else scores
        loss = _accuracy if scores.ndim == 2 else _relative_error(label, scores)
        rates, odds, parity = {"rows": count, "rate": loss}, ("rate",), None
    frame = MetricFrame(metrics=rates, y_true=label[enough], y_pred=said[enough], sensitive_features=values[enough])
    gaps = frame.difference(method="between_groups")
    groups = {
        str(group): {k: float(v) for k, v in row.items()} for group, row in frame.by_group.to_dict("index").items()
    }
    return FairnessResult(
        column, float(max(gaps[rate] for rate in odds)), float(gaps[parity]) if parity else 0.0, groups
    )


def _accuracy(truth: npt.NDArray[Any], said: npt.NDArray[Any]) -> float:
    return float((truth == said).mean())


def _relative_error(label: npt.NDArray[Any], scores: Floats) -> Any:
    overall = float(np.abs(label - scores).mean()) or 1.0
    return lambda truth, said: float(np.abs(truth - said).mean()) / overall
