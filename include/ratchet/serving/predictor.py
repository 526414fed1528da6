"""One model's predictions: features, routes, scores and records of the requests that have gathered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.errors import NotDeployedError
from include.ratchet.features import OnlineScorer
from include.ratchet.rollout.routes import Choice
from include.ratchet.serving.fitted import Deployment, Fitted
from include.ratchet.serving.outputs import WITHHELD, Scored, answer_rows, record_outputs, score_rows
from include.ratchet.serving.payload import RowReader
from include.ratchet.serving.recording import Masker, record_rows
from include.ratchet.serving.requests import Answer, Basis, Request
from include.ratchet.spec import WHOLE, Model, ModelKey, ModelSpec


@dataclass(frozen=True)
class Online:
    """What computes features now, for all segments of a model.

    Attributes:
        scorer: of the features.
        revision: of the histories behind it.
    """

    scorer: OnlineScorer = field(repr=False)
    revision: int

    @property
    def size_mb(self) -> float:
        """Memory that it takes, roughly."""
        held: int = sum(table.nbytes for table in self.scorer.histories.rows.values())
        return 3 * held / 1e6


@dataclass(frozen=True)
class ShadowTask:
    """Rows that a further version predicts off the response path, with their records but for the score."""

    fitted: Fitted
    features: pa.Table
    records: pa.Table
    spec: ModelSpec


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: its records, each request's answer, what is left to do in the shadow, and counts."""

    spec: ModelSpec

    records: pa.Table
    answers: Sequence[tuple[Request, Answer]]
    shadows: Sequence[ShadowTask]
    rows_by_route: Mapping[tuple[str, str], int]
    pooled_rows: int


