"""The tasks of monitoring: references in, references out. A docstring here is the task's page in the UI.

Imported whenever DAGs are parsed, so the engine is imported inside the functions.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Metadata, get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from include.ratchet.orchestration.assets import retraining_asset
from include.ratchet.orchestration.links import link_drift, link_model, link_training
from include.ratchet.orchestration.requests import run_kind
from include.ratchet.orchestration.steps import open_workspace
from include.ratchet.spec import ModelKey

if TYPE_CHECKING:
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
    service = read_counters(url, os.environ.get("RATCHET_SERVING_KEY", "")) if url and is_present else {}
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


def judge(model: str, batches: Json | Sequence[Json]) -> Json:
    """What the policy makes of every look: nothing, an alert, a retraining, a revert, or a call for people.

    Of many model keys, first which of their signals count: a thousand have a thousand times the chance alarms of one.
    """
    from include.ratchet.monitoring import monitor
    from include.ratchet.monitoring.incidents import GRAVITY

    workspace, whole = open_workspace(), [batches] if isinstance(batches, dict) else list(batches)
    link_model(ModelKey(model), workspace.settings, "drift")
    partitions = [look["partition"] for look in whole[0]["looks"]]
    for partition in partitions:
        changed = monitor.control(workspace, model, partition)
        _log.info("%s %s: in %d looks chance explains what fired", model, partition, changed)
    judged = monitor.judge_all(workspace, model, partitions[-1])
    moved = [(look, decision) for look, decision in judged if decision.outcome != "none"]
    moved.sort(key=lambda one: -GRAVITY.index(one[1].outcome))
    for look, decision in moved:
        _log.info("%s %s: %s: %s", look.key, look.partition, decision.outcome, decision.reason)
    named = [
        {"segment": look.key.segment, "outcome": decision.outcome, "reason": decision.reason}
        for look, decision in moved[:SHOWN]
    ]
    return {"partition": partitions[-1], "counts": dict(Counter(one.outcome for _, one in judged)), "keys": named}


SHOWN = 100
"""Model keys that an XCom names, the gravest first; the database has all."""


def report(model: str, judged: Json) -> list[str]:
    """Draw Evidently's report of what moved, the gravest first; skipped while nothing did."""
    from include.ratchet.monitoring import store
    from include.ratchet.monitoring.report import draw_report

    workspace = open_workspace()
    drawn = []
    for one in judged["keys"][:REPORTS]:
        look = store.read_look(ModelKey(model, one["segment"]), judged["partition"], workspace.settings)
        if look is not None and draw_report(workspace.settings, workspace.model(model), look) is not None:
            link_drift(look.key, look.partition, workspace.settings)
            drawn.append(one["segment"])
    if not drawn:
        message = "nothing moved"
        raise AirflowSkipException(message)
    return drawn


REPORTS = 5
"""Of one run; the others can be drawn from the command line."""


def act(model: str, judged: Json) -> Iterator[Metadata]:
    """Open, change and close incidents, ask for a retraining in the ledger, or go back; say each thing once.

    A retraining request wakes the training DAG by an event that only says "look". Skipped if none was made. A
    backfilled look asks for nothing. One problem of many model keys is one message.
    """
    from include.ratchet.alerts.outbox import tell
    from include.ratchet.monitoring.act import act_all
    from include.ratchet.monitoring.monitor import judge_all
    from include.ratchet.monitoring.notes import read_acknowledged
    from include.ratchet.monitoring.words import announce
    from include.ratchet.orchestration.notify import SlackSender

    workspace, run = open_workspace(), get_current_context()["dag_run"]
    link_model(ModelKey(model), workspace.settings, "overview")
    kind, address, spec = run_kind(run), _address(workspace, run), workspace.model(model).spec
    done, gone = act_all(
        workspace, model, judged["partition"], judge_all(workspace, model, judged["partition"]),
        actor=f"{run.dag_id} ({kind} run)", is_backfill=kind == "backfill", report=address,
    )  # fmt: skip
    for words, count in Counter(one.done for one in done if one.done).items():
        _log.info("%s: %d of %d keys", words, count, len(done))
    known = {(key, one.details["incident"]) for key, one in read_acknowledged(model, workspace.settings).items()}
    for message in announce(spec, judged["partition"], done, gone, {"run": address}, known):
        _log.info("alert: %s", tell(message, SlackSender(spec), workspace.settings, workspace.clock()))
    requests = [one.request for one in done if one.request]
    if not requests:
        nothing = "no retraining was asked for"
        raise AirflowSkipException(nothing)
    link_training(model, workspace.settings)
    yield Metadata(retraining_asset(model), extra={"requests": requests[:SHOWN], "count": len(requests)})


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
