"""Which models are loaded: on first use, following routes and histories, the least recently used let go.

A model is loaded with its histories and its features; what answers is loaded for each of its segments by itself.
"""

from __future__ import annotations

import difflib
import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from include.ratchet.errors import ModelNotFoundError, NotDeployedError, RegistryUnavailableError
from include.ratchet.features import OnlineScorer, definition_hash
from include.ratchet.rollout.routes import Route, read_routes
from include.ratchet.serving.fitted import Deployment, load_version
from include.ratchet.serving.histories import HistoryStore, open_store
from include.ratchet.serving.predictor import Online, Predictor
from include.ratchet.serving.recording import Masker
from include.ratchet.settings import Settings
from include.ratchet.spec import WHOLE, Model, ModelKey, find_models, get_model

_log = logging.getLogger(__name__)
_RETRY_S = 10.0
"""What could not be deployed is tried again after so long: a registry that was away comes back."""
_OUTAGE_S = 60.0
"""A registry that is away is said once for all segments of a model, and again after so long without a failure."""
_PASS_S = 0.5
"""That one look at the routes may load for; what is left is looked at anew, with what has moved meanwhile."""
_COLLECT_AFTER = 50
"""Deployments that were let go: about so many may leave something behind until it is looked for."""
_PINNED = 3
"""Versions that callers asked for by number and that stay loaded, beside a new one."""
Report = Callable[[ModelKey, int, Exception], None]
"""Hears of a version that cannot serve."""


@dataclass(frozen=True)
class _Refused:
    """A route, or a revision of the histories, that could not be deployed."""

    what: Route | int
    retry_at: float
    error: Exception


