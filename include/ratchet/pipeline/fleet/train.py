"""Training the keys of one batch: each by itself, and each once, however often the batch is tried."""

from __future__ import annotations

import io
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy.exc import SQLAlchemyError

from include.ratchet.data.blobs import MemoryBlobs
from include.ratchet.data.segments import Parts
from include.ratchet.dependencies.report import DEPENDENCIES
from include.ratchet.errors import TooFewRowsError
from include.ratchet.features import feature_names
from include.ratchet.pipeline import judge
from include.ratchet.pipeline.fleet.plan import FleetPlan, batch_name, read_plan
from include.ratchet.pipeline.fleet.promote import Settled, gain_of, settle
from include.ratchet.pipeline.fleet.results import KeyResult
from include.ratchet.pipeline.requests import TrainingRequest, newest_cause
from include.ratchet.pipeline.rivals import Rival, open_rival
from include.ratchet.pipeline.train import (
    ENVIRONMENT,
    SEARCH,
    SNAPSHOT,
    TRIALS,
    VALIDATION,
    conclude_search,
    find_fingerprint,
    folder_of,
    load_set,
    plan_trials,
    snapshot_of,
)
from include.ratchet.pipeline.updates import choose_base
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.fleet import find_entries, read_newest
from include.ratchet.registry.ledger import Entry, record
from include.ratchet.registry.lineage import read_environment
from include.ratchet.registry.submit import Registrar
from include.ratchet.spec import Model, ModelKey
from include.ratchet.training.search import search_alone

