"""The command line: one verb a command, `--json` for scripts, an example in every `--help`."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from include.ratchet.errors import RatchetError
from include.ratchet.settings import Settings, read_settings
from include.ratchet.stack.layout import Layout

app = typer.Typer(
    name="ratchet",
    help="Continuous training for machine-learning models on Apache Airflow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
console = Console(stderr=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
AirflowPort = Annotated[int | None, typer.Option(help="Port of Airflow; without it 8080, or a free one.")]
MlflowPort = Annotated[int | None, typer.Option(help="Port of MLflow; without it 5000, or a free one.")]
PostgresPort = Annotated[int | None, typer.Option(help="Port of PostgreSQL; without it 5433, or a free one.")]


def settings() -> Settings:
    """Settings of this process."""
    return read_settings(os.environ)


def emit(content: Any) -> None:
    """Print a result for scripts."""
    sys.stdout.write(json.dumps(content, indent=2, default=str) + "\n")


@app.command()
def up(
    airflow_port: AirflowPort = None,
    mlflow_port: MlflowPort = None,
    postgres_port: PostgresPort = None,
    detach: Annotated[bool, typer.Option(help="Return when everything is healthy.")] = False,
    plain: Annotated[bool, typer.Option(hidden=True)] = False,
    as_json: JsonOption = False,
) -> None:
    """Start PostgreSQL, MLflow and Airflow on this machine, and keep them running until Ctrl-C.

    Example: `./ratchet up --detach`
    """
    from include.ratchet.stack.control import read_status, run_stack, start_stack

    home = settings().home
    ports = {"airflow": airflow_port, "mlflow": mlflow_port, "postgres": postgres_port}
    wanted = {name: port for name, port in ports.items() if port is not None}
    if plain:
        run_stack(home, os.environ, wanted, lambda line: sys.stdout.write(line + "\n") and sys.stdout.flush())
    elif detach or read_status(home, with_memory=False).status != "stopped":
        layout = start_stack(home, os.environ, wanted, console.print)
        _introduce(layout, as_json)
    else:
        run_stack(home, os.environ, wanted, console.print, lambda layout: _introduce(layout, as_json))


def _introduce(layout: Layout, as_json: bool) -> None:
    if as_json:
        emit({"airflow_url": layout.airflow_url, "mlflow_url": layout.mlflow_url, "login": "admin"})
        return
    console.print(f"[bold]Airflow[/]  {layout.airflow_url}   login admin, password in {layout.home / 'passwords.json'}")
    console.print(f"[bold]MLflow[/]   {layout.mlflow_url}")


@app.command()
def down(as_json: JsonOption = False) -> None:
    """Stop everything that `up` or `demo` started.

    Example: `./ratchet down`
    """
    from include.ratchet.stack.control import stop_stack

    stopped = stop_stack(settings().home)
    if as_json:
        emit({"stopped": stopped})
    else:
        console.print("stopped" if stopped else "nothing was running")


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Say what runs, where, and how much memory it takes.

    Example: `./ratchet status --json`
    """
    from dataclasses import asdict

    from rich.table import Table

    from include.ratchet.stack.control import read_status

    found = read_status(settings().home)
    if as_json:
        emit({**asdict(found), "memory_mb": found.memory_mb})
        return
    console.print(f"[bold]{found.status}[/]  {found.airflow_url or ''}  {found.mlflow_url or ''}")
    if found.components:
        table = Table("component", "process", "restarts", "memory MB")
        for part in found.components:
            table.add_row(part.name, str(part.pid), str(part.restarts), f"{part.memory_mb:,.0f}")
        table.add_section()
        table.add_row("together", "", "", f"{found.memory_mb:,.0f}")
        console.print(table)


def main() -> None:
    """Run the command line; an error of the engine is one message and exit status 1, never a trace."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        app(prog_name=os.environ.get("RATCHET_PROGRAM", "ratchet"))
    except RatchetError as error:
        console.print(f"[bold red]{type(error).__name__}[/]: {error}", highlight=False)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
