"""Watching a model from the command line: what was seen, and looking again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from include.ratchet.cli.output import JsonOption, console, emit, open_workspace, plain, progress_bar, say
from include.ratchet.cli.segments import Choice, KeyName, choose
from include.ratchet.spec import Partition, partition_of, partitions_between

if TYPE_CHECKING:
    from include.ratchet.monitoring.incidents import Incident
    from include.ratchet.monitoring.signals import Look
    from include.ratchet.pipeline.workspace import Workspace


def monitor(
    model: KeyName,
    first: Annotated[
        str | None,
        typer.Option("--from", help="Look at this partition again: 2013-12-01."),
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last partition of a range, included.")] = None,
    count: Annotated[int, typer.Option("--last", min=1, help="How many looks are shown.")] = 14,
    draw: Annotated[
        bool, typer.Option(help="Draw Evidently's report of the newest look, and say where it is.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what monitoring saw: rows, labels, metric, signals and incidents; or look at partitions again.

    Looking again asks for no retraining and tells nobody. Each partition is seen as of its end and the time that
    labels may take.

    Example: `./ratchet monitor flight_delay --from 2013-12-01 --to 2013-12-31`
    """
    from include.ratchet.monitoring import store

    workspace = open_workspace()
    chosen = choose(workspace, model)
    spec, key = chosen.model.spec, chosen.key
    until = datetime.max.replace(tzinfo=UTC)
    if first is not None:
        days = list(partitions_between(spec, partition_of(spec, first), partition_of(spec, last or first)))
        _look_again(workspace, chosen, days)
        until, count = days[-1].end, max(count, len(days))
    looks = store.read_looks(key, until, count, workspace.settings)
    incidents = store.read_incidents(key, workspace.settings)
    report = _draw(workspace, looks[-1]) if draw and looks else None
    if as_json:
        emit({
            "looks": [look.to_dict() for look in looks], "incidents": [one.to_dict() for one in incidents],
            "report": report,
        })  # fmt: skip
        return
    if looks:
        console.print(draw_looks(looks))
    else:
        say(f"{key} has not been looked at yet; it is after its first records")
    for one in incidents[-5:]:
        say(_describe(one))
    if report is not None:
        say(f"report of {looks[-1].partition}: {report}")


def _look_again(workspace: Workspace, chosen: Choice, days: Sequence[Partition]) -> None:
    from include.ratchet.monitoring import monitor as watching

    lateness, key = chosen.model.spec.label.lateness, chosen.key
    keys = watching.keys_of(workspace.settings, key.model) if chosen.is_fleet else (key,)
    segments = [one.segment for one in keys]
    with progress_bar() as progress:
        for done, day in enumerate(days, start=1):
            as_of = min(workspace.clock(), day.end + lateness)
            watching.profile(workspace, key.model, segments, day.key, as_of)
            watching.compare(workspace, key.model, segments, day.key)
            progress(f"looking at {day.key}", done, len(days))


def _draw(workspace: Workspace, look: Look) -> str | None:
    """Address of the drawn report; None if there is nothing to draw."""
    from include.ratchet.data.blobs import open_blobs
    from include.ratchet.monitoring.report import draw_report

    path = draw_report(workspace.settings, workspace.model(look.key.model), look)
    return None if path is None else open_blobs(workspace.settings).address(path)


def draw_looks(looks: Sequence[Look]) -> Table:
    """Looks as a table, oldest first."""
    from include.ratchet.monitoring.words import facts_of

    table = Table("partition", "champion", "rows", "labels", "metric", "estimated", "signals")
    for look in looks:
        facts = facts_of(look)
        signals = "\n".join(f"{one.kind}: {one.words}" for one in look.fired)
        told = ("champion", "rows", "labels", "metric", "estimated")
        table.add_row(look.partition, *(plain(facts.get(name, "")) for name in told), plain(signals))
    return table


def _describe(incident: Incident) -> str:
    end = f"until {incident.closed_at:%Y-%m-%d}" if incident.closed_at else "open"
    return (
        f"incident {incident.number}, {', '.join(incident.kinds)}, since {incident.opened_at:%Y-%m-%d}, {end}: "
        f"{incident.words}"
    )
