"""Handing a model's production over: where it stands, and every step by hand."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from include.ratchet.cli.output import JsonOption, console, emit, open_workspace, plain, say
from include.ratchet.cli.segments import Choice, KeyName, choose
from include.ratchet.errors import RolloutError
from include.ratchet.spec import ModelKey

if TYPE_CHECKING:
    from include.ratchet.pipeline.workspace import Workspace
    from include.ratchet.rollout.fleet import FleetOutcome
    from include.ratchet.rollout.orders import Order
    from include.ratchet.rollout.transitions import Outcome

Action = Literal["status", "look", "advance", "pause", "resume", "revert", "start"]
LISTED, SHOWN = 100, 20
"""Hand-overs of a model divided into segments that scripts and people are told one by one."""


def rollout(
    model: KeyName,
    action: Annotated[Action, typer.Argument(help="What to do; `look` decides on the evidence.")] = "status",
    version: Annotated[int | None, typer.Option(min=1, help="Of `start`: the version to hand over to.")] = None,
    as_of: Annotated[
        str | None,
        typer.Option(help="Know only what was known then: 2013-12-31. Up to the newest record, if left out."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept in the ledger.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how far production has passed to the next version, and move it on or back.

    Of a model divided into segments all that are being handed over, or the one that is named. `resume` with a reason
    lets them go on after too many went back.

    Example: `./ratchet rollout flight_delay revert --reason "complaints about Monday"`
    """
    import getpass
    from dataclasses import replace
    from uuid import uuid4

    from include.ratchet.rollout.orders import Order
    from include.ratchet.rollout.store import BY_HAND

    workspace = open_workspace()
    chosen = choose(workspace, model)
    if action == "status":
        show = _show_fleet if chosen.is_fleet else _show
        show(workspace, chosen.key, as_json=as_json)
        return
    order = Order(getpass.getuser(), reason or "from the command line", workspace.clock())
    if chosen.is_fleet and action != "start":
        named = replace(order, once=f"{BY_HAND}{uuid4().hex}")
        _tell_fleet(_act_on_all(workspace, chosen, action, as_of, named, reason), as_json=as_json)
        return
    outcome = _act(workspace, chosen.key, action, version, as_of, order)
    if as_json:
        emit({
            "action": outcome.decision.action, "reason": outcome.decision.reason, "is_moved": outcome.is_moved,
            "numbers": dict(outcome.decision.numbers), "state": outcome.state.to_dict() if outcome.state else None,
        })  # fmt: skip
    else:
        stage = f" ({outcome.state.at.name})" if outcome.state else ""
        console.print(f"[bold]{outcome.decision.action}[/]", end="")
        say(f"{stage}: {outcome.decision.reason}")


def _act(
    workspace: Workspace, key: ModelKey, action: Action, version: int | None, as_of: str | None, order: Order
) -> Outcome:
    from include.ratchet.rollout import actions

    if action == "start":
        return _start(workspace, key, version, as_of, order)
    if action == "revert":
        return _revert(workspace, key, order)
    now = partial(_instant, workspace, key, as_of)
    return actions.carry_out(action, workspace.settings, workspace.model(key.model), key, now, order)


def _act_on_all(
    workspace: Workspace, chosen: Choice, action: Action, as_of: str | None, order: Order, reason: str | None
) -> FleetOutcome:
    """Do it with every hand-over of a model divided into segments."""
    from include.ratchet.rollout.fleet import carry_out
    from include.ratchet.rollout.guard import check_reason

    if action == "resume":
        check_reason(workspace.settings, chosen.model, reason)
    now = partial(_instant_of_all, workspace, chosen, as_of)
    return carry_out(action, workspace.settings, chosen.model, now, order)


def _tell_fleet(found: FleetOutcome, *, as_json: bool) -> None:
    if as_json:
        failed = {key.segment: str(error) for key, error in found.failures.items()}
        emit({**found.to_dict(LISTED), "failures": failed})
    else:
        told = found.to_dict(SHOWN)
        say(told["reason"])
        table = Table("segment", "what", "stage", "why")
        for one in told["keys"]:
            table.add_row(*(plain(one[name]) for name in ("segment", "action", "stage", "reason")))
        if told["keys"]:
            console.print(table)
        for words in told["conflicts"].values():
            say(words)
    found.raise_for_failure()


