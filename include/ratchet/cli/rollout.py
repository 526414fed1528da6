"""Handing a model's production over: where it stands, and every step by hand."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from include.ratchet.cli.models import ModelName
from include.ratchet.cli.output import JsonOption, console, emit, open_workspace
from include.ratchet.errors import RolloutError
from include.ratchet.spec import ModelKey

if TYPE_CHECKING:
    from include.ratchet.pipeline.workspace import Workspace
    from include.ratchet.rollout.transitions import Order, Outcome

Action = Literal["status", "look", "advance", "pause", "resume", "revert", "start"]


def rollout(
    model: ModelName,
    action: Annotated[Action, typer.Argument(help="What to do; `look` decides on the evidence.")] = "status",
    version: Annotated[int | None, typer.Option(min=1, help="Of `start`: the version to hand over to.")] = None,
    as_of: Annotated[
        str | None,
        typer.Option(help="Know only what was known then: 2013-12-31. Up to the newest record, if left out."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the ledger.")] = "from the command line",
    as_json: JsonOption = False,
) -> None:
    """Tell how far production has passed to the next version, and move it on or back.

    Example: `./ratchet rollout flight_delay revert --reason "complaints about Monday"`
    """
    import getpass

    from include.ratchet.rollout.transitions import Order

    workspace, key = open_workspace(), ModelKey(model)
    workspace.model(model)
    if action == "status":
        _show(workspace, key, as_json=as_json)
        return
    order = Order(getpass.getuser(), reason, workspace.clock())
    outcome = _act(workspace, key, action, version, as_of, order)
    if as_json:
        emit({
            "action": outcome.decision.action, "reason": outcome.decision.reason, "is_moved": outcome.is_moved,
            "numbers": dict(outcome.decision.numbers), "state": outcome.state.to_dict() if outcome.state else None,
        })  # fmt: skip
    else:
        stage = f" ({outcome.state.at.name})" if outcome.state else ""
        console.print(f"[bold]{outcome.decision.action}[/]{stage}: ", end="")
        console.print(outcome.decision.reason, highlight=False, markup=False)


def _act(
    workspace: Workspace, key: ModelKey, action: Action, version: int | None, as_of: str | None, order: Order
) -> Outcome:
    from include.ratchet.rollout import actions

    settings, model = workspace.settings, workspace.model(key.model)
    if action == "start":
        return _start(workspace, key, version, as_of, order)
    if action == "pause":
        return actions.pause(settings, key, order)
    if action == "resume":
        return actions.resume(settings, key, order)
    if action == "revert":
        return _revert(workspace, key, order)
    move = actions.advance if action == "advance" else actions.step
    return move(settings, model, key, _instant(workspace, key, as_of), order)


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
        message = f"start: found no version; expected one, such as ./ratchet rollout {key.model} start --version 3"
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
        console.print(
            f"no version of {key} has been handed over yet; its champion is {aliases.get('champion', 'none')}"
        )
        return
    table = Table("", "", title=title_of(state), title_justify="left", show_header=False)
    shown: dict[str, Any] = {
        "status": state.status, "strategy": state.strategy,
        "stages": " > ".join(f"[{one.name}]" if one is state.at else one.name for one in state.stages),
        "since": f"{state.stage_since:%Y-%m-%d %H:%M}", "by": state.actor, "why": state.reason, **facts_of(state),
    }  # fmt: skip
    for name, value in shown.items():
        table.add_row(name, str(value).replace("[", "\\["))
    console.print(table)
