"""Answering recorded requests again, from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from include.ratchet.cli.output import JsonOption, console, emit, open_workspace
from include.ratchet.spec import Model, find_models

if TYPE_CHECKING:
    from include.ratchet.pipeline.workspace import Workspace
    from include.ratchet.replay import Selection
    from include.ratchet.replay.find import Origin


def replay(
    request_id: Annotated[
        str | None, typer.Argument(metavar="[REQUEST_ID]", help="Of the request, as its answer says.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL[/SEGMENT]",
            help="Whose records, or those of one of its segments: flight_delay/UA. Looked for, if left out.",
        ),
    ] = None,
    first: Annotated[str | None, typer.Option("--from", help="First event time: 2013-03-01.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Event time before which they lie: 2013-03-08.")] = None,
    with_version: Annotated[
        int | None,
        typer.Option(
            min=1, help="Ask this version too, of the segment that --model names; and say which answers would change."
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Of one request: say what each column contributed to its answers.")
    ] = False,
    batch: Annotated[bool, typer.Option("--batch", help="Records of batch scoring, not of requests.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Answer recorded requests again, bit for bit, and explain what differs. Exit status 1 if an answer does.

    Example: `./ratchet replay 6f1c0d52 --with-version 3`, or `./ratchet replay --from 2013-03-01 --to 2013-03-08`
    """
    from include.ratchet.pipeline.requests import read_instant
    from include.ratchet.replay import Selection
    from include.ratchet.replay import replay as answer_again
    from include.ratchet.replay.show import tables

    if explain and request_id is None:
        message = "--explain: found no REQUEST_ID; expected one, as answers are explained a request at a time"
        raise typer.BadParameter(message)
    workspace = open_workspace()
    origin: Origin | None = "scores" if batch else None
    name, _, segment = (model or "").partition("/")
    chosen = _choose_model(workspace, name or None, Selection(request_id, origin=origin) if request_id else None)
    if segment and chosen.spec.segments is None:
        message = f"found {model}; expected the model's name alone, as {name} is not divided into segments"
        raise typer.BadParameter(message)
    start, end = (read_instant(chosen.spec, text) if text else None for text in (first, last))
    try:
        selection = Selection(request_id, start, end, origin, segment or None)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    report = answer_again(workspace, chosen.name, selection, with_version, explain=explain)
    if as_json:
        emit(report.to_dict())
    else:
        for table in tables(report):
            console.print(table)
        console.print(report.summary(), highlight=False, markup=False)
    if not report.is_identical:
        raise SystemExit(1)


def _choose_model(workspace: Workspace, name: str | None, selection: Selection | None) -> Model:
    """The model that was named, the one that has the request, or the only one that there is.

    Raises:
        typer.BadParameter: none of these.
    """
    from include.ratchet.errors import RecordNotFoundError
    from include.ratchet.replay import find_records

    if name is not None:
        return workspace.model(name)
    names = [folder.name for folder in find_models(workspace.settings.models_dir)]
    if len(names) == 1:
        return workspace.model(names[0])
    listed = ", ".join(names) or "none"
    if selection is None:
        message = f"found models {listed}; expected --model with one of them"
        raise typer.BadParameter(message)
    for one in names:
        try:
            find_records(workspace.settings, workspace.model(one), selection)
        except RecordNotFoundError:
            continue
        return workspace.model(one)
    message = f"found no record of {selection} of any model ({listed}); --model names one, and says where it was looked"
    raise typer.BadParameter(message)
