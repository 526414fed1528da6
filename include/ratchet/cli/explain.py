"""What a version leans on, from the command line: now, and over a model's versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from include.ratchet.cli.output import JsonOption, console, emit, open_workspace, plain, say
from include.ratchet.cli.segments import KeyName, choose
from include.ratchet.errors import VersionNotFoundError

if TYPE_CHECKING:
    from include.ratchet.explanations.overview import Overview
    from include.ratchet.pipeline.workspace import Workspace
    from include.ratchet.registry.explained import Leaning
    from include.ratchet.registry.versions import Version
    from include.ratchet.spec import ModelKey

SHOWN = 12
"""Columns of a history that a terminal shows."""


def explain(
    model: KeyName,
    version: Annotated[int | None, typer.Option(min=1, help="Of this version, instead of the champion.")] = None,
    over_time: Annotated[
        bool, typer.Option("--over-time", help="Of every version, oldest first, with what moved from one to the next.")
    ] = False,
    last: Annotated[int, typer.Option(min=1, help="With --over-time: how many versions, the newest.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Say which columns a version leans on: mean Shapley values on its test rows, beside permutation importance.

    A single answer is explained by `./ratchet replay REQUEST_ID --explain`.

    Example: `./ratchet explain flight_delay --over-time`
    """
    from include.ratchet.registry.explained import read_leanings, read_overview

    if over_time and version is not None:
        message = f"found --version {version} with --over-time; expected one of the two"
        raise typer.BadParameter(message)
    workspace = open_workspace()
    chosen = choose(workspace, model)
    if over_time:
        leanings = read_leanings(chosen.model, chosen.single, workspace.settings, last)
        if as_json:
            emit([one.to_dict() for one in leanings])
        else:
            _show_history(leanings, chosen.key)
        return
    found = find_version(workspace, chosen.single, version)
    overview = read_overview(chosen.model, found, workspace.settings)
    if as_json:
        emit({"version": found.number, **overview.to_dict()})
    else:
        _show(found, overview)


def find_version(workspace: Workspace, key: ModelKey, number: int | None) -> Version:
    """The version that was named, or the champion."""
    from include.ratchet.registry.ledger import CHAMPION, read_aliases
    from include.ratchet.registry.versions import get_version

    if number is None:
        state = read_aliases(key, workspace.settings).get(CHAMPION)
        if state is None:
            message = f"{key} has no champion; name a version with --version, see ./ratchet history {key}"
            raise VersionNotFoundError(message)
        number = state.version
    return get_version(key, number, workspace.settings)


def _show(version: Version, overview: Overview) -> None:
    from include.ratchet.registry.trust import METHODS, SPACES

    title = f"{version}: mean size in {SPACES[overview.space]}, {METHODS[overview.method]}"
    table = Table("column", "mean size", "share", "interval", "lost when shuffled", title=title, title_justify="left")
    for one in overview.weights:
        lost = "" if one.lost is None else f"{one.lost:+.4f}"
        cells = (one.column, f"{one.size.value:.4g}", f"{one.share.value:.1%}",
                 f"{one.share.low:.1%} to {one.share.high:.1%}", lost)  # fmt: skip
        table.add_row(*map(plain, cells))
    console.print(table)
    say(f"{overview.rows} rows, against {overview.background} rows of the training set")
    if overview.note:
        say(f"asked from outside: {overview.note}")


def _show_history(leanings: Sequence[Leaning], key: ModelKey) -> None:
    if not leanings:
        say(f"no version of {key} has been judged yet")
        return
    sizes: dict[str, float] = {}
    for one in leanings:
        for weight in one.overview.weights if one.overview else ():
            sizes[weight.column] = max(sizes.get(weight.column, 0.0), weight.share.value)
    columns = sorted(sizes, key=lambda name: (-sizes[name], name))[:SHOWN]
    heads = [Column(plain(name)) for name in columns]
    table = Table("version", "as of", "verdict", *heads, title=f"{key}: share of each column", title_justify="left")
    for one in leanings:
        shares = {weight.column: f"{weight.share.value:.1%}" for weight in one.overview.weights} if one.overview else {}
        as_of = f"{one.as_of:%Y-%m-%d}" if one.as_of else ""
        cells = (str(one.version), as_of, one.outcome, *(shares.get(name, "") for name in columns))
        table.add_row(*map(plain, cells))
    console.print(table)
    for one in leanings:
        for shift in one.shifts:
            say(f"version {one.version}: {shift.column} moved from {shift.before:.1%} to {shift.after:.1%}")
