"""Labels that people give: where they stand, taking them in, sending rows out, and deciding on them."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from include.ratchet.cli.models import ModelName
from include.ratchet.cli.output import JsonOption, console, emit, open_workspace, plain, say

if TYPE_CHECKING:
    from include.ratchet.labels.facts import LabelFacts
    from include.ratchet.labels.queue import Review
    from include.ratchet.pipeline.labelling import LabelSummary

labels = typer.Typer(help="Labels that people give: import, agreement, likely errors, review.", no_args_is_help=True)
AsOf = Annotated[str | None, typer.Option(help="With what was known then: 2013-12-31. Now, if left out.")]
RowKey = Annotated[str, typer.Argument(metavar="KEY", help="Of the row; of several keys, as a JSON list.")]


class Tool(StrEnum):
    """A labelling tool."""

    label_studio = "label_studio"
    doccano = "doccano"


class Rows(StrEnum):
    """Which rows are sent out."""

    queue = "queue"
    sample = "sample"


@labels.command("show")
def show(model: ModelName, as_of: AsOf = None, as_json: JsonOption = False) -> None:
    """Show classes, labellers, how far they agree, what people reach, and the review queue.

    Example: `./ratchet labels show flight_delay --as-of 2013-12-31`
    """
    from include.ratchet.pipeline.labelling import summarise_labels
    from include.ratchet.pipeline.requests import read_instant

    workspace = open_workspace()
    found = workspace.model(model)
    summary = summarise_labels(workspace, found, read_instant(found.spec, as_of) if as_of else workspace.clock())
    if as_json:
        emit(summary.to_dict())
    else:
        _show_summary(summary)


@labels.command("import")
def take(
    model: ModelName,
    files: Annotated[list[Path], typer.Argument(help="Exports of the tool: .json, .jsonl or .zip.")],
    tool: Annotated[Tool | None, typer.Option(help="That wrote them; guessed from the ending if left out.")] = None,
    labeller: Annotated[str | None, typer.Option(help="Who labelled, whatever the files say.")] = None,
    field: Annotated[str | None, typer.Option(help="Control that holds the label, if it is not named so.")] = None,
    at: Annotated[
        str | None, typer.Option(help="When it was said, for files that do not tell. Now, if left out.")
    ] = None,
    review: Annotated[bool, typer.Option("--review", help="What the files say settles a row, above the rule.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Import labels from files of Label Studio or doccano: all that is in them, or nothing.

    Example: `./ratchet labels import order_returns ana.jsonl bo.jsonl`
    """
    from include.ratchet.labels.intake import Intake
    from include.ratchet.pipeline.labelling import import_labels
    from include.ratchet.pipeline.requests import read_instant

    workspace = open_workspace()
    found = workspace.model(model)
    moment = read_instant(found.spec, at) if at else None
    intake = Intake(tool.value if tool else None, labeller, field, moment, review)
    report = import_labels(workspace, found, files, intake)
    if as_json:
        emit({"added": report.added, "known": report.known, "open": report.open, "labellers": report.labellers})
        return
    who = ", ".join(f"{name} {count}" for name, count in report.labellers.items())
    say(
        f"{report.added} labels added{f' ({who})' if who else ''}, {report.known} known already, "
        f"{report.open} left open"
    )


@labels.command("find")
def find(model: ModelName, as_of: AsOf = None, as_json: JsonOption = False) -> None:
    """Look for conflicts and likely label errors in the training set, and put them into the review queue.

    Example: `./ratchet labels find order_returns`
    """
    from include.ratchet.pipeline.labelling import find_errors
    from include.ratchet.pipeline.requests import read_instant

    workspace = open_workspace()
    found = workspace.model(model)
    report = find_errors(workspace, found, read_instant(found.spec, as_of) if as_of else workspace.clock())
    if as_json:
        emit(asdict(report))
    else:
        say(f"{report.rows} rows: {report.conflicts} conflicts, {report.suspects} likely errors; {report.added} joined "
            f"the queue, see ./ratchet labels queue {model}")  # fmt: skip


