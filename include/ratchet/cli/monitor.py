"""Watching a model from the command line: what was seen, and looking again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from include.ratchet.cli.output import JsonOption, console, emit, open_workspace, plain, progress_bar, say
from include.ratchet.cli.segments import Choice, KeyName, choose
from include.ratchet.spec import ModelSpec, Partition, partition_of, partitions_between

if TYPE_CHECKING:
    from include.ratchet.monitoring.causes import Group
    from include.ratchet.monitoring.incidents import Incident
    from include.ratchet.monitoring.signals import Look
    from include.ratchet.pipeline.workspace import Workspace

GROUPS, KEYS = 10, 30
"""Of a fleet, shown at a terminal."""


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

    Of a model divided into segments: its incidents by cause, and the keys with signals; `MODEL/SEGMENT` shows one key,
    `MODEL/all` the pooled model.

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
    fleet = _read_fleet(workspace, spec) if chosen.is_fleet else None
    if as_json:
        emit({
            "looks": [look.to_dict() for look in looks], "incidents": [one.to_dict() for one in incidents],
            "report": report, **(fleet.to_dict() if fleet else {}),
        })  # fmt: skip
        return
    if fleet is not None:
        _show_fleet(fleet, spec.name)
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
            watching.control(workspace, key.model, day.key)
            progress(f"looking at {day.key}", done, len(days))


def _draw(workspace: Workspace, look: Look) -> str | None:
    """Address of the drawn report; None if there is nothing to draw."""
    from include.ratchet.data.blobs import open_blobs
    from include.ratchet.monitoring.report import draw_report

    path = draw_report(workspace.settings, workspace.model(look.key.model), look)
    return None if path is None else open_blobs(workspace.settings).address(path)


@dataclass(frozen=True)
class Fleet:
    """What monitoring saw of a model's segments.

    Attributes:
        looks: at the newest partition, of every key.
        groups: incidents by their cause.
    """

    looks: tuple[Look, ...]
    groups: tuple[Group, ...]

    @property
    def moved(self) -> list[Look]:
        """The keys with signals, those with the most first."""
        return sorted((look for look in self.looks if look.fired), key=lambda look: (-len(look.fired), look.key))

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        causes = [
            {"cause": one.cause, "keys": [key.segment for key in one.keys], "open": one.is_open,
             "since": one.since.isoformat(), "worst": one.worst, "words": one.words}
            for one in self.groups
        ]  # fmt: skip
        signals = {look.key.segment: [one.words for one in look.fired] for look in self.moved}
        return {"keys": len(self.looks), "causes": causes, "signals": signals}


def _read_fleet(workspace: Workspace, spec: ModelSpec) -> Fleet:
    from include.ratchet.monitoring import causes, store

    newest = store.find_newest(spec.name, workspace.settings)
    looks = store.read_looks_at(spec.name, newest, workspace.settings) if newest else ()
    return Fleet(looks, tuple(causes.summarise(store.read_last_incidents(spec.name, workspace.settings).values())))


def _show_fleet(fleet: Fleet, model: str) -> None:
    if not fleet.looks:
        say(f"{model} has not been looked at yet; it is after its first records")
        return
    say(f"{fleet.looks[0].partition}: {len(fleet.looks)} keys, {len(fleet.moved)} with signals")
    for group in fleet.groups[:GROUPS]:
        say(str(group))
    if fleet.moved:
        console.print(draw_looks(fleet.moved[:KEYS], "key"))
    if len(fleet.moved) > KEYS:
        say(f"and {len(fleet.moved) - KEYS} more keys with signals; see them with --json")


def draw_looks(looks: Sequence[Look], first: Literal["partition", "key"] = "partition") -> Table:
    """Looks as a table, in their order; of one key by partition, or of one partition by key."""
    from include.ratchet.monitoring.words import facts_of

    every = [facts_of(look) for look in looks]
    told = ["champion", "rows", "labels", "metric", "estimated"]
    told += ["worth"] if any("worth" in one for one in every) else []
    table = Table(first, *told, "signals")
    for look, facts in zip(looks, every, strict=True):
        signals = "\n".join(f"{one.kind}: {one.words}" for one in look.fired)
        name = look.partition if first == "partition" else look.key.segment
        table.add_row(plain(name), *(plain(facts.get(name, "")) for name in told), plain(signals))
    return table


def _describe(incident: Incident) -> str:
    end = f"until {incident.closed_at:%Y-%m-%d}" if incident.closed_at else "open"
    return (
        f"incident {incident.number}, {', '.join(incident.kinds)}, since {incident.opened_at:%Y-%m-%d}, {end}: "
        f"{incident.words}"
    )
