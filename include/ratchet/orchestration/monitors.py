"""The tasks of monitoring: references in, references out. A docstring here is the task's page in the UI.

Imported whenever DAGs are parsed, so the engine is imported inside the functions.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Metadata, get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from include.ratchet.orchestration.assets import retraining_asset
from include.ratchet.orchestration.links import link_drift, link_training
from include.ratchet.orchestration.requests import run_kind
from include.ratchet.orchestration.steps import open_workspace

if TYPE_CHECKING:
    from include.ratchet.monitoring.monitor import Judgement
    from include.ratchet.pipeline.workspace import Workspace
    from include.ratchet.spec import ModelSpec

Json = dict[str, Any]
MINUTES_AFTER = 30
"""A partition is looked at so long after its end, when its records have been shipped."""
CRON = {"day": f"{MINUTES_AFTER} 0 * * *", "hour": f"{MINUTES_AFTER} * * * *"}
_log = logging.getLogger(__name__)


def plan(model: str) -> list[Json]:
    """Which partitions to look at, as of when, and how many model keys a task takes.

    By its schedule the partition that has just ended, also if nothing was recorded in it; by an event the one that the
    event is about; by the form a range. Skipped while the model is not in use.
    """
    from include.ratchet.monitoring.monitor import batches_of, is_in_use, keys_of
    from include.ratchet.spec import partition_of, partitions_between

    workspace, params = open_workspace(), get_current_context()["params"]
    spec = workspace.model(model).spec
    first, now = _newest(spec)
    newest = params.get("last") or params.get("first") or first
    if not is_in_use(workspace, model, newest):
        message = f"{model} answered nothing in {newest} and for long before, so there is nothing to watch"
        raise AirflowSkipException(message)
    if params.get("first"):
        last = partition_of(spec, params.get("last") or params["first"])
        days = list(partitions_between(spec, partition_of(spec, params["first"]), last))
        asked = _instant(spec, params.get("as_of"))
        looks = [(day.key, asked or min(now, day.end + spec.label.lateness)) for day in days]
    else:
        looks = [(first, _instant(spec, params.get("as_of")) or now)]
    batches = batches_of(keys_of(workspace.settings, model))
    looked = [{"partition": key, "as_of": as_of.isoformat()} for key, as_of in looks]
    return [{"segments": segments, "looks": looked} for segments in batches]


def profile(model: str, batch: Json) -> Json:
    """Read the records of the partitions once, keep a summary of every column, and see what labels have come since."""
    from include.ratchet.monitoring import monitor
    from include.ratchet.monitoring.scrape import read_counters

    workspace, url = open_workspace(), os.environ.get("RATCHET_SERVING_URL")
    # What the service says now is of now: of no use to a look at the past.
    is_present = run_kind(get_current_context()["dag_run"]) in ("scheduled", "asset_triggered")
    service = read_counters(url) if url and is_present else {}
    rows = {
        look["partition"]: monitor.profile(
            workspace, model, batch["segments"], look["partition"], datetime.fromisoformat(look["as_of"]), service
        )
        for look in batch["looks"]
    }
    return {**batch, "rows": rows}


def compare(model: str, batch: Json) -> Json:
    """Hold what was seen against the champion's reference: drift, worth, quality, service."""
    from include.ratchet.monitoring import monitor

    workspace = open_workspace()
    for look in batch["looks"]:
        for found in monitor.compare(workspace, model, batch["segments"], look["partition"]):
            for signal in found.fired:
                _log.warning("%s %s: %s: %s", found.key, found.partition, signal.kind, signal.words)
    return batch


def judge(model: str, batches: Json | Sequence[Json]) -> list[Json]:
    """What the policy makes of every look: nothing, an alert, a retraining, a revert, or a call for people."""
    from include.ratchet.monitoring import monitor
    from include.ratchet.spec import ModelKey

    workspace, found = open_workspace(), []
    for batch in [batches] if isinstance(batches, dict) else batches:
        partition = batch["looks"][-1]["partition"]
        for segment in batch["segments"]:
            judged = monitor.judge(workspace, ModelKey(model, segment), partition)
            if judged is None:
                continue
            look, decision = judged
            _log.info("%s %s: %s: %s", look.key, partition, decision.outcome, decision.reason)
            found.append({"segment": segment, "partition": partition, "outcome": decision.outcome,
                          "reason": decision.reason, "signals": [one.words for one in look.fired]})  # fmt: skip
    return found


