"""What acting on a model's answers does, off its request records and the labels that have come."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.records import RecordTable
from include.ratchet.dependencies.feedback import Feedback, Observed, estimate_feedback
from include.ratchet.rollout.labels import read_outcomes, said_probabilities
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey

_LATELY = timedelta(days=365)
"""Records older than this say little of what acting does now."""


def read_feedback(settings: Settings, model: Model, key: ModelKey, as_of: datetime) -> Feedback | None:
    """What acting on answers did, by the request records of the last year; None where too few were held out.

    Args:
        settings: where records and labels are.
        model: whose.
        key: of the whole or pooled model, or of a segment.
        as_of: labels that became available then or later are not seen.
    """
    columns = ["request_id", "row", "segment", "key", "event_time", "received_at", "route", "score", "output",
               "holdout"]  # fmt: skip
    rows = RecordTable(settings, model, "requests").between(as_of - _LATELY, as_of, columns)
    is_own = pc.and_kleene(pc.equal(rows["segment"], key.segment), pc.is_valid(rows["holdout"]))
    rows = rows.filter(pc.and_kleene(is_own, pc.and_kleene(pc.is_finite(rows["score"]), pc.is_valid(rows["key"]))))
    rows = rows.filter(pc.not_equal(rows["route"], "shadow")).sort_by([("received_at", "ascending")])
    # The first time that a key was asked for; held out once, it is so always.
    first = np.sort(np.unique(rows["key"].to_numpy(zero_copy_only=False).astype(str), return_index=True)[1])
    rows = rows.take(pa.array(first))
    outcomes = read_outcomes(settings, model, rows, as_of)
    is_known, label = outcomes.truths.find(rows["key"].combine_chunks())
    rows = rows.filter(pa.array(is_known, pa.bool_()))
    scores: Any = rows["score"].to_numpy()
    if model.spec.task == "multiclass":
        rows, label, scores = _read_classes(rows, label)
    is_held = pc.equal(rows["route"], "holdout").to_numpy()
    return estimate_feedback(model.spec, Observed(label, scores, is_held, rows["holdout"].to_numpy()))


def _read_classes(rows: pa.Table, label: Any) -> tuple[pa.Table, Any, Any]:
    """Rows of which each class's probability was recorded, with labels as places among the classes."""
    said = said_probabilities(rows["output"].to_pylist())
    classes = sorted({name for one in said for name in one})
    is_said = np.array([bool(one) and value in classes for one, value in zip(said, label, strict=True)], bool)
    kept = [one for one, keep in zip(said, is_said, strict=True) if keep]
    scores = np.array([[one.get(name, 0.0) for name in classes] for one in kept]).reshape(len(kept), len(classes))
    codes = np.array([classes.index(value) for value in label[is_said]], np.int64)
    return rows.filter(pa.array(is_said)), codes, scores