class Deployments:
    """Every loaded model.

    Args:
        settings: where registry, database and histories are.
        memory_mb: of everything that is loaded; the least recently used are let go above it.
        secret: of masks.
        report: hears of versions that cannot serve.
    """

    def __init__(self, settings: Settings, memory_mb: float, secret: str, report: Report) -> None:
        self._settings, self._memory_mb, self._secret, self._report = settings, memory_mb, secret, report
        self._store: HistoryStore = open_store(settings)
        self._routes: Mapping[ModelKey, Route] = {}
        self._loaded: dict[ModelKey, Predictor] = {}
        self._refused: dict[tuple[ModelKey, type], _Refused] = {}
        self._lock = threading.Lock()
        self._loading: dict[ModelKey, threading.Lock] = {}
        self._let_go = 0

    def find(self, key: ModelKey) -> Predictor | None:
        """A model that is loaded, by the key of the whole."""
        return self._loaded.get(key)

    def all(self) -> list[Predictor]:
        """Every loaded model."""
        return list(self._loaded.values())

    def segments(self, model: str) -> list[str]:
        """The segments of a model that have a champion, loaded or not, as of the last look at the routes."""
        return [key.segment for key in self._routes if key.model == model and not key.is_pool]

    def load(self, key: ModelKey) -> Predictor:
        """A model, loaded if it is not.

        Raises:
            ModelNotFoundError: there is no such model.
            NotDeployedError: it has no champion, no histories to compute features from, or no secret to mask with.
        """
        with self._lock_of(key):
            known = self._loaded.get(key)
            if known is not None:
                return known
            model = self._model(key)
            masker = Masker(model, self._secret)
            self._routes = routes = read_routes(self._settings)
            is_divided = model.spec.segments is not None
            if key not in routes and not (is_divided and self.segments(key.model)):
                message = f"{key} has no champion yet; train one: it serves from its promotion on"
                raise NotDeployedError(message)
            whole = None if is_divided else self._open(model, key, routes[key])
            predictor = Predictor(model, self._open_online(model, key), masker)
            if whole is not None:
                predictor.deploy(whole)
            with self._lock:
                self._loaded[key] = predictor
            self._make_room(key)
            # What is loaded stays. Were the collector to go through it again and again, every request would wait.
            gc.freeze()
            return predictor

    def find_deployment(self, predictor: Predictor, segment: str) -> Deployment | None:
        """What answers a segment's rows, the pooled model in its stead; None if it must be loaded or is not there."""
        own = predictor.find(segment)
        if own is None and not self._can_load(predictor, segment):
            own = predictor.find(WHOLE) if predictor.model.spec.has_whole else None
        return own

    def load_deployment(self, predictor: Predictor, segment: str) -> Deployment:
        """The same, loaded if it is not. A segment whose version cannot be loaded is answered by the pooled model.

        Raises:
            NotDeployedError: there is none.
            Exception: it cannot be loaded, and no pooled model stands in.
        """
        key = ModelKey(predictor.key.model, segment)
        if self._can_load(predictor, segment):
            self._load_own(predictor, key)
        own = predictor.find(segment)
        if own is not None:
            return own
        if segment != WHOLE and predictor.model.spec.has_whole:
            return self.load_deployment(predictor, WHOLE)
        refused = self._refused.get((key, Route))
        if refused is not None and key in self._routes:
            raise refused.error.with_traceback(None)
        if predictor.model.spec.has_whole:
            message = f"the pooled model of {key} has no champion yet; train one: it serves from its promotion on"
        else:
            found = "a row without a segment" if segment == WHOLE else f"segment {segment!r}, which has no champion"
            message = f"{key.model}: found {found}; no pooled model stands in, as segments.pool is false"
        raise NotDeployedError(message)

    def load_pinned(self, predictor: Predictor, now: Deployment, version: int) -> Deployment:
        """A further version beside those that a key's route needs.

        Raises:
            VersionNotFoundError: there is no such version.
        """
        if version not in now.fitted:
            one = load_version(predictor.model, now.key, version, self._settings)
            now = predictor.find(now.key.segment) or now
            pinned = [number for number in now.fitted if number not in now.route.versions]
            kept = (*now.route.versions, *pinned[-_PINNED:])
            now = replace(now, fitted={**{number: now.fitted[number] for number in kept}, version: one})
            predictor.deploy(now)
        return now

    def refresh(self) -> None:
        """Follow routes and histories that have changed; what cannot be loaded leaves the old one serving.

        Raises:
            Exception: the database or the store cannot be reached; everything goes on as it is.
        """
        self._routes, revisions = read_routes(self._settings), self._store.revisions()
        self._collect()
        changed: list[tuple[float, Predictor, Deployment, Route]] = []
        for predictor in self.all():
            self._follow_histories(predictor, revisions.get(predictor.key, 0))
            for used_at, now in predictor.deployments():
                route = self._routes.get(now.key)
                if route is None and not now.key.is_pool:
                    predictor.let_go(now.key.segment)
                elif route is not None and route != now.route:
                    changed.append((used_at, predictor, now, route))
        until = time.monotonic() + _PASS_S
        for _, predictor, now, route in sorted(changed, key=lambda one: one[0], reverse=True):
            self._attempt(now.key, route, partial(self._follow, predictor, now, route))
            if time.monotonic() > until:
                return

    @property
    def size_mb(self) -> float:
        """Memory of everything that is loaded, roughly."""
        return sum(predictor.size_mb for predictor in self.all())

    def close(self) -> None:
        """Let go of everything."""
        for predictor in self.all():
            predictor.close()
        self._loaded.clear()

    def _load_own(self, predictor: Predictor, key: ModelKey) -> None:
        with self._lock_of(key):
            if predictor.find(key.segment) is None and self._can_load(predictor, key.segment):
                route = self._routes[key]
                self._attempt(key, route, lambda: predictor.deploy(self._open(predictor.model, key, route)))
                self._make_room(key)
                gc.freeze()

    def _can_load(self, predictor: Predictor, segment: str) -> bool:
        """Whether a key has a champion, and was not refused just now."""
        key = ModelKey(predictor.key.model, segment)
        route, refused = self._routes.get(key), self._refused.get((key, Route))
        if route is None or (key.is_pool and not predictor.model.spec.has_whole):
            return False
        return refused is None or refused.what != route or time.monotonic() >= refused.retry_at

    def _attempt(self, key: ModelKey, what: Route | int, deploy: Callable[[], None]) -> None:
        """Deploy something, unless it failed just now; a failure is reported once."""
        place = (key, type(what))
        refused = self._refused.get(place)
        is_known = refused is not None and refused.what == what
        if refused is not None and is_known and time.monotonic() < refused.retry_at:
            return
        try:
            deploy()
            self._refused.pop(place, None)
        except Exception as error:  # whatever a version does when it is loaded, the others go on
            is_known = is_known or self._is_outage(key, error)
            self._refused[place] = _Refused(what, time.monotonic() + _RETRY_S, error)
            if not is_known:
                _log.exception("%s: %s cannot be deployed, what answered goes on", key, what)
                route = self._routes.get(key)
                self._report(key, 0 if route is None else route.challenger or route.champion, error)

    def _is_outage(self, key: ModelKey, error: Exception) -> bool:
        """Whether it is the registry that is away, which was said of another of the model's keys lately."""
        lately = time.monotonic() - _OUTAGE_S
        return isinstance(error, RegistryUnavailableError) and any(
            isinstance(one.error, RegistryUnavailableError) and one.retry_at > lately
            for (other, _), one in list(self._refused.items()) if other.model == key.model
        )  # fmt: skip

    def _follow(self, predictor: Predictor, now: Deployment, route: Route) -> None:
        """What a deployment has already is kept, the rest is loaded."""
        predictor.deploy(self._open(predictor.model, now.key, route, now))
        self._let_go += 1

    def _follow_histories(self, predictor: Predictor, revision: int) -> None:
        def follow() -> None:
            predictor.bring_online(self._open_online(predictor.model, predictor.key))
            self._let_go += 1

        if revision != predictor.online.revision:
            self._attempt(predictor.key, revision, follow)

    def _open(self, model: Model, key: ModelKey, route: Route, now: Deployment | None = None) -> Deployment:
        held = {} if now is None else now.fitted
        fitted = {
            number: held.get(number) or load_version(model, key, number, self._settings) for number in route.versions
        }
        return Deployment(key, route, fitted)

    def _open_online(self, model: Model, key: ModelKey) -> Online:
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
        return Online(OnlineScorer(model, histories, settings=self._settings), revision)

    def _model(self, key: ModelKey) -> Model:
        try:
            return get_model(self._settings.models_dir, key.model)
        except ModelNotFoundError:
            known = [folder.name for folder in find_models(self._settings.models_dir)]
            near = difflib.get_close_matches(key.model, known, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known) or 'none'}"
            message = f"no model {key.model!r}; {hint}"
            raise ModelNotFoundError(message) from None

    def _lock_of(self, key: ModelKey) -> threading.Lock:
        with self._lock:
            return self._loading.setdefault(key, threading.Lock())

    def _make_room(self, kept: ModelKey) -> None:
        """Let go of the least recently used segments and models; what a request holds of them, it keeps."""
        excess = self.size_mb - self._memory_mb
        if excess <= 0:
            return
        # A model was used when the last of its segments was, so that it comes behind all of them.
        held: list[tuple[float, Predictor, Deployment | None]] = []
        for predictor in self.all():
            held += [(at, predictor, one) for at, one in predictor.deployments() if not one.key.is_pool]
            held.append((predictor.used_at, predictor, None))
        for _, predictor, one in sorted(held, key=lambda found: found[0]):
            if excess <= 0:
                return
            if one is None and predictor.key != kept.pool:
                excess -= predictor.size_mb
                with self._lock:
                    self._loaded.pop(predictor.key, None)
                predictor.close()
            elif one is not None and one.key != kept and predictor.let_go(one.key.segment):
                excess -= one.size_mb
            else:
                continue
            self._let_go += 1

    def _collect(self) -> None:
        """Look through everything once a good deal was let go; the more there is, the longer that takes."""
        if self._let_go >= max(_COLLECT_AFTER, sum(predictor.loaded for predictor in self.all())):
            self._let_go = 0
            gc.unfreeze()
            gc.collect()
            gc.freeze()