def report(model: str, judged: Sequence[Json]) -> list[str]:
    """Draw Evidently's report of what moved, the gravest first; skipped while nothing did."""
    from include.ratchet.monitoring import store
    from include.ratchet.monitoring.report import draw_report
    from include.ratchet.spec import ModelKey

    workspace = open_workspace()
    moved = [one for one in judged if one["signals"]][:REPORTS]
    drawn = []
    for one in moved:
        look = store.read_look(ModelKey(model, one["segment"]), one["partition"], workspace.settings)
        if look is not None and draw_report(workspace.settings, workspace.model(model), look) is not None:
            link_drift(look.key, look.partition, workspace.settings)
            drawn.append(one["segment"])
    if not drawn:
        message = "nothing moved"
        raise AirflowSkipException(message)
    return drawn


REPORTS = 5
"""Of one run; the others can be drawn from the command line."""


def act(model: str, judged: Sequence[Json]) -> Iterator[Metadata]:
    """Open, change and close incidents, ask for a retraining in the ledger, or go back; say each thing once.

    A retraining request wakes the training DAG by an event that only says "look". Skipped if none was made. A
    backfilled look asks for nothing.
    """
    from include.ratchet.monitoring import monitor
    from include.ratchet.spec import ModelKey

    workspace, run = open_workspace(), get_current_context()["dag_run"]
    kind = run_kind(run)
    requests = []
    for one in judged:
        found = monitor.judge(workspace, ModelKey(model, one["segment"]), one["partition"])
        if found is None:
            continue
        done = monitor.act(workspace, *found, actor=f"{run.dag_id} ({kind} run)", is_backfill=kind == "backfill",
                           report=_address(workspace, run))  # fmt: skip
        _tell(workspace, done)
        if done.request:
            requests.append(done.request)
    if not requests:
        message = "no retraining was asked for"
        raise AirflowSkipException(message)
    link_training(model, workspace.settings)
    yield Metadata(retraining_asset(model), extra={"requests": requests[:100]})


def _tell(workspace: Workspace, done: Judgement) -> None:
    """Say that an incident has opened, changed or closed, once."""
    from include.ratchet.alerts.outbox import tell
    from include.ratchet.monitoring.words import describe
    from include.ratchet.orchestration.notify import SlackSender

    incident = done.incident
    if done.done:
        _log.info("%s: %s", done.look.key, done.done)
    if incident is None or incident.event == "kept":
        return
    spec = workspace.model(done.look.key.model).spec
    targets = {"run": _address(workspace, get_current_context()["dag_run"])}
    message = describe(spec, incident, done.look, done.decision, targets)
    _log.info("alert: %s", tell(message, SlackSender(spec), workspace.settings, workspace.clock()))


def _address(workspace: Workspace, run: Any) -> str:
    from include.ratchet.orchestration.notify import run_url

    return run_url(workspace.settings.airflow_url, run.dag_id, run.run_id)


def _newest(spec: ModelSpec) -> tuple[str, datetime]:
    """The partition that a run is about, and as of when: what its events name, or the one before its own time."""
    from include.ratchet.pipeline.ingest import last_ended

    context = get_current_context()
    run, end = context["dag_run"], context.get("data_interval_end")
    now: datetime = end or run.run_after
    named = [str(key) for event in _events(context) if (key := (event.extra or {}).get("partition"))]
    return (max(named) if named else last_ended(spec, now)), now


def _events(context: Mapping[str, Any]) -> list[Any]:
    return [event for events in (context.get("triggering_asset_events") or {}).values() for event in events]


def _instant(spec: ModelSpec, text: str | None) -> datetime | None:
    from include.ratchet.pipeline.requests import read_instant

    return read_instant(spec, text) if text else None