def _revert(workspace: Workspace, key: ModelKey, order: Order) -> Outcome:
    """End the hand-over that is under way; without one, bring the previous champion back."""
    from include.ratchet.rollout import store
    from include.ratchet.rollout.machine import Decision
    from include.ratchet.rollout.revert import revert
    from include.ratchet.rollout.transitions import Outcome

    found = revert(workspace.settings, key, order)
    state = store.read(key, workspace.settings) if found.is_rollout else None
    return Outcome(Decision("revert", found.words), state, True)


def _start(workspace: Workspace, key: ModelKey, version: int | None, as_of: str | None, order: Order) -> Outcome:
    from include.ratchet.registry.ledger import AliasState
    from include.ratchet.registry.versions import get_version
    from include.ratchet.rollout import actions

    if version is None:
        message = f"start: found no version; expected one, such as ./ratchet rollout {key} start --version 3"
        raise RolloutError(message)
    found = get_version(key, version, workspace.settings)
    now, model = _instant(workspace, key, as_of), workspace.model(key.model)
    return actions.start(workspace.settings, model, key, AliasState(found.number, found.as_of), order, now)


def _instant(workspace: Workspace, key: ModelKey, as_of: str | None) -> datetime:
    from include.ratchet.pipeline.requests import read_instant
    from include.ratchet.rollout.actions import read_clock

    model = workspace.model(key.model)
    if as_of:
        return read_instant(model.spec, as_of)
    return read_clock(workspace.settings, model, key, workspace.clock())


def _instant_of_all(workspace: Workspace, chosen: Choice, as_of: str | None) -> datetime:
    from include.ratchet.pipeline.requests import read_instant
    from include.ratchet.rollout.fleet import read_clock

    if as_of:
        return read_instant(chosen.model.spec, as_of)
    return read_clock(workspace.settings, chosen.model, workspace.clock())


def _show_fleet(workspace: Workspace, pool: ModelKey, *, as_json: bool) -> None:
    """How many hand-overs stand how, whether they are stopped, and those that are under way."""
    from include.ratchet.registry.fleet import read_champions
    from include.ratchet.rollout import store
    from include.ratchet.rollout.guard import find_trip

    settings = workspace.settings
    counts, trip = store.count_statuses(pool.model, settings), find_trip(settings, pool.model)
    states, champions = store.read_fleet(pool.model, settings), read_champions(pool.model, settings)
    if as_json:
        emit({
            "champions": len(champions), "counts": counts, "stopped": trip.reason if trip else None,
            "states": [state.to_dict() for state in states[:LISTED]],
        })  # fmt: skip
        return
    told = ", ".join(f"{number} {status}" for status, number in counts.items())
    say(f"{len(champions)} champions; newest hand-overs: {told or 'none yet'}")
    if trip is not None:
        say(f'stopped: {trip.reason}; ./ratchet rollout {pool.model} resume --reason "..." lets them go on')
    table = Table("segment", "status", "champion", "challenger", "stage", "since", "why")
    for state in states[:SHOWN]:
        told_of = (state.key.segment, state.status, state.champion, state.challenger or "", state.at.name,
                   f"{state.stage_since:%Y-%m-%d %H:%M}", state.reason)  # fmt: skip
        table.add_row(*map(plain, told_of))
    if states:
        console.print(table)
    if len(states) > SHOWN:
        say(f"and {len(states) - SHOWN} more; ./ratchet rollout {pool.model}/SEGMENT shows one")


def _show(workspace: Workspace, key: ModelKey, *, as_json: bool) -> None:
    from include.ratchet.registry import ledger
    from include.ratchet.rollout import store
    from include.ratchet.rollout.words import facts_of, title_of

    state = store.read(key, workspace.settings)
    aliases = {alias: one.version for alias, one in ledger.read_aliases(key, workspace.settings).items()}
    if as_json:
        emit({"aliases": aliases, "state": state.to_dict() if state else None})
        return
    if state is None:
        say(f"no version of {key} has been handed over yet; its champion is {aliases.get('champion', 'none')}")
        return
    table = Table("", "", title=plain(title_of(state)), title_justify="left", show_header=False)
    shown: dict[str, Any] = {
        "status": state.status, "strategy": state.strategy,
        "stages": " > ".join(f"[{one.name}]" if one is state.at else one.name for one in state.stages),
        "since": f"{state.stage_since:%Y-%m-%d %H:%M}", "by": state.actor, "why": state.reason, **facts_of(state),
    }  # fmt: skip
    for name, value in shown.items():
        table.add_row(plain(name), plain(value))
    console.print(table)