RESULTS = "results"
Progress = Callable[[int, int], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Room(Workspace):
    """The installation as the keys of a batch see it: their spec is read once, not at each step of each key."""

    shared: Model | None = None

    def model(self, name: str) -> Model:
        """A model by name."""
        return self.shared if self.shared and self.shared.name == name else super().model(name)


@dataclass(frozen=True)
class _Batch:
    """What the keys of one batch share."""

    workspace: _Room
    request: TrainingRequest
    plan: FleetPlan
    model: Model
    pool: Rival | None
    registrar: Registrar
    shared: Mapping[str, bytes]
    before: Mapping[str, Entry]
    """The newest verdict of each segment."""
    asked: Sequence[Entry]
    """Requests to retrain single segments, oldest first."""


def train_batch(
    workspace: Workspace, request: TrainingRequest, number: int, progress: Progress = lambda done, total: None
) -> list[KeyResult]:
    """Train, judge, register and, unless that waits for others, promote every key of a batch that is not yet.

    A key that cannot be trained fails alone, and its result says why.

    Args:
        workspace: the installation.
        request: of the whole training.
        number: of the batch.
        progress: called as (keys done, keys in all).

    Raises:
        OSError: the store or the registry is away; what is done stays done.
    """
    batch = _open(workspace, request, number)
    results = []
    for segment, part in _parts(batch, number):
        started = time.monotonic()
        results.append(replace(_train(batch, segment, part), seconds=time.monotonic() - started))
        _log.info("%s: %s: %s", segment, results[-1].outcome, results[-1].reason)
        progress(len(results), len(batch.plan.batches[number]))
    folder_of(workspace, request).put_json(f"{RESULTS}/{number}.json", [one.to_dict() for one in results])
    return results


def _open(workspace: Workspace, request: TrainingRequest, number: int) -> _Batch:
    model, folder = workspace.model(request.key.model), folder_of(workspace, request)
    plan = read_plan(workspace, request)
    shared = {name: folder.need(name) for name in (SNAPSHOT, VALIDATION)}
    if (report := folder.get(DEPENDENCIES)) is not None:
        shared[DEPENDENCIES] = report
    shared[ENVIRONMENT] = json.dumps(read_environment(model, os.environ).to_dict()).encode()
    pool = open_rival(workspace, model, request.key.pool, plan.pool) if plan.pool is not None else None
    before = read_newest(model.name, "verdict", workspace.settings, plan.batches[number])
    asked = find_entries(request.segment_answers, workspace.settings).values()
    ordered = sorted(asked, key=lambda entry: entry.id or 0)
    is_retry = not folder.put_new(f"{RESULTS}/{number}.begun", b"1")
    registrar = Registrar(model, request.training_id, workspace.settings, known=before.keys(), is_retry=is_retry)
    room = _Room(workspace.settings, workspace.connections, workspace.clock, shared=model)
    return _Batch(room, request, plan, model, pool, registrar, shared, before, ordered)


def _parts(batch: _Batch, number: int) -> Iterator[tuple[str, pa.Table]]:
    """Each segment of a batch with its rows, in their order."""
    by, segments = batch.model.spec.segments.by if batch.model.spec.segments else (), batch.plan.batches[number]
    content = folder_of(batch.workspace, batch.request).get(batch_name(number))
    if content is None:  # removed after an earlier run of the whole; the snapshot has them still
        table = snapshot_of(batch.workspace, batch.request).read(verify=False)
    else:
        table = pq.read_table(io.BytesIO(content))
    parts = Parts(table, by)
    yield from ((segment, parts.of(segment)) for segment in segments)


def _train(batch: _Batch, segment: str, part: pa.Table) -> KeyResult:
    key, rows = ModelKey(batch.model.name, segment), part.num_rows
    request = _request_of(batch, key)
    newest = batch.before.get(segment)
    try:
        is_done = newest is not None and newest.idempotency_key == judge.verdict_name(request)
        verdict = newest if is_done and newest else _judge(batch, request, part)
        if isinstance(verdict, KeyResult):
            return verdict
        if batch.model.spec.waits_for_all and verdict.details["outcome"] == "promote":
            settled = Settled("waiting", verdict.reason)
        else:
            settled = settle(batch.workspace, request, verdict)
        numbers = gain_of(batch.model.spec, verdict)
        return KeyResult(segment, settled.outcome, settled.reason, rows, verdict.version, **numbers)
    except TooFewRowsError as error:
        return KeyResult(segment, "pooled", str(error), rows)
    except Exception as error:  # whatever a segment's rows do to an estimator, the others go on
        if _passes(error):
            raise
        _log.exception("%s cannot be trained", key)
        reason = f"{type(error).__name__}: {error}"
        record(
            Entry(key=key, kind="failure", idempotency_key=f"failure:{key.slug}:{request.training_id}",
                  actor=request.actor, reason=reason[:2000], recorded_at=batch.workspace.clock(), as_of=request.as_of),
            batch.workspace.settings,
        )  # fmt: skip
        return KeyResult(segment, "failed", reason, rows)


def _passes(error: Exception) -> bool:
    """Whether a fault is not the key's own: the database or the registry is away, and the batch is tried again."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return bool(error.get_http_status_code() >= HTTPStatus.INTERNAL_SERVER_ERROR)
    return isinstance(error, OSError | SQLAlchemyError)


def _judge(batch: _Batch, request: TrainingRequest, part: pa.Table) -> Entry | KeyResult:
    """From rows to a registered candidate with its verdict, in this process's memory."""
    workspace = replace(batch.workspace, scratch=MemoryBlobs(), part=part)
    folder = folder_of(workspace, request)
    for name, content in batch.shared.items():
        folder.put(name, content)
    data = load_set(workspace, request)
    fingerprint, before = find_fingerprint(workspace, request), batch.before.get(request.key.segment)
    if not request.force and before is not None and before.details.get("fingerprint") == fingerprint:
        reason = f"version {before.version} was trained on the same data, code, lock and settings"
        return KeyResult(request.key.segment, "unchanged", reason, part.num_rows, before.version)
    if request.base is None:
        plan, found = search_alone(
            data.model, data.table, data.split, list(feature_names(data.model)),
            strategy=request.strategy, trials=request.trials,
        )  # fmt: skip
        folder.put_json(SEARCH, plan.to_dict())
        folder.put_json(TRIALS, found.to_dict())
    else:
        plan_trials(workspace, request, workers=1)
        found = conclude_search(workspace, request)
    fitted = judge.fit_best(workspace, request, data, found)
    judge.evaluate_candidate(workspace, request, batch.pool, fitted)
    judge.register(workspace, request, batch.registrar, fitted)
    return find_entries([judge.verdict_name(request)], workspace.settings)[judge.verdict_name(request)]


def _request_of(batch: _Batch, key: ModelKey) -> TrainingRequest:
    """The part of the run's request that is a key's own."""
    mine = [entry for entry in batch.asked if entry.key == key]
    request = replace(
        batch.request, key=key, segments=None, segment_answers=(), base=None,
        answers=tuple(entry.idempotency_key for entry in mine), cause=newest_cause(mine),
        force=batch.request.force or bool(mine), reason=mine[-1].reason if mine else batch.request.reason,
    )  # fmt: skip
    return choose_base(batch.workspace, request) if batch.model.spec.training.updates else request
