"""Which models are loaded: on first use, following routes and histories, the least recently used let go."""

from __future__ import annotations

import difflib
import gc
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from include.ratchet.errors import ModelNotFoundError, NotDeployedError
from include.ratchet.features import OnlineScorer, definition_hash
from include.ratchet.rollout.routes import Route, read_routes
from include.ratchet.serving.fitted import load_version
from include.ratchet.serving.histories import HistoryStore, open_store
from include.ratchet.serving.predictor import Deployment, Predictor
from include.ratchet.serving.recording import Masker
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey, find_models, get_model

_log = logging.getLogger(__name__)
_RETRY_S = 10.0
"""What could not be deployed is tried again after so long: a registry that was away comes back."""
_COLLECT_AFTER = 50
"""Deployments that were let go: about so many may leave something behind until it is looked for."""
_PINNED = 3
"""Versions that callers asked for by number and that stay loaded, beside a new one."""
Report = Callable[[ModelKey, int, Exception], None]
"""Hears of a version that cannot serve."""


class Deployments:
    """Every loaded model key.

    Args:
        settings: where registry, database and histories are.
        memory_mb: of everything that is loaded; the least recently used are let go above it.
        secret: of masks.
        report: hears of versions that cannot serve.
    """

    def __init__(self, settings: Settings, memory_mb: float, secret: str, report: Report) -> None:
        self._settings, self._memory_mb, self._secret, self._report = settings, memory_mb, secret, report
        self._store: HistoryStore = open_store(settings)
        self._loaded: dict[ModelKey, Predictor] = {}
        self._refused: dict[ModelKey, tuple[Route, int, float]] = {}
        self._lock = threading.Lock()
        self._loading: dict[ModelKey, threading.Lock] = {}
        self._let_go = 0

    def find(self, key: ModelKey) -> Predictor | None:
        """A model key that is loaded."""
        return self._loaded.get(key)

    def all(self) -> list[Predictor]:
        """Every loaded model key."""
        return list(self._loaded.values())

    def load(self, key: ModelKey) -> Predictor:
        """A model key, loaded if it is not.

        Raises:
            ModelNotFoundError: there is no such model.
            NotDeployedError: it has no champion, no histories to compute features from, or no secret to mask with.
        """
        with self._lock:
            mine = self._loading.setdefault(key, threading.Lock())
        with mine:
            known = self._loaded.get(key)
            if known is not None:
                return known
            model = self._model(key)
            masker = Masker(model, self._secret)
            route = read_routes(self._settings).get(key)
            if route is None:
                message = f"{key} has no champion yet; train one: it serves from its promotion on"
                raise NotDeployedError(message)
            fitted = {number: load_version(model, key, number, self._settings) for number in route.versions}
            deployment = Deployment(route, fitted, *self._open_scorer(model, key))
            predictor = Predictor(model, key, deployment, masker)
            with self._lock:
                self._loaded[key] = predictor
            self._make_room(key)
            # What is loaded stays. Were the collector to go through it again and again, every request would wait.
            gc.freeze()
            return predictor

    def refresh(self) -> None:
        """Follow routes and histories that have changed; what cannot be loaded leaves the old one serving.

        Raises:
            Exception: the database or the store cannot be reached; everything goes on as it is.
        """
        routes, revisions = read_routes(self._settings), self._store.revisions()
        self._collect()
        for predictor in self.all():
            key = predictor.key
            route, revision = routes.get(key), revisions.get(key, 0)
            now = predictor.deployment
            if route is None or (route == now.route and revision == now.revision):
                continue
            *refused, retry_at = self._refused.get(key, (None, None, 0.0))
            is_known = refused == [route, revision]
            if is_known and time.monotonic() < retry_at:
                continue
            try:
                predictor.deploy(self._follow(predictor, route, revision))
                self._refused.pop(key, None)
                self._let_go += 1
            except Exception as error:  # whatever a version does when it is loaded, the old one goes on
                self._refused[key] = (route, revision, time.monotonic() + _RETRY_S)
                if not is_known:
                    _log.exception("%s: %s cannot be deployed, the old one goes on", key, route)
                    self._report(key, route.challenger or route.champion, error)

    def load_pinned(self, predictor: Predictor, version: int) -> None:
        """Load a further version beside those that the route needs.

        Raises:
            VersionNotFoundError: there is no such version.
        """
        if version not in predictor.deployment.fitted:
            one = load_version(predictor.model, predictor.key, version, self._settings)
            now = predictor.deployment
            pinned = [number for number in now.fitted if number not in now.route.versions]
            kept = (*now.route.versions, *pinned[-_PINNED:])
            predictor.deploy(replace(now, fitted={**{number: now.fitted[number] for number in kept}, version: one}))

    @property
    def size_mb(self) -> float:
        """Memory of everything that is loaded, roughly."""
        return sum(predictor.deployment.size_mb for predictor in self.all())

    def close(self) -> None:
        """Let go of everything."""
        for predictor in self.all():
            predictor.close()
        self._loaded.clear()

    def _follow(self, predictor: Predictor, route: Route, revision: int) -> Deployment:
        """What a predictor has already is kept, the rest is loaded."""
        model, key, now = predictor.model, predictor.key, predictor.deployment
        fitted = {
            number: now.fitted.get(number) or load_version(model, key, number, self._settings)
            for number in route.versions
        }
        if revision == now.revision:
            return Deployment(route, fitted, now.scorer, revision)
        return Deployment(route, fitted, *self._open_scorer(model, key))

    def _open_scorer(self, model: Model, key: ModelKey) -> tuple[OnlineScorer, int]:
        found = self._store.read(key)
        if found is None:
            message = f"{key} has no online features yet; ingestion puts them there: run ingest_{model.name} once"
            raise NotDeployedError(message)
        histories, revision = found
        if histories.definition != definition_hash(model):
            message = (
                f"{key}: the online features are of another features.py than the one here; ingestion makes them anew: "
                f"run ingest_{model.name}"
            )
            raise NotDeployedError(message)
        return OnlineScorer(model, histories, settings=self._settings), revision

    def _model(self, key: ModelKey) -> Model:
        try:
            return get_model(self._settings.models_dir, key.model)
        except ModelNotFoundError:
            known = [folder.name for folder in find_models(self._settings.models_dir)]
            near = difflib.get_close_matches(key.model, known, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known) or 'none'}"
            message = f"no model {key.model!r}; {hint}"
            raise ModelNotFoundError(message) from None

    def _make_room(self, kept: ModelKey) -> None:
        for predictor in sorted(self.all(), key=lambda one: one.used_at):
            if self.size_mb <= self._memory_mb:
                return
            if predictor.key != kept:
                with self._lock:
                    self._loaded.pop(predictor.key, None)
                predictor.close()
                self._let_go += 1

    def _collect(self) -> None:
        """Look through everything once a good deal was let go."""
        if self._let_go >= _COLLECT_AFTER:
            self._let_go = 0
            gc.unfreeze()
            gc.collect()
            gc.freeze()
