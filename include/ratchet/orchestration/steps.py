"""The tasks' functions: references in, references out. A docstring here is the task's page in the UI.

Airflow's context becomes a request, and what a step found becomes an XCom, an asset event or a skip. The module is
imported whenever DAGs are parsed, so the engine is imported inside the functions.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import Metadata, get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from include.ratchet.errors import PartitionUnavailableError
from include.ratchet.orchestration.assets import champion_asset, data_asset
from include.ratchet.orchestration.containers import run_contained
from include.ratchet.orchestration.links import link_docs, link_model, link_version
from include.ratchet.orchestration.requests import make_request
from include.ratchet.orchestration.tell import tell_verdict, warn_of_data
from include.ratchet.spec import ModelKey

if TYPE_CHECKING:
    from include.ratchet.pipeline.requests import TrainingRequest
    from include.ratchet.pipeline.workspace import Workspace

Json = dict[str, Any]
APPROVE, DECLINE = "Approve", "Decline"


def plan_partitions(model: str) -> list[list[str]]:
    """Which partitions to land, and how many a task takes: the run's own, or the range that the form asks for."""
    from include.ratchet.pipeline import ingest

    context = get_current_context()
    params, run = context["params"], context["dag_run"]
    spec = open_workspace().model(model).spec
    first = params.get("first") or run.partition_key or ingest.last_ended(spec, run.run_after)
    plan = ingest.plan_ingestion(spec, first, params.get("last") or first)
    return [list(batch) for batch in plan.batches]


def land(model: str, keys: Sequence[str]) -> Json:
    """Read the sources and merge their rows into the tables, the bad ones into the quarantine.

    A partition that its source does not have is skipped.
    """
    from include.ratchet.pipeline import ingest

    workspace = open_workspace()
    try:
        reports = ingest.land_partitions(workspace, workspace.model(model), keys, _run_id())
    except PartitionUnavailableError as error:
        message = f"nothing to ingest: {error}"
        raise AirflowSkipException(message) from error
    return {"keys": list(keys), "tables": ingest.describe(reports)}


def validate(model: str, landed: Json) -> Json:
    """Hold what has landed against the model's expectations. A broken one of severity `fail` stops here."""
    from include.ratchet.pipeline import ingest

    workspace = open_workspace()
    tell = partial(link_docs, settings=workspace.settings)
    reports = ingest.validate_landed(workspace, workspace.model(model), landed["keys"], _run_id(), tell)
    warn_of_data(workspace, model, reports)
    return {**landed, "warned": sum(len(report.warned) for report in reports)}


def publish(model: str, landed: Json | Sequence[Json]) -> Iterator[Metadata]:
    """Say on the model's data asset that the partitions are there."""
    # Airflow hands over the bare result where the group was mapped over one batch.
    batches = [landed] if isinstance(landed, dict) else list(landed)
    keys = [key for batch in batches for key in batch["keys"]]
    tables = batches[-1]["tables"]
    yield Metadata(data_asset(model), extra={"first": keys[0], "last": keys[-1], "partitions": len(keys), **tables})


def materialise(model: str, landed: Json | Sequence[Json]) -> Json:
    """Bring online features up to date with what has landed. A model with features of a `query` has none."""
    from include.ratchet.errors import SpecError
    from include.ratchet.pipeline.online import materialise as build
    from include.ratchet.spec import partition_of

    workspace = open_workspace()
    found = workspace.model(model)
    batches = [landed] if isinstance(landed, dict) else list(landed)
    known_until = partition_of(found.spec, batches[-1]["keys"][-1]).end
    try:
        built = build(workspace, found, known_until)
    except SpecError as error:
        raise AirflowSkipException(str(error)) from error
    return {"known_until": built.known_until.isoformat(), "rows": sum(rows.num_rows for rows in built.rows.values())}


def plan_training(model: str) -> Json:
    """The request: as of when, over which window, asked by whom and why.

    A night without new data is skipped, and one without a request if the model is trained only on request.
    """
    from include.ratchet.pipeline import train

    workspace = open_workspace()
    link_model(ModelKey(model), workspace.settings, "timeline")
    request = make_request(workspace, model)
    is_asked = request.answers or request.segment_answers
    if request.actor == "scheduled run" and not is_asked and not workspace.model(model).spec.schedule.train:
        message = f"{model} is trained only on request (schedule.train is null), and none is waiting"
        raise AirflowSkipException(message)
    absence = train.find_absence(workspace, request)
    if absence is not None:
        raise AirflowSkipException(absence)
    return request.to_dict()


def take_snapshot(request: Json) -> Json:
    """Compute features as they were known into an immutable training set.

    If the same data, code, lock and settings gave a version before, there is nothing to train. The segments of a model
    that is divided look for themselves.
    """
    from include.ratchet.pipeline import train

    workspace, asked = open_workspace(), read_request(request)
    snapshot = train.take_snapshot(workspace, asked)
    if workspace.model(asked.key.model).spec.segments is None:
        _skip_twin(workspace, asked)
    return {"snapshot": snapshot.id, "rows": snapshot.rows}


def validate_snapshot(request: Json) -> Json:
    """Hold the training set against the model's expectations."""
    from include.ratchet.pipeline import train

    workspace = open_workspace()
    asked = read_request(request)
    report = train.validate(workspace, asked, partial(link_docs, settings=workspace.settings))
    warn_of_data(workspace, asked.key.model, [report])
    return {"passed": report.passed, "warned": len(report.warned)}


