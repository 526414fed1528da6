"""The prediction service without its protocols: admission, batches, recording, shadow, and what runs beside them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import orjson

from include.ratchet.errors import NotDeployedError, OverloadError
from include.ratchet.serving.batching import Batcher
from include.ratchet.serving.config import ServingConfig
from include.ratchet.serving.deployments import Deployments, Report
from include.ratchet.serving.explaining import Explaining
from include.ratchet.serving.feedback import Feedback, feedback_table
from include.ratchet.serving.fitted import Deployment
from include.ratchet.serving.log import Batch, RecordLog
from include.ratchet.serving.metrics import Metrics
from include.ratchet.serving.predictor import Outcome, Predictor
from include.ratchet.serving.requests import Answer, Request
from include.ratchet.serving.shadow import Shadows
from include.ratchet.serving.shipping import Shipper, ship
from include.ratchet.settings import Settings
from include.ratchet.spec import WHOLE, ModelKey, find_models

_log = logging.getLogger(__name__)
_BATCH_ROWS = 256
_WORKERS = 2
_LOADERS = 4
"""Segments that are loaded at once; a registry that hangs keeps as many waiting, and nobody who is loaded."""


class Service:
    """Answers predictions, and records each before it is answered.

    Args:
        settings: where registry, database, histories and tables are.
        config: this service's limits.
        secret: of masks.
        report: hears of versions that cannot serve.
    """

    def __init__(self, settings: Settings, config: ServingConfig, secret: str, report: Report) -> None:
        self.settings, self.config = settings, config
        self.metrics = Metrics()
        self.log = RecordLog(config.log_dir)
        self.deployments = Deployments(settings, config.memory_mb, secret, report)
        self.explaining = Explaining(settings, _use_one_thread)
        self._pool = ThreadPoolExecutor(_WORKERS, "predict", initializer=_use_one_thread)
        self._loaders = ThreadPoolExecutor(_LOADERS, "load", initializer=_use_one_thread)
        self._loads: dict[ModelKey, asyncio.Future[Deployment]] = {}
        self._batchers: dict[ModelKey, Batcher] = {}
        self._shadows = Shadows(self.log, self.metrics)
        self._waiting_rows = 0
        self._in_flight: dict[tuple[str, str], Future[Answer]] = {}
        self._shipper = Shipper(self.log, settings)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(self._watch, config.poll_s), name="watch", daemon=True),
            threading.Thread(target=self._repeat, args=(self._shipper.ship, config.ship_s), name="ship", daemon=True),
            threading.Thread(target=self._run_shadows, name="shadow", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    async def find(self, key: ModelKey) -> Predictor:
        """A model that can answer, by the key of the whole; loaded on first use.

        Raises:
            ModelNotFoundError: there is no such model.
            NotDeployedError: it cannot answer yet.
        """
        known = self.deployments.find(key)
        if known is not None:
            return known
        return await asyncio.get_running_loop().run_in_executor(None, self.deployments.load, key)

    async def find_deployments(
        self, predictor: Predictor, segments: Iterable[str]
    ) -> Mapping[str, Deployment | BaseException]:
        """What answers the rows of some segments, loaded on first use; where nothing can, why."""
        known = {segment: self.deployments.find_deployment(predictor, segment) for segment in dict.fromkeys(segments)}
        found: dict[str, Deployment | BaseException] = {
            segment: one for segment, one in known.items() if one is not None
        }
        absent = [segment for segment, one in known.items() if one is None]
        if absent:
            loads = [self._load(predictor, segment) for segment in absent]
            found |= zip(absent, await asyncio.gather(*loads, return_exceptions=True), strict=True)
        return found

    async def find_deployment(self, predictor: Predictor, segment: str = WHOLE) -> Deployment:
        """The same of one segment.

        Raises:
            NotDeployedError: nothing answers for it yet.
        """
        found = (await self.find_deployments(predictor, [segment]))[segment]
        if isinstance(found, BaseException):
            raise found
        return found

    async def load_pinned(self, predictor: Predictor, now: Deployment, version: int) -> Deployment:
        """Load a version that a caller asks for by its number.

        Raises:
            VersionNotFoundError: there is no such version.
        """
        if version in now.fitted:
            return now
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self.deployments.load_pinned, predictor, now, version)

    async def predict(self, predictor: Predictor, request: Request) -> Answer:
        """Answer a request, once it is recorded.

        Raises:
            OverloadError: too much waits already.
            LogUnavailableError: it cannot be recorded.
            RatchetError: it cannot be answered.
        """
        name = (predictor.key.model, request.id)
        if request.is_given:
            repeated = await self._find_repeated(name)
            if repeated is not None:
                return repeated
        rows = request.count
        if self._waiting_rows and self._waiting_rows + rows > self.config.max_queue_rows:
            self.metrics.shed.inc()
            message = f"{self._waiting_rows} rows wait, more than {self.config.max_queue_rows} are not taken; try again"
            raise OverloadError(message)
        self._waiting_rows += rows
        if request.is_given:
            self._in_flight[name] = request.done
        try:
            self._batcher(predictor.key).submit(request)
            # A caller that goes away takes neither the batch nor its record along.
            return await asyncio.shield(asyncio.wrap_future(request.done))
        finally:
            self._waiting_rows -= rows
            self._in_flight.pop(name, None)

    async def add_feedback(self, predictor: Predictor, said: Sequence[Feedback], caller: str) -> None:
        """Record what callers say of predictions.

        Raises:
            ValueError: a key does not name the model's keys.
            LogUnavailableError: it cannot be recorded.
        """
        table = feedback_table(predictor.model.spec, predictor.reader, said, datetime.now(UTC), caller)
        await asyncio.wrap_future(self.log.submit(Batch(predictor.key.model, "feedback", table)))

    def model_names(self) -> list[str]:
        """Every model that has a spec, loaded or not."""
        return [folder.name for folder in find_models(self.settings.models_dir)]

    def is_recording(self) -> bool:
        """Whether the last thing that was to be recorded was."""
        return self.log.is_writable

    def observe(self) -> None:
        """Bring the gauges up to date."""
        waiting = self.log.waiting()
        self.metrics.log_rows.set(waiting.rows)
        self.metrics.log_age.set(waiting.age_s)
        self.metrics.queue_rows.set(self._waiting_rows)
        self.metrics.memory.set(self.deployments.size_mb)
        self.metrics.deployed.clear()
        for predictor in self.deployments.all():
            whole = predictor.deployment
            for version in whole.fitted if whole else ():
                self.metrics.deployed.labels(predictor.key.model, version).set(1)
            if predictor.model.spec.segments is not None:
                self.metrics.segments.labels(predictor.key.model).set(predictor.loaded - (whole is not None))

    def close(self) -> None:
        """Answer what waits, ship what is recorded, and stop."""
        self._stopping.set()
        self._loaders.shutdown(cancel_futures=True)
        self._pool.shutdown()
        self.explaining.close()
        self._shadows.close()
        for thread in self._threads:
            thread.join(30)
        self._shipper.close()
        self.log.close()
        with suppress(Exception):  # it stays in the log, and the next service ships it
            ship(self.log, self.settings)
        self.deployments.close()

    async def _find_repeated(self, name: tuple[str, str]) -> Answer | None:
        """The answer to a request that was sent before under the same id, or is being answered."""
        running = self._in_flight.get(name)
        if running is not None:
            return Answer((await asyncio.shield(asyncio.wrap_future(running))).content, is_repeated=True)
        recorded = self.log.find_answer(*name)
        return None if recorded is None else Answer(orjson.loads(recorded), is_repeated=True)

    def _load(self, predictor: Predictor, segment: str) -> asyncio.Future[Deployment]:
        """A segment as it is loaded: by one thread, whoever waits for it."""
        key = ModelKey(predictor.key.model, segment)
        running = self._loads.get(key)
        if running is None:
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._loaders, self.deployments.load_deployment, predictor, segment)
            self._loads[key] = running
            running.add_done_callback(lambda _: self._loads.pop(key, None))
        return asyncio.shield(running)

    def _batcher(self, key: ModelKey) -> Batcher:
        if key not in self._batchers:
            self._batchers[key] = Batcher(
                lambda requests: self._answer(key, requests), self._pool, _BATCH_ROWS, _WORKERS
            )
        return self._batchers[key]

    def _answer(self, key: ModelKey, requests: Sequence[Request]) -> None:
        """Predict a batch and record it; its requests are answered when the log says so."""
        try:
            outcome = self._predict(key, requests)
        except Exception as error:
            if len(requests) > 1:
                # One of them may be what is wrong; the others are not to suffer for it.
                for request in requests:
                    self._answer(key, [request])
                return
            _log.exception("%s cannot answer request %s", key, requests[0].id)
            self.metrics.errors.labels(key.slug, type(error).__name__).inc()
            requests[0].done.set_exception(error)
            return
        given = [(one.id, orjson.dumps(answer.content)) for one, answer in outcome.answers if one.is_given]
        recorded = self.log.submit(Batch(key.model, "requests", outcome.records, given))
        recorded.add_done_callback(lambda future: self._finish(key, outcome, future))
        self.metrics.batch_rows.labels(key.slug).observe(outcome.records.num_rows)

    def _predict(self, key: ModelKey, requests: Sequence[Request]) -> Outcome:
        predictor = self.deployments.find(key) or self.deployments.load(key)
        try:
            return predictor.predict(requests)
        except NotDeployedError:
            return self.deployments.load(key).predict(requests)

    def _finish(self, key: ModelKey, outcome: Outcome, recorded: Future[None]) -> None:
        error = recorded.exception()
        if error is not None and outcome.spec.serving.records.durability == "best_effort":
            self.metrics.unrecorded.labels(key.slug).inc(outcome.records.num_rows)
            error = None
        if error is None:
            self._count(key, outcome)
        for request, answer in outcome.answers:
            if error is None:
                request.done.set_result(answer)
            else:
                request.done.set_exception(error)

    def _count(self, key: ModelKey, outcome: Outcome) -> None:
        """What is answered counts, and only that goes on in the shadow."""
        for (version, route), rows in outcome.rows_by_route.items():
            self.metrics.predictions.labels(key.slug, version, route).inc(rows)
        if outcome.pooled_rows:
            self.metrics.pooled_rows.labels(key.slug).inc(outcome.pooled_rows)
        for task in outcome.shadows:
            self._shadows.add(task)

    def _run_shadows(self) -> None:
        _use_one_thread()
        self._shadows.run()

    def _watch(self) -> None:
        self.log.probe()
        self.deployments.refresh()

    def _repeat(self, work: Callable[[], object], every_s: float) -> None:
        """Do something again and again; a failure is said once for each stretch of failures."""
        is_failing = False
        while not self._stopping.wait(every_s):
            try:
                work()
                is_failing = False
            except Exception:
                self.metrics.watch_failures.labels(work.__name__.strip("_")).inc()
                if not is_failing:
                    _log.exception("%s failed; it is tried again every %g s", work.__name__.strip("_"), every_s)
                is_failing = True


def _use_one_thread() -> None:
    """Of numeric libraries, in this thread: a row is too little for several, and several round otherwise than one."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
