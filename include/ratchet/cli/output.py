"""How commands speak: people on standard error, scripts on standard output, long work with a bar."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from include.ratchet.data.connections import EnvironmentConnections, find_settings
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.settings import Settings
from include.ratchet.stack.control import read_status
from include.ratchet.stack.layout import read_layout

if TYPE_CHECKING:
    from include.ratchet.evaluation.verdict import Verdict

console = Console(stderr=True)
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def settings() -> Settings:
    """Where things are: with the stack's databases while it runs, with files of this folder otherwise."""
    own = find_settings(os.environ)
    if "RATCHET_DATABASE_URL" not in os.environ and read_status(own.home, with_memory=False).status == "healthy":
        return find_settings(read_layout(own.home).environment(os.environ))
    return own


def open_workspace() -> Workspace:
    """The installation as steps see it from the command line."""
    from include.ratchet.registry.database import upgrade

    own = settings()
    own.home.mkdir(parents=True, exist_ok=True)
    upgrade(own.database_url)
    return Workspace(own, EnvironmentConnections(os.environ), lambda: datetime.now(UTC))


def emit(content: Any) -> None:
    """Print a result for scripts."""
    sys.stdout.write(json.dumps(content, indent=2, default=str) + "\n")
    sys.stdout.flush()


def visible(value: object) -> str:
    """Text with every character that a terminal would obey instead of showing it written as an escape."""
    return "".join(one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode("ascii")
                   for one in str(value))  # fmt: skip


def plain(value: object) -> Text:
    """A cell of a table as it is: nothing in it is markup."""
    return Text(visible(value))


def say(words: object) -> None:
    """Print words of which nothing is markup."""
    console.print(visible(words), highlight=False, markup=False)


def wants_json() -> bool:
    """Whether this command was called with --json."""
    return "--json" in sys.argv


@contextmanager
def progress_bar() -> Iterator[Any]:
    """A bar with what is being done, how far it is, the rate and the time left; called as (what, done, total)."""
    columns = (
        TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        known: dict[str, Any] = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in known:
                known[what] = bar.add_task(what, total=total, rate="")
            speed = bar.tasks[known[what]].finished_speed or bar.tasks[known[what]].speed
            rate = f"{speed:.1f}/s" if speed and total > 1 else ""
            bar.update(known[what], completed=done, total=total, rate=rate)

        yield advance


def gate_table(verdict: Verdict) -> Table:
    """The gates, for a terminal."""
    table = Table("gate", "", "found", "expected", title=f"verdict: {verdict.outcome}", title_justify="left")
    for gate in verdict.gates:
        mark = "[green]pass[/]" if gate.passed else f"[red]{gate.refusal}[/]"
        table.add_row(gate.name, mark, gate.found, gate.expected)
    return table
