"""The tasks of a hand-over: look at the evidence, ask a person where the spec wants it, and say what came of it.

Imported whenever DAGs are parsed, so the engine is imported inside the functions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Metadata, get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from include.ratchet.orchestration.assets import champion_asset
from include.ratchet.orchestration.steps import APPROVE, open_workspace, run_kind

if TYPE_CHECKING:
    from datetime import datetime

    from include.ratchet.alerts.messages import Message
    from include.ratchet.pipeline.workspace import Workspace
    from include.ratchet.rollout.transitions import Order, Outcome
    from include.ratchet.spec import Model, ModelKey

Json = dict[str, Any]
CRON = "0 * * * *"
ACTIONS = (None, "look", "advance", "pause", "resume", "revert")
_log = logging.getLogger(__name__)


def look(model: str) -> Json:
    """Look at the evidence and go on, wait, ask or go back; or do what the form says.

    A run is skipped while no version is being handed over.
    """
    from include.ratchet.spec import ModelKey

    workspace, params = open_workspace(), get_current_context()["params"]
    one, key = workspace.model(model), ModelKey(model)
    order = _order(workspace, params.get("reason"))
    action = params.get("action") or "look"
    if action == "revert":
        return _revert(workspace, one, order)
    outcome = _act(workspace, one, key, action, order)
    if outcome.decision.action == "none":
        _tell(workspace, one, outcome)
        raise AirflowSkipException(outcome.decision.reason)
    return _report(workspace, one, outcome)


def need_person(looked: Json) -> str:
    """Whether a person is asked now; skipped otherwise, and with it what depends on the answer."""
    if looked["action"] != "ask":
        message = f"nobody needs to be asked: {looked['action']}, {looked['reason']}"
        raise AirflowSkipException(message)
    return str(looked["reason"])


def answer(model: str, looked: Json, approval: Mapping[str, Any]) -> Json:
    """Do what the person said: go on, or end the hand-over. No answer in time means no."""
    from dataclasses import replace

    from include.ratchet.rollout import actions, store
    from include.ratchet.spec import ModelKey

    workspace, key = open_workspace(), ModelKey(model)
    one = workspace.model(model)
    person = (approval.get("responded_by_user") or {}).get("name") or "nobody answered"
    order = replace(_order(workspace, None), actor=person)
    state = store.read(key, workspace.settings)
    if state is None or (state.revision != looked["revision"] and state.once != order.once):
        message = "the hand-over moved on while a person was asked; the answer changes nothing"
        raise AirflowSkipException(message)
    if approval["chosen_options"] == [APPROVE]:
        as_of = _as_of(workspace, one, key)
        outcome = actions.advance(workspace.settings, one, key, as_of, replace(order, reason=f"approved by {person}"))
    else:
        outcome = actions.revert(workspace.settings, key, replace(order, reason="the hand-over was not approved"))
    return _report(workspace, one, outcome)


def announce(model: str, *results: Json | None) -> Iterator[Metadata]:
    """Say on the model's champion asset that production has changed; skipped while it stays as it is."""
    moved = [result for result in results if result and result["is_champion_moved"]]
    if not moved:
        message = "the champion stays as it is"
        raise AirflowSkipException(message)
    yield Metadata(champion_asset(model), extra={"champion": moved[-1]["champion"], "reason": moved[-1]["reason"]})


def _act(workspace: Workspace, model: Model, key: ModelKey, action: str, order: Order) -> Outcome:
    from include.ratchet.errors import LedgerConflictError
    from include.ratchet.rollout import actions

    settings = workspace.settings
    try:
        if action == "pause":
            return actions.pause(settings, key, order)
        if action == "resume":
            return actions.resume(settings, key, order)
        move = actions.advance if action == "advance" else actions.step
        return move(settings, model, key, _as_of(workspace, model, key), order)
    except LedgerConflictError as error:
        # Another run was faster, on the same evidence.
        raise AirflowSkipException(str(error)) from error


def _revert(workspace: Workspace, model: Model, order: Order) -> Json:
    from include.ratchet.rollout import store
    from include.ratchet.rollout.machine import Decision
    from include.ratchet.rollout.revert import revert
    from include.ratchet.rollout.transitions import Outcome
    from include.ratchet.rollout.words import describe_reversal
    from include.ratchet.spec import ModelKey

    key = ModelKey(model.name)
    found = revert(workspace.settings, key, order)
    if found.is_rollout:
        state = store.read(key, workspace.settings)
        return _report(workspace, model, Outcome(Decision("revert", found.words), state, True))
    _send(workspace, model, lambda url: describe_reversal(key, found, order, url))
    return {"action": "revert", "reason": found.words, "champion": found.after, "is_champion_moved": True}


def _report(workspace: Workspace, model: Model, outcome: Outcome) -> Json:
    """What the next tasks need; told to people once if something moved."""
    state, decision = outcome.state, outcome.decision
    _log.info("%s: %s\n%s", decision.action, decision.reason, decision.numbers)
    _tell(workspace, model, outcome)
    is_moved = decision.action == "finish" and state is not None and state.challenger is not None
    return {
        "action": decision.action, "reason": decision.reason, "stage": state.at.name if state else None,
        "status": state.status if state else None, "revision": state.revision if state else 0,
        "champion": state.challenger if is_moved and state else None, "is_champion_moved": is_moved,
    }  # fmt: skip


def _tell(workspace: Workspace, model: Model, outcome: Outcome) -> None:
    """Say what moved the hand-over last, once, also if an earlier run was cut off before it could."""
    from include.ratchet.rollout.words import describe

    state = outcome.state
    # What a training began, that training has told.
    if state is not None and (state.action != "start" or state.once is None):
        _send(workspace, model, lambda url: describe(state, url))


def _send(workspace: Workspace, model: Model, describe: Callable[[str], Message]) -> None:
    """Send a message about this run, once."""
    from include.ratchet.alerts.outbox import tell
    from include.ratchet.orchestration.notify import SlackSender, run_url

    run = get_current_context()["dag_run"]
    url = run_url(workspace.settings.airflow_url, run.dag_id, run.run_id)
    told = tell(describe(url), SlackSender(model.spec), workspace.settings, workspace.clock())
    _log.info("alert: %s", told)


def _order(workspace: Workspace, reason: str | None) -> Order:
    """What this task of this run asks for; a second try of it finds its own work done."""
    from include.ratchet.rollout.transitions import Order

    context = get_current_context()
    run, task = context["dag_run"], context["ti"].task_id
    kind = run_kind(run)
    person = getattr(run, "triggering_user_name", None)
    actor = person if kind == "manual" and person else f"{kind} run"
    return Order(actor, reason or f"asked for by a {kind} run", workspace.clock(), once=f"{run.run_id}/{task}")


def _as_of(workspace: Workspace, model: Model, key: ModelKey) -> datetime:
    """The form's instant, or the newest record's, no later than the run."""
    from include.ratchet.pipeline.requests import read_instant
    from include.ratchet.rollout.actions import read_clock

    context = get_current_context()
    wanted = context["params"].get("as_of")
    if wanted:
        return read_instant(model.spec, wanted)
    limit = context.get("data_interval_end") or context["dag_run"].run_after
    return read_clock(workspace.settings, model, key, limit)
