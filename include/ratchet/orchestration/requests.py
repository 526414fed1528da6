"""What a training's run is asked to do: by its schedule, by its form, or by the requests that wait in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context

from include.ratchet.orchestration.links import link_cause

if TYPE_CHECKING:
    from include.ratchet.pipeline.requests import TrainingRequest
    from include.ratchet.pipeline.workspace import Workspace
    from include.ratchet.registry.ledger import Entry
    from include.ratchet.spec import ModelSpec


def make_request(workspace: Workspace, model: str) -> TrainingRequest:
    """The run's request, out of its schedule, its form, or the requests that wait in the ledger."""
    from include.ratchet.pipeline.requests import TrainingRequest, newest_cause, read_instant
    from include.ratchet.pipeline.updates import choose_base
    from include.ratchet.spec import ModelKey, parse_duration

    context, spec, key = get_current_context(), workspace.model(model).spec, ModelKey(model)
    params, run = context["params"], context["dag_run"]
    kind = run_kind(run)
    # A replay of history answers nobody's request of today.
    pending = () if kind == "backfill" else _read_pending(workspace, spec)
    waiting = [entry for entry in pending if entry.key.is_pool]
    if report := next((entry.details["report"] for entry in reversed(pending) if entry.details.get("report")), None):
        link_cause(report)
    known = [entry.as_of for entry in pending if entry.as_of is not None]
    now = context.get("data_interval_end") or (max(known) if known else run.run_after)
    asked = TrainingRequest(
        key=key,
        training_id=run.run_id,
        as_of=read_instant(spec, params.get("as_of") or str(now)),
        window=parse_duration(params["window"]) if params.get("window") else None,
        strategy=params.get("strategy") or None,
        trials=params.get("trials"),
        force=bool(params.get("force")) or bool(waiting),
        reason=params.get("reason") or (pending[-1].reason if pending else f"{kind} run"),
        actor=actor_of(run),
        cause=newest_cause(waiting),
        is_backfill=kind == "backfill",
        answers=tuple(entry.idempotency_key for entry in waiting),
        segment_answers=tuple(entry.idempotency_key for entry in pending if not entry.key.is_pool),
        segments=_choose_segments(spec, params.get("segments"), kind, [entry.key.segment for entry in pending]),
    )
    return choose_base(workspace, asked)


def _read_pending(workspace: Workspace, spec: ModelSpec) -> Sequence[Entry]:
    """The requests that wait, of all segments."""
    from include.ratchet.registry import fleet, ledger
    from include.ratchet.spec import ModelKey

    if spec.segments is None:
        return ledger.pending_requests(ModelKey(spec.name), workspace.settings)
    return fleet.pending_requests(spec.name, workspace.settings)


def _choose_segments(
    spec: ModelSpec, named: Sequence[str] | None, kind: str, pending: Sequence[str]
) -> tuple[str, ...] | None:  # fmt: skip
    """Which segments a run trains: those that the form names, those that asked for it, or all."""
    if named or spec.segments is None:
        return tuple(named) if named else None
    is_on_request = kind == "asset_triggered" or (kind == "scheduled" and spec.schedule.train is None)
    return tuple(sorted(set(pending))) if is_on_request else None


def actor_of(run: Any) -> str:
    """Who a run acts for: the person that triggered it, or what did."""
    kind, person = run_kind(run), getattr(run, "triggering_user_name", None)
    return person if kind == "manual" and person else f"{kind} run"


def run_kind(run: Any) -> str:
    """How a run came about: scheduled, manual, backfill or asset_triggered."""
    return str(getattr(run.run_type, "value", run.run_type))
