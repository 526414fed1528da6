"""The tasks of a hand-over: look at the evidence, ask a person where the spec wants it, and say what came of it.

Imported whenever DAGs are parsed, so the engine is imported inside the functions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from airflow.sdk import Metadata, get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from include.ratchet.orchestration.assets import champion_asset
from include.ratchet.orchestration.links import link_model
from include.ratchet.orchestration.requests import actor_of, run_kind
from include.ratchet.orchestration.steps import APPROVE, open_workspace
from include.ratchet.spec import WHOLE, ModelKey

if TYPE_CHECKING:
    from datetime import datetime

    from include.ratchet.alerts.messages import Message
    from include.ratchet.pipeline.workspace import Workspace
    from include.ratchet.rollout.fleet import FleetOutcome
    from include.ratchet.rollout.orders import Order
    from include.ratchet.rollout.state import RolloutState
    from include.ratchet.rollout.transitions import Outcome
    from include.ratchet.spec import Model

Json = dict[str, Any]
CRON = "0 * * * *"
ACTIONS = (None, "look", "advance", "pause", "resume", "revert")
KEPT = 100
"""Keys of a model divided into segments that a task's result lists."""
_RETOLD = timedelta(days=1)
"""What a person moved elsewhere is told by the looks of so long afterwards, if it was not."""
_log = logging.getLogger(__name__)


def look(model: str) -> Json:
    """Look at the evidence and go on, wait, ask or go back; or do what the form says.

    Of a model divided into segments it takes every key that is being handed over, with one reading of the records, or
    the one that the form names; one that fails stops no other. A run is skipped while no version is being handed over.
    """
    from include.ratchet.rollout.guard import check_reason
    from include.ratchet.rollout.keys import find_key

    workspace, params = open_workspace(), get_current_context()["params"]
    one, order = workspace.model(model), _order(workspace, params.get("reason"))
    action, segment = params.get("action") or "look", params.get("segment")
    link_model(ModelKey(model, segment or WHOLE), workspace.settings, "overview")
    if one.spec.segments is not None and segment is None:
        if action == "resume":
            check_reason(workspace.settings, one, params.get("reason"))
        return _look_at_all(workspace, one, action, order)
    key = find_key(workspace.settings, one, segment)
    if action == "revert":
        return _revert(workspace, one, key, order)
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
    from include.ratchet.rollout import actions, store

    workspace = open_workspace()
    one = workspace.model(model)
    person = (approval.get("responded_by_user") or {}).get("name") or "nobody answered"
    order = replace(_order(workspace, None), actor=person)
    if "counts" in looked:
        return _answer_all(workspace, one, order, is_approved=approval["chosen_options"] == [APPROVE])
    key = ModelKey(model, get_current_context()["params"].get("segment") or ModelKey(model).segment)
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
    champions = {name: version for result in moved for name, version in result.get("champions", {}).items()}
    extra = {"champion": moved[-1]["champion"], "reason": moved[-1]["reason"]}
    yield Metadata(champion_asset(model), extra={**extra, "champions": champions} if champions else extra)


def _act(workspace: Workspace, model: Model, key: ModelKey, action: str, order: Order) -> Outcome:
    from include.ratchet.errors import LedgerConflictError
    from include.ratchet.rollout import actions

    now = partial(_as_of, workspace, model, key)
    try:
        return actions.carry_out(action, workspace.settings, model, key, now, order)
    except LedgerConflictError as error:
        # Another run was faster, on the same evidence.
        raise AirflowSkipException(str(error)) from error


def _look_at_all(workspace: Workspace, model: Model, action: str, order: Order) -> Json:
    """Do it with every hand-over of a model divided into segments, and say what came of them."""
    from include.ratchet.rollout import store
    from include.ratchet.rollout.fleet import carry_out
    from include.ratchet.rollout.words import describe_trip

    settings = workspace.settings
    if action == "revert" and not store.read_fleet(model.name, settings, order.once):
        return _revert(workspace, model, ModelKey(model.name), order)
    found = carry_out(action, settings, model, partial(_as_of_all, workspace, model), order)
    _tell_by_hand(workspace, model)
    if (trip := found.trip) is not None:
        _send(workspace, model, lambda url: [describe_trip(model.spec, trip, url)])
    return _report_all(workspace, model, found)


def _answer_all(workspace: Workspace, model: Model, order: Order, *, is_approved: bool) -> Json:
    """Do what the person said with every hand-over that this run asked about and that has not moved since."""
    from include.ratchet.rollout.fleet import answer as answer_all

    reason = f"approved by {order.actor}" if is_approved else "the hand-over was not approved"
    asked_by, as_of = f"{get_current_context()['dag_run'].run_id}/look", _as_of_all(workspace, model)
    told = replace(order, reason=reason)
    return _report_all(
        workspace, model, answer_all(workspace.settings, model, asked_by, as_of, told, is_approved=is_approved)
    )


