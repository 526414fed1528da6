"""Answering recorded rows again with the version that answered them: the same features must give the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.data.records import FEATURE
from include.ratchet.features.definition import define
from include.ratchet.registry.lineage import read_kernels
from include.ratchet.registry.versions import Version, get_version, load_estimator
from include.ratchet.settings import Settings
from include.ratchet.spec import WHOLE, Model, ModelKey
from include.ratchet.training.fit import predict, score_of, steady
from include.ratchet.training.frames import features_frame

Floats = npt.NDArray[np.float64]
SHOWN = 20
"""Differences that a report has; it counts all."""


@dataclass(frozen=True)
class ScoreDifference:
    """A row whose answer is not the recorded one."""

    request_id: str
    row: int
    recorded: float
    again: float


@dataclass(frozen=True)
class AnswerCheck:
    """What a version says again of the rows that it answered.

    Attributes:
        version: number.
        segment: whose version it is.
        rows: that were answered again.
        identical: of them, how many scores are the same to the bit.
        alone: of the identical ones, those that are so only if the row is predicted alone and not in one batch with
            the others: the estimator's last bits depend on what else is in a batch, and a service batches what comes.
        largest_difference: between a recorded score and the new one.
        differences: the first ones.
        kernels: other ones than are here that answers were computed with which differ; they round otherwise.
    """

    version: int
    segment: str
    rows: int
    identical: int
    alone: int
    largest_difference: float
    differences: tuple[ScoreDifference, ...]
    kernels: tuple[str, ...] = ()

    @property
    def is_identical(self) -> bool:
        """Whether all are."""
        return self.identical == self.rows

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "is_identical": self.is_identical}


class Answerer:
    """One version of a model, or of one of its segments, loaded once.

    Args:
        settings: where the registry is.
        model: whose version.
        number: of the version.
        segment: whose version.

    Raises:
        VersionNotFoundError: there is no such version.
    """

    def __init__(self, settings: Settings, model: Model, number: int, segment: str = WHOLE) -> None:
        self.version: Version = get_version(ModelKey(model.name, segment), number, settings)
        self.estimator = load_estimator(model, self.version, settings)
        self.model = model

    def predict(self, features: pa.Table, classes: npt.NDArray[Any] | None = None) -> Floats:
        """Scores of feature rows, as `training.fit.predict` gives them."""
        frame = features_frame(features, self.version.lineage.features)
        with steady(self.model):
            return predict(self.estimator, frame, self.model.spec.task, classes)

    def score(self, features: pa.Table) -> Floats:
        """(n_rows,): what a record says: probability of the positive class, or of the likeliest one, or the value."""
        return score_of(self.predict(features))

    def score_each(self, features: pa.Table) -> Floats:
        """The same, every row predicted by itself."""
        return np.array([self.score(features.slice(index, 1))[0] for index in range(features.num_rows)])


def recorded_features(model: Model, rows: pa.Table, wanted: Sequence[str]) -> pa.Table:
    """The feature rows of records; a feature that no record has is null."""
    given = define(model).features
    columns = {}
    for name in wanted:
        column = rows[f"{FEATURE}{name}"] if f"{FEATURE}{name}" in rows.column_names else pa.nulls(rows.num_rows)
        if pa.types.is_null(column.type):
            # Without any value a column has no type; estimators ask for one.
            column = column.cast(given[name].to_pyarrow() if name in given else pa.float64())
        columns[name] = column
    return pa.table(columns)


def same_bits(one: Floats, other: Floats) -> npt.NDArray[np.bool_]:
    """(n_rows,): whether two scores are the same to the bit; one NaN is like another."""
    return np.asarray((one.view(np.int64) == other.view(np.int64)) | (np.isnan(one) & np.isnan(other)))


def check_answers(settings: Settings, model: Model, rows: pa.Table) -> tuple[AnswerCheck, ...]:
    """Answer records again from their recorded features, each by its own version.

    Args:
        settings: where the registry is.
        model: that answered.
        rows: records with a score, (n_rows,).

    Returns:
        One check for each version.

    Raises:
        VersionNotFoundError: a recorded version is not in the registry.
    """
    return tuple(
        _check(Answerer(settings, model, number, segment), rows.take(pa.array(places)))
        for (segment, number), places in answered_by(rows).items()
    )


def answered_by(rows: pa.Table) -> dict[tuple[str, int], npt.NDArray[np.int64]]:
    """The places of the records that each version of each segment has answered, in the order of their names."""
    found: dict[tuple[str, int], list[int]] = {}
    segments, versions = (rows[name].to_pylist() for name in ("segment", "version"))
    for place, (segment, number) in enumerate(zip(segments, versions, strict=True)):
        found.setdefault((segment or WHOLE, number), []).append(place)
    return {name: np.array(places) for name, places in sorted(found.items())}


def _check(answerer: Answerer, rows: pa.Table) -> AnswerCheck:
    recorded = rows["score"].to_numpy()
    features = recorded_features(answerer.model, rows, answerer.version.lineage.features)
    again = np.ascontiguousarray(answerer.score(features))
    identical = same_bits(recorded, again)
    doubtful = np.flatnonzero(~identical)
    alone = 0
    if len(doubtful):
        each = answerer.score_each(features.take(pa.array(doubtful)))
        is_same = same_bits(recorded[doubtful], each)
        alone = int(is_same.sum())
        identical[doubtful] = is_same
    other = np.flatnonzero(~identical)
    return AnswerCheck(
        version=answerer.version.number,
        segment=answerer.version.key.segment,
        rows=rows.num_rows,
        identical=int(identical.sum()),
        alone=alone,
        largest_difference=float(np.max(np.abs(recorded[other] - again[other]), initial=0.0)),
        differences=tuple(
            ScoreDifference(rows["request_id"][i].as_py(), rows["row"][i].as_py(), float(recorded[i]), float(again[i]))
            for i in other[:SHOWN].tolist()
        ),
        kernels=tuple(sorted({*rows["kernels"].take(pa.array(other)).to_pylist()} - {None, read_kernels()})),
    )
