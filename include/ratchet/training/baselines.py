"""What a candidate must beat: a dummy that knows no features, and the rates of some groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.spec import ModelSpec
from include.ratchet.training.frames import label_array
from include.ratchet.training.split import Split

SHRINKAGE = 20
"""A group's rate counts as many rows of the overall rate, so that small groups do not shout."""


def baseline_scores(table: pa.Table, spec: ModelSpec, split: Split) -> dict[str, npt.NDArray[np.float64]]:
    """Scores of every baseline on the test rows, learnt from train and validation.

    Returns:
        By name, (n_test,) or, of a multiclass task, (n_test, n_classes).
    """
    label = label_array(table, spec)
    if spec.task == "multiclass":
        return {"dummy": _class_shares(label, split)}
    known = label[split.development].astype(np.float64)
    scores = {"dummy": np.full(len(split.test), known.mean())}
    for baseline in spec.training.baselines:
        name = "rate by " + " and ".join(baseline.rate)
        scores[name] = _group_rates(table, baseline.rate, known, split)
    return scores


def _class_shares(label: npt.NDArray[Any], split: Split) -> npt.NDArray[np.float64]:
    shares = np.array([(label[split.development] == value).mean() for value in np.unique(label)])
    return np.tile(shares, (len(split.test), 1))


def _group_rates(
    table: pa.Table, columns: Sequence[str], known: npt.NDArray[np.float64], split: Split
) -> npt.NDArray[np.float64]:
    keys = table.select(columns).to_pandas()
    group = keys.groupby(list(columns), dropna=False, sort=False).ngroup().to_numpy()
    learnt, size = group[split.development], int(group.max()) + 1
    count = np.bincount(learnt, minlength=size)
    total = np.bincount(learnt, weights=known, minlength=size)
    rate = (total + SHRINKAGE * known.mean()) / (count + SHRINKAGE)
    scores: npt.NDArray[np.float64] = rate[group[split.test]]
    return scores
