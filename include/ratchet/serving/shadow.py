"""What a further version would have said: predicted off the response path, recorded, and told nobody."""

from __future__ import annotations

import queue
import time
from contextlib import suppress

from include.ratchet.errors import RatchetError
from include.ratchet.serving.log import Batch, RecordLog
from include.ratchet.serving.metrics import Metrics
from include.ratchet.serving.outputs import render
from include.ratchet.serving.predictor import ShadowTask
from include.ratchet.serving.recording import score_shadow
from include.ratchet.training.fit import score_of

_SHADOW_ROWS = 5000
"""That may wait; more are dropped and counted, as a slow challenger must cost nothing."""


class Shadows:
    """Rows that wait for a version that nobody waits for.

    Args:
        log: where they are recorded.
        metrics: where dropped ones are counted.
    """

    def __init__(self, log: RecordLog, metrics: Metrics) -> None:
        self._log, self._metrics = log, metrics
        self._tasks: queue.Queue[ShadowTask | None] = queue.Queue()
        self._rows = 0

    def add(self, task: ShadowTask) -> None:
        """Queue rows, unless too many wait already."""
        rows = task.records.num_rows
        if self._rows + rows > _SHADOW_ROWS:
            self._metrics.dropped.labels(task.spec.name).inc(rows)
            return
        self._rows += rows
        self._tasks.put(task)

    def run(self) -> None:
        """Predict what comes until it is closed."""
        while (task := self._tasks.get()) is not None:
            with suppress(RatchetError):
                self._predict(task)
            self._rows -= task.records.num_rows

    def close(self) -> None:
        """End with what waits."""
        self._tasks.put(None)

    def _predict(self, task: ShadowTask) -> None:
        started, error, scores, outputs = time.monotonic(), None, None, []
        try:
            found = task.fitted.predict(task.features, task.spec.task)
            scores = score_of(found)
            outputs = [render(task.spec, task.fitted, values) for values in found]
        except Exception as failure:  # recorded, and nobody's loss
            error = f"{type(failure).__name__}: {failure}"
        latency_ms = (time.monotonic() - started) * 1000
        rows = score_shadow(
            task.records, task.fitted.number, task.fitted.deployed_at, scores, outputs, error, latency_ms
        )
        self._log.submit(Batch(task.spec.name, "requests", rows)).result()
