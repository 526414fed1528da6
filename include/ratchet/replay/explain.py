"""Explaining recorded answers: each by the version that gave it, from its recorded features."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from include.ratchet.errors import VersionNotFoundError
from include.ratchet.registry.explained import open_explainer
from include.ratchet.replay.answer import Answerer, answered_by, recorded_features
from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from include.ratchet.training.fit import steady
from include.ratchet.training.frames import features_frame


@dataclass(frozen=True)
class ExplainedAnswer:
    """A recorded answer and what each column contributed to it.

    Attributes:
        request_id: of the request.
        row: of it.
        version: that answered.
        segment: whose version it is.
        score: as recorded.
        features: as recorded.
        explanation: see `Attribution.to_rows`; None if there is none.
        problem: why there is none.
    """

    request_id: str
    row: int
    version: int
    segment: str
    score: float
    features: dict[str, Any]
    explanation: dict[str, Any] | None
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def explain_answers(settings: Settings, model: Model, rows: pa.Table) -> tuple[ExplainedAnswer, ...]:
    """Explain records with a score, (n_rows,), in the order of their versions.

    Raises:
        VersionNotFoundError: a recorded version is not in the registry.
    """
    found: list[ExplainedAnswer] = []
    for (segment, number), places in answered_by(rows).items():
        part = rows.take(pa.array(places))
        answerer = Answerer(settings, model, number, segment)
        features = recorded_features(model, part, answerer.version.lineage.features)
        told: list[dict[str, Any] | None] = [None] * part.num_rows
        problem = ""
        try:
            explainer = open_explainer(model, answerer.version, settings, answerer.estimator)
            with steady(model):
                told = [*explainer.explain(features_frame(features, answerer.version.lineage.features)).to_rows()]
        except VersionNotFoundError as error:
            problem = str(error)
        found += [
            ExplainedAnswer(one["request_id"], one["row"], number, segment, one["score"], values, explanation, problem)
            for one, values, explanation in zip(
                part.select(["request_id", "row", "score"]).to_pylist(), features.to_pylist(), told, strict=True
            )
        ]
    return tuple(found)