class Predictor:
    """Predicts for one model and all of its segments. What answers may be replaced at any moment.

    Features are computed for one batch at a time; estimators may be asked by several threads at once.

    Args:
        model: whose rows.
        online: of its features.
        masker: of what is recorded.
    """

    def __init__(self, model: Model, online: Online, masker: Masker) -> None:
        self.model, self.key = model, ModelKey(model.name)
        self.reader = RowReader(model)
        self.online = online
        self.used_at = time.monotonic()
        self._deployed: dict[str, Deployment] = {}
        self._used: dict[str, float] = {}
        self._masker = masker
        self._busy = threading.Lock()
        self._is_closed = False

    @property
    def size_mb(self) -> float:
        """Memory that it takes, roughly."""
        return self.online.size_mb + sum(one.size_mb for one in list(self._deployed.values()))

    @property
    def deployment(self) -> Deployment | None:
        """What answers for the whole model, or for the segments that have none of their own, if it is loaded."""
        return self._deployed.get(WHOLE)

    @property
    def loaded(self) -> int:
        """How many of its segments are loaded, the whole model among them."""
        return len(self._deployed)

    def find(self, segment: str) -> Deployment | None:
        """What answers for a segment, if it is loaded; it counts as used now."""
        found = self._deployed.get(segment)
        if found is not None:
            self.used_at = self._used[segment] = time.monotonic()
        return found

    def deployments(self) -> list[tuple[float, Deployment]]:
        """Everything that is loaded, with the time of its last use in monotonic seconds."""
        return [(self._used.get(segment, 0.0), one) for segment, one in list(self._deployed.items())]

    def deploy(self, deployment: Deployment) -> None:
        """Answer a key's rows by another deployment from the next batch on."""
        self._used.setdefault(deployment.key.segment, time.monotonic())
        self._deployed[deployment.key.segment] = deployment

    def let_go(self, segment: str) -> bool:
        """Hold a segment no longer; whether it was held."""
        self._used.pop(segment, None)
        return self._deployed.pop(segment, None) is not None

    def bring_online(self, online: Online) -> None:
        """Compute features by other histories from the next batch on; the old ones are let go when idle."""
        before, self.online = self.online, online
        with self._busy:
            before.scorer.close()

    def close(self) -> None:
        """Let go of everything, after the features that are being computed."""
        with self._busy:
            self._is_closed = True
            self.online.scorer.close()

    def predict(self, requests: Sequence[Request]) -> Outcome:
        """Answer some requests together.

        Raises:
            NotDeployedError: the model was let go meanwhile; load it again.
            RatchetError: the features cannot be computed.
        """
        spec, rows = self.model.spec, self.reader.to_table(request.read for request in requests)
        with self._busy:
            if self._is_closed:
                message = f"{self.key} was let go to make room"
                raise NotDeployedError(message)
            online = self.online
            features = online.scorer.score(rows)
        answering, choices = self._choose(requests)
        pooled_for = [segment if segment != one.key.segment else None for request in requests
                      for segment, one in zip(request.segments, request.answering, strict=True)]  # fmt: skip
        scored = score_rows(spec, answering, choices, features)
        answered_at = datetime.now(UTC)
        routes = [choice.route for choice in choices]
        outputs, recorded = answer_rows(spec, scored.outputs, routes), record_outputs(scored.outputs, routes)
        is_stale = self._find_stale(online, features)
        known_until = online.scorer.histories.known_until
        records = record_rows(
            spec, requests, answering, pooled_for, scored, recorded, is_stale, known_until, features, answered_at,
            self._masker,
        )  # fmt: skip
        predictions = self._predictions(answering, pooled_for, scored, outputs, is_stale)
        basis = None
        if any(request.wants_basis for request in requests):
            basis = Basis(features, [
                None if route in WITHHELD else (one.key, one.fitted[version])
                for one, version, route in zip(answering, scored.versions, scored.routes, strict=True)
            ])  # fmt: skip
        return Outcome(
            spec, records, list(self._answer(requests, predictions, known_until, basis)),
            self._shadow(answering, choices, features, records), scored.counts,
            sum(one is not None for one in pooled_for),
        )  # fmt: skip

    def _choose(self, requests: Sequence[Request]) -> tuple[list[Deployment], list[Choice]]:
        """What answers each row: of the same key the newest, unless it was let go while the request waited."""
        deployed, answering, choices = dict(self._deployed), [], []
        for request in requests:
            for key, held in zip(request.keys, request.answering, strict=True):
                one = deployed.get(held.key.segment, held)
                if request.version is None:
                    choices.append(one.route.choose(key, self.model.spec.serving.holdout))
                else:
                    one = one if request.version in one.fitted else held
                    choices.append(Choice(request.version, "pinned"))
                answering.append(one)
        return answering, choices

    def _find_stale(self, online: Online, features: pa.Table) -> npt.NDArray[np.bool_]:
        histories, times = online.scorer.histories, features["_prediction_time"]
        if not histories.rows:
            return np.zeros(len(times), dtype=bool)
        limit = histories.known_until + self.model.spec.serving.online.max_age
        return np.asarray(pc.greater(times, pa.scalar(limit, times.type)).to_numpy())

    def _predictions(
        self, answering: Sequence[Deployment], pooled_for: Sequence[str | None], scored: Scored,
        outputs: Sequence[dict[str, Any]], is_stale: npt.NDArray[np.bool_],
    ) -> list[dict[str, Any]]:  # fmt: skip
        """By row of the batch, what is answered; of a model with segments also whose model it was."""
        found: list[dict[str, Any]] = [
            {**output, "version": version, "route": route, "is_stale": is_old}
            for output, version, route, is_old in zip(
                outputs, scored.versions, scored.routes, is_stale.tolist(), strict=True
            )
        ]
        if self.model.spec.segments is not None:
            for prediction, one, own in zip(found, answering, pooled_for, strict=True):
                prediction["segment"] = one.key.segment
                if own is not None:
                    prediction["pooled_for"] = own
        return found

    def _answer(
        self, requests: Sequence[Request], predictions: Sequence[dict[str, Any]], known_until: datetime,
        basis: Basis | None,
    ) -> Iterator[tuple[Request, Answer]]:  # fmt: skip
        start = 0
        for request in requests:
            own = slice(start, start + request.count)
            start += request.count
            content = {
                "request_id": request.id, "model": self.key.model, "known_until": known_until.isoformat(),
                "predictions": [{"row": row, **one} for row, one in enumerate(predictions[own])],
            }  # fmt: skip
            yield request, Answer(content, basis=basis.choose(own) if basis and request.wants_basis else None)

    def _shadow(
        self, answering: Sequence[Deployment], choices: Sequence[Choice], features: pa.Table, records: pa.Table
    ) -> list[ShadowTask]:
        found: dict[tuple[str, int], list[int]] = {}
        for row, (one, choice) in enumerate(zip(answering, choices, strict=True)):
            if choice.shadow is not None and choice.shadow in one.fitted:
                found.setdefault((one.key.segment, choice.shadow), []).append(row)
        return [
            ShadowTask(
                answering[rows[0]].fitted[version], features.take(pa.array(rows)), records.take(pa.array(rows)),
                self.model.spec,
            )
            for (_, version), rows in found.items()
        ]  # fmt: skip