def plan_trials(request: Json) -> list[int]:
    """Make the study and say how many tasks it is worth cutting into; the numbers of their batches.

    Skipped if only segments were asked for, or the pooled model was trained on the same before.
    """
    from airflow.sdk import conf

    from include.ratchet.pipeline import train
    from include.ratchet.spec import WHOLE

    workspace, asked = open_workspace(), read_request(request)
    if not asked.wants(WHOLE):
        message = "the pooled model was not asked for"
        raise AirflowSkipException(message)
    if workspace.model(asked.key.model).spec.segments is not None:
        _skip_twin(workspace, asked)

    if _is_contained(workspace, asked):
        batches: list[int] = run_contained(workspace, asked, "plan_trials")
        return batches
    workers = min(conf.getint("core", "max_active_tasks_per_dag"), os.cpu_count() or 1)
    return list(range(len(train.plan_trials(workspace, asked, workers).quotas)))


def run_trials(request: Json, batch: int) -> int:
    """Fit and score the trials of one batch that are still missing."""
    from include.ratchet.pipeline import train

    workspace, asked = open_workspace(), read_request(request)
    if _is_contained(workspace, asked):
        return int(run_contained(workspace, asked, "run_trials"))
    return train.run_trials(workspace, asked, batch)


def fit(request: Json) -> Json:
    """Fit the search's best candidate on all rows before the test."""
    from include.ratchet.pipeline import judge

    workspace, asked = open_workspace(), read_request(request)
    if _is_contained(workspace, asked):
        return dict(run_contained(workspace, asked, "fit"))
    return judge.fit(workspace, asked)


def evaluate(request: Json) -> Json:
    """Measure the candidate beside the baselines and the champion, with intervals, on slices, and judge it."""
    from include.ratchet.pipeline import judge

    report = judge.evaluate_candidate(open_workspace(), read_request(request))
    return {report.metric: report.metrics[report.metric].to_dict()}


def register(request: Json) -> Json:
    """Register the candidate with its verdict, card and lineage, whatever the verdict is."""
    from include.ratchet.pipeline import judge

    workspace = open_workspace()
    version = judge.register(workspace, read_request(request))
    link_version(version, workspace.settings)
    return {"version": version.number, "outcome": version.outcome, "url": version.url}


def decide(request: Json) -> Json:
    """Show the gates. A refused candidate fails here, at once; one that is held ends the run without promotion."""
    from include.ratchet.pipeline import judge

    workspace, asked = open_workspace(), read_request(request)
    link_version(judge.registered(workspace, asked), workspace.settings)
    verdict = judge.read_verdict(workspace, asked)
    logging.getLogger(__name__).info("verdict: %s\n%s", verdict.outcome, verdict.table())
    if verdict.outcome != "promote":
        tell_verdict(workspace, asked, verdict.outcome)
    if verdict.outcome == "hold":
        message = f"held: {verdict.reason}"
        raise AirflowSkipException(message)
    judge.decide(workspace, asked)
    return {"outcome": verdict.outcome, "reason": verdict.reason, "gates": verdict.table()}


def promote(request: Json, approval: Mapping[str, Any] | None = None) -> Iterator[Metadata]:
    """Make the candidate champion, if nothing moved since it was judged and nobody who was asked said no.

    If the spec asks for a hand-over, that begins, and this task is skipped: the champion has not changed yet.
    """
    from include.ratchet.pipeline import judge
    from include.ratchet.pipeline import promote as promotion

    workspace, asked = open_workspace(), read_request(request)
    link_version(judge.registered(workspace, asked), workspace.settings)
    person = ((approval or {}).get("responded_by_user") or {}).get("name")
    if approval is not None and approval["chosen_options"] != [APPROVE]:
        actor = person or "nobody answered"
        result = promotion.refuse(workspace, asked, actor=actor, reason="promotion was not approved")
        tell_verdict(workspace, asked, "declined")
        raise AirflowSkipException(result.reason)
    result = promotion.promote(workspace, asked, approved_by=person)
    tell_verdict(workspace, asked, "promote" if result.is_promoted else "started" if result.is_started else "hold")
    if not result.is_promoted:
        raise AirflowSkipException(result.reason)
    yield Metadata(champion_asset(asked.key.model), extra={**asdict(result), "segment": asked.key.segment})


def open_workspace() -> Workspace:
    """The installation that this task runs in."""
    from include.ratchet.orchestration.connections import AirflowConnections, current_settings
    from include.ratchet.pipeline.workspace import Workspace

    return Workspace(current_settings(), AirflowConnections(), lambda: datetime.now(UTC))


def _is_contained(workspace: Workspace, request: TrainingRequest) -> bool:
    return workspace.model(request.key.model).spec.training.isolation == "docker"


def _skip_twin(workspace: Workspace, request: TrainingRequest) -> None:
    from include.ratchet.pipeline import train

    twin = train.find_twin(workspace, request)
    if twin is not None:
        train.folder_of(workspace, request).put_json(train.TWIN, twin.number)
        message = f"version {twin.number} was trained on the same data, code, lock and settings; force trains it again"
        raise AirflowSkipException(message)


def _run_id() -> str:
    return str(get_current_context()["run_id"])


def read_request(content: Json) -> TrainingRequest:
    """The request that `plan_training` made."""
    from include.ratchet.pipeline.requests import TrainingRequest

    return TrainingRequest.from_dict(content)
