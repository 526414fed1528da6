"""The whole life of a model in this process, without Airflow: a laptop's inner loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from include.ratchet.data.tables import Table
from include.ratchet.errors import PartitionUnavailableError, SpecError
from include.ratchet.evaluation.verdict import Verdict
from include.ratchet.pipeline import fleet, ingest, judge, train
from include.ratchet.pipeline.fleet import KeyResult
from include.ratchet.pipeline.online import materialise
from include.ratchet.pipeline.promote import Promotion, promote
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.train import TWIN, folder_of
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.versions import Version
from include.ratchet.spec import WHOLE, Model, Partition, partition_of, partitions_between

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, how much there is."""


@dataclass(frozen=True)
class RunResult:
    """What a run led to; without a version nothing was trained, for the reason given."""

    version: Version | None
    verdict: Verdict | None
    promotion: Promotion | None
    reason: str
    fleet: tuple[KeyResult, ...] = ()
    """Of a model that is divided into segments, what became of each."""


def run_model(workspace: Workspace, model: Model, request: TrainingRequest, progress: Progress) -> RunResult:
    """Ingest what is missing of the window, then train, judge and promote.

    Raises:
        RatchetError: a step found what stops it; the message says what to do.
    """
    ingest_missing(workspace, model, request, progress)
    absence = train.find_absence(workspace, request)
    if absence is not None:
        return RunResult(None, None, None, absence)
    progress("snapshot", 0, 1)
    train.take_snapshot(workspace, request)
    twin = train.find_twin(workspace, request)
    progress("snapshot", 1, 1)
    segments = model.spec.segments
    if segments is not None:
        train.validate(workspace, request)
    result = RunResult(None, None, None, "only segments were asked for")
    if twin is not None:
        result = RunResult(twin, None, None, f"version {twin.number} has the same data, code, lock and settings")
        folder_of(workspace, request).put_json(TWIN, twin.number)
    elif model.spec.has_whole and request.wants(WHOLE):
        result = _train_whole(workspace, request, progress, is_last=not model.spec.waits_for_all)
    return result if segments is None else _train_segments(workspace, model, request, result, progress)


def _train_whole(workspace: Workspace, request: TrainingRequest, progress: Progress, *, is_last: bool) -> RunResult:
    for name, step in _steps(workspace, request, progress):
        progress(name, 0, 1)
        step()
        progress(name, 1, 1)
    version = judge.register(workspace, request)
    verdict = judge.read_verdict(workspace, request)
    return RunResult(version, verdict, promote(workspace, request) if is_last else None, verdict.reason)


def _train_segments(
    workspace: Workspace, model: Model, request: TrainingRequest, pool: RunResult, progress: Progress
) -> RunResult:
    """Every segment in this process; one that cannot be trained fails alone."""
    plan = fleet.plan_fleet(workspace, request, workers=1)
    done, total = 0, sum(len(batch) for batch in plan.batches)
    for number, batch in enumerate(plan.batches):

        def trained(number_done: int, _: int, before: int = done) -> None:
            progress("segments", before + number_done, total)

        fleet.train_batch(workspace, request, number, trained)
        done += len(batch)
    results = fleet.conclude(workspace, request)
    if model.spec.waits_for_all:
        results = fleet.promote_together(workspace, request, results, request.actor)
    return replace(pool, fleet=tuple(results))


def ingest_missing(workspace: Workspace, model: Model, request: TrainingRequest, progress: Progress) -> None:
    """Land and validate the partitions of the window that are not there yet."""
    missing = list(_missing(workspace, model, request))
    for start in range(0, len(missing), ingest.BATCH_PARTITIONS):
        keys = [partition.key for partition in missing[start : start + ingest.BATCH_PARTITIONS]]
        done = iter(range(start + 1, len(missing) + 1))

        def landed(_: Partition, done: Iterator[int] = done) -> None:
            progress("ingest", next(done), len(missing))

        try:
            ingest.land_partitions(workspace, model, keys, request.training_id, progress=landed)
        except PartitionUnavailableError:
            continue  # `find_absence` says what is missing where it matters
        ingest.validate_landed(workspace, model, keys, request.training_id)
    with suppress(SpecError):  # a model with features of a `query` has no online ones
        materialise(workspace, model, request.as_of)


def _missing(workspace: Workspace, model: Model, request: TrainingRequest) -> Iterator[Partition]:
    spec = model.spec
    start = request.window_start(spec)
    if spec.start:
        start = max(start, partition_of(spec, spec.start).start)
    first, last = partition_of(spec, start), partition_of(spec, request.as_of - timedelta(microseconds=1))
    landed = Table(workspace.settings, spec.name, spec.name).row_counts()
    yield from (partition for partition in partitions_between(spec, first, last) if partition.key not in landed)


def _steps(
    workspace: Workspace, request: TrainingRequest, progress: Progress
) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "validate", lambda: train.validate(workspace, request)
    yield "plan", lambda: train.plan_trials(workspace, request, workers=1)
    yield "search", lambda: train.run_trials(workspace, request, 0, lambda n, m: progress("search", n, m))
    yield "fit", lambda: judge.fit(workspace, request)
    yield "evaluate", lambda: judge.evaluate_candidate(workspace, request)
    yield "register", lambda: judge.register(workspace, request)


def now_at_partition(model: Model, now: datetime) -> datetime:
    """The end of the newest partition that has ended: what a nightly run would know."""
    return partition_of(model.spec, now).start
