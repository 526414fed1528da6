"""What if another version had answered: the answers that change, and both versions' metric where labels came."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.records import FEATURE
from include.ratchet.errors import RecordNotFoundError
from include.ratchet.evaluation.intervals import Bootstrap, Interval
from include.ratchet.replay.answer import SHOWN, Answerer, Floats, answered_by, recorded_features, same_bits
from include.ratchet.replay.basis import Versions
from include.ratchet.replay.payload import read_payloads
from include.ratchet.replay.recompute import recompute
from include.ratchet.rollout.labels import read_outcomes
from include.ratchet.settings import Settings
from include.ratchet.spec import WHOLE, Model
from include.ratchet.spec.training import LOWER_IS_BETTER
from include.ratchet.training.fit import score_of
from include.ratchet.training.metrics import Weighted, prepare


@dataclass(frozen=True)
class ChangedAnswer:
    """A row that the other version answers otherwise."""

    request_id: str
    row: int
    key: str
    before: float
    after: float


@dataclass(frozen=True)
class MetricChange:
    """Both versions on the rows whose label came.

    Attributes:
        metric: the decisive one.
        rows: with a label.
        before: of the recorded answers.
        after: of the other version's.
        gain: paired difference; positive: the other version is better.
    """

    metric: str
    rows: int
    before: Interval
    after: Interval
    gain: Interval


@dataclass(frozen=True)
class WhatIf:
    """Records as another version answers them.

    Attributes:
        version: number of the other one.
        segment: whose version it is.
        rows: that it answers. Shadow answers, which nobody saw, are left out.
        changed: of them, how many scores are other bits.
        largest_change: of a score.
        decided_otherwise: share of rows that pass the threshold or get another class; None of a regression.
        features: recorded, or recomputed because the version needs some that were not recorded.
        answers: the most changed ones.
        metric: None as long as no label came.
    """

    version: int
    segment: str
    rows: int
    changed: int
    largest_change: float
    decided_otherwise: float | None
    features: str
    answers: tuple[ChangedAnswer, ...]
    metric: MetricChange | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def ask_version(settings: Settings, model: Model, records: pa.Table, number: int, segment: str = WHOLE) -> WhatIf:
    """Answer records with another version: of a model divided into segments, within one of them.

    Args:
        settings: where registry and tables are.
        model: whose.
        records: with a score, (n_rows,).
        number: of the other version.
        segment: whose version it is. A further one of the pooled model answers what the pooled model did.

    Raises:
        VersionNotFoundError: there is no such version.
        RecordNotFoundError: the pooled model answered none of the records.
    """
    if segment == WHOLE and model.spec.segments is not None:
        records = _pooled(model, records)
    is_seen = pc.not_equal(records["route"], "shadow")
    seen = records.filter(pc.fill_null(is_seen, True))
    rows = seen if seen.num_rows else records
    other = Answerer(settings, model, number, segment)
    features, origin = _features(settings, model, rows, other)
    is_known, labels = read_outcomes(settings, model, rows).truths.find(rows["key"].combine_chunks())
    classes = _classes(settings, model, rows, other)
    before, after = _predict_before(settings, model, rows, classes), other.predict(features, classes)
    one, two = score_of(before), np.ascontiguousarray(score_of(after))
    is_other = ~same_bits(np.ascontiguousarray(one), two)
    gap = np.abs(two - one)
    return WhatIf(
        version=number,
        segment=segment,
        rows=rows.num_rows,
        changed=int(is_other.sum()),
        largest_change=float(np.max(gap, initial=0.0)),
        decided_otherwise=_decided_otherwise(model, before, after),
        features=origin,
        answers=tuple(_answer(rows, row, one, two) for row in np.argsort(-gap, kind="stable")[:SHOWN] if is_other[row]),
        metric=_measure(model, labels, before[is_known], after[is_known], classes),
    )


def _pooled(model: Model, records: pa.Table) -> pa.Table:
    """The records that the pooled model answered."""
    found = records.filter(pc.equal(records["segment"], WHOLE))
    if not found.num_rows:
        message = (
            f"{model.name}: the pooled model answered none of {records.num_rows} records; a version is compared within "
            f"one segment: name it, such as {model.name}/{records['segment'][0]}"
        )
        raise RecordNotFoundError(message)
    return found


def _features(settings: Settings, model: Model, rows: pa.Table, other: Answerer) -> tuple[pa.Table, str]:
    wanted = other.version.lineage.features
    if all(f"{FEATURE}{name}" in rows.column_names for name in wanted):
        return recorded_features(model, rows, wanted), "recorded"
    return recompute(settings, model, read_payloads(model, rows), Versions(settings, model).now()), "recomputed"


def _predict_before(settings: Settings, model: Model, rows: pa.Table, classes: npt.NDArray[Any] | None) -> Floats:
    """The recorded answers; those of a multiclass task again, as only the likeliest class is recorded."""
    recorded = rows["score"].to_numpy()
    if classes is None:
        return np.asarray(recorded)
    found = np.zeros((rows.num_rows, len(classes)))
    for (segment, number), places in answered_by(rows).items():
        answerer = Answerer(settings, model, number, segment)
        features = recorded_features(model, rows.take(pa.array(places)), answerer.version.lineage.features)
        found[places] = answerer.predict(features, classes)
    return found


def _classes(settings: Settings, model: Model, rows: pa.Table, other: Answerer) -> npt.NDArray[Any] | None:
    """Every class that a version knows, sorted; None of other tasks."""
    if model.spec.task != "multiclass":
        return None
    before = [Answerer(settings, model, number, segment) for segment, number in answered_by(rows)]
    return np.unique(np.concatenate([one.estimator.classes_ for one in (other, *before)]))


def _decided_otherwise(model: Model, before: Floats, after: Floats) -> float | None:
    if model.spec.task == "regression":
        return None
    if before.ndim == 2:
        return float(np.mean(before.argmax(axis=1) != after.argmax(axis=1)))
    threshold = model.spec.evaluation.threshold
    return float(np.mean((before >= threshold) != (after >= threshold)))


def _answer(rows: pa.Table, row: int, one: Floats, two: Floats) -> ChangedAnswer:
    request_id, place, key = (rows[name][int(row)].as_py() for name in ("request_id", "row", "key"))
    return ChangedAnswer(request_id, place, key, float(one[row]), float(two[row]))


def _measure(
    model: Model, label: npt.NDArray[Any], before: Floats, after: Floats, classes: npt.NDArray[Any] | None
) -> MetricChange | None:
    if not len(label):
        return None
    spec, evaluation = model.spec, model.spec.evaluation
    if classes is not None:
        names = {name: place for place, name in enumerate(dict.fromkeys([*map(str, classes), *label]))}
        label = np.array([names[one] for one in label])
        # To a class that no version knows, none gave a chance.
        before, after = (np.pad(scores, ((0, 0), (0, len(names) - len(classes)))) for scores in (before, after))

    def measured(scores: Floats) -> Weighted:
        return prepare(spec.metric, label, scores, threshold=evaluation.threshold)

    bootstrap = Bootstrap(len(label), evaluation.resamples, evaluation.confidence, spec.training.seed)
    sign = -1.0 if spec.metric in LOWER_IS_BETTER else 1.0
    # A resample of very few rows may be empty, or have one class only; it is left out of the interval.
    with np.errstate(all="ignore"):
        later, earlier, gain = bootstrap.compare(measured(after), measured(before), sign)
    return MetricChange(metric=spec.metric, rows=len(label), before=earlier, after=later, gain=gain)