def _revert(workspace: Workspace, model: Model, key: ModelKey, order: Order) -> Json:
    from include.ratchet.rollout import store
    from include.ratchet.rollout.machine import Decision
    from include.ratchet.rollout.revert import revert
    from include.ratchet.rollout.transitions import Outcome
    from include.ratchet.rollout.words import describe_reversal

    found = revert(workspace.settings, key, order)
    if found.is_rollout:
        state = store.read(key, workspace.settings)
        return _report(workspace, model, Outcome(Decision("revert", found.words), state, True))
    _send(workspace, model, lambda url: [describe_reversal(key, found, order, url)])
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


def _report_all(workspace: Workspace, model: Model, found: FleetOutcome) -> Json:
    """The same of many hand-overs; what failed unexpectedly fails the task once the others are told."""
    from include.ratchet.rollout.words import describe_all

    for outcome in found.outcomes:
        _log.info("%s: %s: %s", outcome.state.key if outcome.state else model.name, outcome.decision.action,
                  outcome.decision.reason)  # fmt: skip
    for outcomes in (found.earlier, found.outcomes):
        moved = [one.state for one in outcomes if one.is_moved and one.state]
        _send(workspace, model, partial(describe_all, model.spec, moved))
    found.raise_for_failure()
    if not found.done and not found.conflicts:
        message = f"no version of {model.name} is being handed over, or waits for this"
        raise AirflowSkipException(message)
    return found.to_dict(KEPT)


def _tell_by_hand(workspace: Workspace, model: Model) -> None:
    """Say what people have moved by other means than a run, once."""
    from include.ratchet.rollout import store
    from include.ratchet.rollout.words import describe_all

    states = store.read_by_hand(model.name, workspace.settings, workspace.clock() - _RETOLD)
    for once, alike in groupby(sorted(states, key=_name_of), key=_name_of):
        some = list(alike)
        if once:
            _send(workspace, model, partial(describe_all, model.spec, some, name=once))
        else:
            _send(workspace, model, partial(_describe_each, some))


def _describe_each(states: Sequence[RolloutState], url: str) -> list[Message]:
    from include.ratchet.rollout.words import describe

    return [describe(state, url) for state in states]


def _name_of(state: RolloutState) -> str:
    return state.once or ""


def _tell(workspace: Workspace, model: Model, outcome: Outcome) -> None:
    """Say what moved the hand-over last, once, also if an earlier run was cut off before it could."""
    from include.ratchet.rollout.words import describe

    state = outcome.state
    # What a training began, that training has told.
    if state is not None and (state.action != "start" or state.once is None):
        _send(workspace, model, lambda url: [describe(state, url)])


def _send(workspace: Workspace, model: Model, describe: Callable[[str], Sequence[Message]]) -> None:
    """Send messages about this run, each once."""
    from include.ratchet.alerts.outbox import tell
    from include.ratchet.orchestration.notify import SlackSender, run_url

    run = get_current_context()["dag_run"]
    url = run_url(workspace.settings.airflow_url, run.dag_id, run.run_id)
    for message in describe(url):
        told = tell(message, SlackSender(model.spec), workspace.settings, workspace.clock())
        _log.info("alert: %s", told)


def _order(workspace: Workspace, reason: str | None) -> Order:
    """What this task of this run asks for; a second try of it finds its own work done."""
    from include.ratchet.rollout.orders import Order

    context = get_current_context()
    run, task = context["dag_run"], context["ti"].task_id
    why = reason or f"asked for by a {run_kind(run)} run"
    return Order(actor_of(run), why, workspace.clock(), once=f"{run.run_id}/{task}")


def _as_of(workspace: Workspace, model: Model, key: ModelKey) -> datetime:
    """The form's instant, or the newest record's, no later than the run."""
    from include.ratchet.rollout.actions import read_clock

    wanted, limit = _times(model)
    return wanted or read_clock(workspace.settings, model, key, limit)


def _as_of_all(workspace: Workspace, model: Model) -> datetime:
    """The same for all keys of a model."""
    from include.ratchet.rollout.fleet import read_clock

    wanted, limit = _times(model)
    return wanted or read_clock(workspace.settings, model, limit)


def _times(model: Model) -> tuple[datetime | None, datetime]:
    """The form's instant, if it has one, and the run's own."""
    from include.ratchet.pipeline.requests import read_instant

    context = get_current_context()
    wanted = context["params"].get("as_of")
    limit = context.get("data_interval_end") or context["dag_run"].run_after
    return read_instant(model.spec, wanted) if wanted else None, limit
