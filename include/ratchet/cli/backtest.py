"""Asking what would have happened under other policies of retraining."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table

from include.ratchet.cli.models import ModelName
from include.ratchet.cli.output import JsonOption, console, emit, open_workspace, progress_bar
from include.ratchet.spec import ModelKey

SHOWN = ("policy", "mean of days", "gain over never", "fits", "refused", "harmed", "missed")
"""Columns for a terminal; the report has all."""


def backtest(
    model: ModelName,
    first: Annotated[str, typer.Option("--from", help="Day of the first fit: 2013-03-01.")],
    last: Annotated[str, typer.Option("--to", help="The last day that is answered: 2013-12-31.")],
    policies: Annotated[
        str | None,
        typer.Option(help="Of never, nightly, weekly, monthly, Nd (such as 14d), drift, performance, both."),
    ] = None,
    candidate: Annotated[
        str | None, typer.Option(help="What is fitted. The champion's, or one that needs no parameter, if left out.")
    ] = None,
    param: Annotated[list[str] | None, typer.Option(help="Of the candidate: name=value. Repeat for more.")] = None,
    max_rows: Annotated[int, typer.Option(min=100, help="That one fit learns from, the newest ones.")] = 60_000,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; as many as there are cores.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay history under several policies of retraining, and say which one to take.

    Example: `./ratchet backtest flight_delay --from 2013-03-01 --to 2013-12-31 --policies never,weekly,performance`
    """
    from include.ratchet.monitoring.backtest.report import head_of, recommend, store_report, tabulate, to_json
    from include.ratchet.monitoring.backtest.run import DEFAULT, BacktestRequest, run_backtest

    workspace = open_workspace()
    spec = workspace.model(model).spec
    names = tuple(name.strip() for name in policies.split(",")) if policies else DEFAULT
    request = BacktestRequest(ModelKey(model), first, last, names, candidate, _read_params(param or []), max_rows)
    try:
        with progress_bar() as progress:
            result = run_backtest(workspace, request, progress, workers=workers or os.cpu_count() or 1)
    except ValueError as error:
        _refuse(error)
    found = recommend(result, spec)
    folder = store_report(workspace.settings, result, found)
    if as_json:
        emit({**json.loads(to_json(result, found)), "folder": f"{workspace.settings.store}/{folder}"})
        return
    shown = (*SHOWN, *([result.worth] if result.worth else []))
    table = Table(
        *shown, title=f"{result.metric}, {result.days[0]} to {result.days[-1]}", title_justify="left", box=None
    )
    for row in tabulate(result):
        told = dict(zip(head_of(result), row, strict=True))
        # The mean without its interval: a terminal has room for one, and the gain's decides.
        table.add_row(*(told[name].split()[0] if name == "mean of days" else told[name] for name in shown))
    console.print(table)
    console.print(found.reason, highlight=False, markup=False)
    console.print(f"\n{found.section}", highlight=False, markup=False)
    console.print(f"report: {workspace.settings.store}/{folder}", highlight=False, markup=False)


def _read_params(words: list[str]) -> dict[str, Any]:
    """Parameters as JSON reads them, text where it cannot.

    Raises:
        typer.BadParameter: a word is not `name=value`.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not name or not separator:
            message = f"--param: found {word!r}; expected name=value, such as C=0.1"
            raise typer.BadParameter(message)
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def _refuse(error: ValueError) -> NoReturn:
    """What the caller wrote is a usage error; what the engine found is its own.

    Raises:
        typer.BadParameter: in place of a plain ValueError.
    """
    from include.ratchet.errors import RatchetError

    if isinstance(error, RatchetError):
        raise error
    raise typer.BadParameter(str(error)) from error
