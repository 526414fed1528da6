"""One model key's predictions: features, routes, scores and records of the requests that have gathered."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.errors import NotDeployedError, OverloadError
from include.ratchet.features import OnlineScorer
from include.ratchet.rollout.routes import Choice, Route
from include.ratchet.serving.fitted import Fitted
from include.ratchet.serving.outputs import Scored, score_rows
from include.ratchet.serving.payload import RowReader
from include.ratchet.serving.recording import Masker, record_rows
from include.ratchet.serving.requests import Answer, Request
from include.ratchet.spec import Model, ModelKey, ModelSpec


@dataclass(frozen=True)
class Deployment:
    """What answers now. Replaced as a whole, so that a batch sees one state only.

    Attributes:
        route: how rows are divided.
        fitted: by version.
        scorer: of the features.
        revision: of the histories behind it.
    """

    route: Route
    fitted: Mapping[int, Fitted]
    scorer: OnlineScorer = field(repr=False)
    revision: int

    @property
    def size_mb(self) -> float:
        """Memory that it takes, roughly."""
        held: int = sum(table.nbytes for table in self.scorer.histories.rows.values())
        return sum(one.size_mb for one in self.fitted.values()) + 3 * held / 1e6


@dataclass(frozen=True)
class ShadowTask:
    """Rows that a further version predicts off the response path, with their records but for the score."""

    fitted: Fitted
    features: pa.Table
    records: pa.Table
    spec: ModelSpec


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: its records, each request's answer, and what is left to do in the shadow."""

    spec: ModelSpec

    records: pa.Table
    answers: Sequence[tuple[Request, Answer]]
    shadows: Sequence[ShadowTask]
    rows_by_route: Mapping[tuple[int, str], int]


class Predictor:
    """Predicts for one model key. One batch at a time; a deployment may be put in place of another at any moment."""

    def __init__(self, model: Model, key: ModelKey, deployment: Deployment, masker: Masker) -> None:
        self.model, self.key = model, key
        self.reader = RowReader(model)
        self.deployment = deployment
        self.used_at = time.monotonic()
        self._masker = masker
        self._busy = threading.Lock()
        self._is_closed = False

    def deploy(self, deployment: Deployment) -> None:
        """Answer by another deployment from the next batch on; the old one's features are let go when idle."""
        before, self.deployment = self.deployment, deployment
        if before.scorer is not deployment.scorer:
            with self._busy:
                before.scorer.close()

    def close(self) -> None:
        """Let go of everything, after the batch that is being predicted."""
        with self._busy:
            self._is_closed = True
            self.deployment.scorer.close()

    def predict(self, requests: Sequence[Request]) -> Outcome:
        """Answer some requests together.

        Raises:
            NotDeployedError: the model was let go meanwhile; load it again.
            RatchetError: the features cannot be computed.
        """
        with self._busy:
            if self._is_closed:
                message = f"{self.key} was let go to make room"
                raise NotDeployedError(message)
            return self._predict(self.deployment, requests)

    def _predict(self, deployment: Deployment, requests: Sequence[Request]) -> Outcome:
        self.used_at = time.monotonic()
        features = deployment.scorer.score(self.reader.to_table(request.read for request in requests))
        choices = [
            deployment.route.choose(key) if request.version is None else Choice(request.version, "pinned")
            for request in requests
            for key in request.keys
        ]
        absent = {choice.version for choice in choices} - deployment.fitted.keys()
        if absent:
            message = f"version {min(absent)} of {self.key} was let go meanwhile; try again"
            raise OverloadError(message)
        scored = score_rows(self.model.spec, deployment.fitted, deployment.route, choices, features)
        answered_at = datetime.now(UTC)
        outputs = [one if choice.route != "defer" else {"answer": "defer"}
                   for one, choice in zip(scored.outputs, choices, strict=True)]  # fmt: skip
        is_stale = self._find_stale(deployment, features)
        records = record_rows(
            self.model.spec,
            self.key,
            requests,
            deployment,
            scored,
            outputs,
            is_stale,
            features,
            answered_at,
            self._masker,
        )
        return Outcome(
            self.model.spec, records, list(self._answer(requests, outputs, scored, is_stale, deployment)),
            self._shadow(deployment, choices, features, records), scored.counts,
        )  # fmt: skip

    def _find_stale(self, deployment: Deployment, features: pa.Table) -> npt.NDArray[np.bool_]:
        limit = deployment.scorer.histories.known_until + self.model.spec.serving.online.max_age
        times = features["_prediction_time"]
        return np.asarray(pc.greater(times, pa.scalar(limit, times.type)).to_numpy())

    def _answer(
        self, requests: Sequence[Request], outputs: Sequence[dict[str, Any]], scored: Scored,
        is_stale: npt.NDArray[np.bool_], deployment: Deployment,
    ) -> Any:  # fmt: skip
        known_until = deployment.scorer.histories.known_until.isoformat()
        start = 0
        for request in requests:
            predictions = [
                {"row": row, **outputs[start + row], "version": scored.versions[start + row],
                 "route": scored.routes[start + row], "is_stale": bool(is_stale[start + row])}
                for row in range(request.count)
            ]  # fmt: skip
            start += request.count
            yield request, Answer({
                "request_id": request.id, "model": self.key.model, "known_until": known_until,
                "predictions": predictions,
            })  # fmt: skip

    def _shadow(
        self, deployment: Deployment, choices: Sequence[Choice], features: pa.Table, records: pa.Table
    ) -> list[ShadowTask]:
        found: dict[int, list[int]] = {}
        for row, choice in enumerate(choices):
            if choice.shadow is not None and choice.shadow in deployment.fitted:
                found.setdefault(choice.shadow, []).append(row)
        return [
            ShadowTask(
                deployment.fitted[version], features.take(pa.array(rows)), records.take(pa.array(rows)),
                self.model.spec,
            )
            for version, rows in found.items()
        ]  # fmt: skip