@labels.command("queue")
def queue(
    model: ModelName,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Show the rows whose label a person should look at, the worst first.

    Example: `./ratchet labels queue order_returns`
    """
    from include.ratchet.pipeline.labelling import read_queue

    workspace = open_workspace()
    found = read_queue(workspace, workspace.model(model))
    if as_json:
        emit([one.to_dict() for one in found[:limit]])
    elif not found:
        say(f"nothing waits; ./ratchet labels find {model} looks for errors")
    else:
        console.print(_draw_queue(found[:limit]))
        say(f"{len(found)} rows wait")


@labels.command("review")
def review(
    model: ModelName,
    key: RowKey,
    value: Annotated[str | None, typer.Option(help="The label; without it, the one that it has is confirmed.")] = None,
    by: Annotated[str | None, typer.Option(help="Who decides; your login if left out.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Decide on one row; what is decided stands above the rule, and what was said before is kept.

    Example: `./ratchet labels review order_returns 2026-02-03-0017 --value true`
    """
    import getpass

    from include.ratchet.pipeline.labelling import review_row

    workspace = open_workspace()
    who = by or getpass.getuser()
    found = review_row(workspace, workspace.model(model), key, value, who)
    if as_json:
        emit({"key": key, "by": who, "review": found.to_dict() if found else None})
    else:
        say(
            f"{key} is {found.state} by {who}"
            if found
            else f"{key} is {value or 'confirmed'} by {who}; it was not in the queue"
        )


@labels.command("history")
def history(model: ModelName, key: RowKey, as_json: JsonOption = False) -> None:
    """Tell all that was said of one row: who, when, with what, and what came of it.

    Example: `./ratchet labels history order_returns 2026-02-03-0017`
    """
    from include.ratchet.labels.tasks import write_choice
    from include.ratchet.pipeline.labelling import read_row

    workspace = open_workspace()
    found = read_row(workspace, workspace.model(model), key)
    if as_json:
        emit(found.to_dict())
        return
    table = Table("when", "labeller", "label", "with")
    for one in found.said:
        name = f"{one.labeller} (review)" if one.is_review else one.labeller
        said = "taken back" if one.value is None else write_choice(one.value)
        table.add_row(*map(plain, (f"{one.annotated_at:%Y-%m-%d %H:%M}", name, said, one.tool)))
    console.print(table)
    ruling = found.ruling
    if ruling is None:
        say("nobody has said anything but the source")
    elif ruling.value is None:
        say(f"no label: {ruling.reason}")
    else:
        say(f"label {write_choice(ruling.value)} since {ruling.since:%Y-%m-%d %H:%M}")


@labels.command("export")
def export(
    model: ModelName,
    out: Annotated[Path, typer.Argument(help="File to write: .json for Label Studio, .jsonl for doccano.")],
    rows: Annotated[Rows, typer.Option(help="The review queue, or a sample of rows nobody has labelled.")] = Rows.queue,
    count: Annotated[int, typer.Option(min=1, help="At most so many.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    suggest: Annotated[bool, typer.Option("--suggest", help="Show labellers what the model suggests.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write rows as tasks that a labelling tool imports; what comes back finds its rows by itself.

    Example: `./ratchet labels export order_returns tasks.json`
    """
    from include.ratchet.labels import doccano, label_studio
    from include.ratchet.labels.tasks import write_choice
    from include.ratchet.pipeline.labelling import choose_tasks, classes_of

    if out.suffix not in (".json", ".jsonl"):
        message = f"found {out.name!r}; expected a name that ends with .json (Label Studio) or .jsonl (doccano)"
        raise typer.BadParameter(message)
    workspace = open_workspace()
    found = workspace.model(model)
    tasks, column = (
        choose_tasks(workspace, found, rows.value, count, suggest=suggest, seed=seed),
        found.spec.label.column,
    )
    written = [out]
    if out.suffix == ".jsonl":
        out.write_text(doccano.write_tasks(tasks), encoding="utf-8")
    else:
        classes = classes_of(workspace, found)
        out.write_text(label_studio.write_tasks(tasks, column, "choices" if classes else "number"), encoding="utf-8")
        written.append(out.with_suffix(".xml"))
        names = [write_choice(one) for one in classes] if classes else None
        written[-1].write_text(label_studio.write_config(column, names), encoding="utf-8")
    if as_json:
        emit({"tasks": len(tasks), "files": list(map(str, written))})
    else:
        say(f"{len(tasks)} tasks in {' and '.join(map(str, written))}")


def _show_summary(summary: LabelSummary) -> None:
    _show_facts(summary.facts)
    if summary.problem:
        say(summary.problem)
    for reason, rows in summary.unresolved.items():
        say(f"{rows} rows without a label: {reason}")
    if summary.queue:
        say("review queue: " + ", ".join(f"{rows} {state}" for state, rows in summary.queue.items()))


def _show_facts(facts: LabelFacts) -> None:
    if facts.balance is not None:
        table = Table("class", "rows", "share", "test rows", "effective test rows")
        for one in facts.balance.classes:
            cells = (one.name, one.rows, f"{one.share:.1%}", one.test_rows, f"{one.effective_rows:.0f}")
            table.add_row(*map(plain, cells))
        console.print(table)
        if facts.balance.rare:
            say(f"rare, with fewer than {facts.balance.rare_below} test rows: {', '.join(facts.balance.rare)}")
    if facts.agreement is not None:
        said = facts.agreement
        say("labellers: " + (", ".join(f"{name} {rows}" for name, rows in said.labelled.items()) or "only the source"))
        say(f"Krippendorff's alpha of people: {said.alpha or 'not defined'}, on {said.rows} rows")
        for pair in said.pairs:
            say(f"  {pair.one} and {pair.other}: {pair.alpha or 'not defined'}, on {pair.rows} rows")
    if facts.human is not None:
        say(f"people reach {facts.human.metric} {facts.human.value} against each other, on {facts.human.rows} rows")


def _draw_queue(reviews: list[Review]) -> Table:
    from include.ratchet.labels.tasks import write_choice

    table = Table("key", "why", "label", "suggested", "score")
    for one in reviews:
        is_error = one.reason == "likely error"
        label, suggested = ("" if value is None else write_choice(value) for value in (one.given, one.suggested))
        table.add_row(*map(plain, (one.key, one.reason, label, suggested, f"{one.score:.3f}" if is_error else "")))
    return table
