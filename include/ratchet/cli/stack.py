"""Starting, stopping and looking at the embedded stack."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.console import Console

from include.ratchet.cli.output import JsonOption, console, emit
from include.ratchet.settings import read_settings
from include.ratchet.stack.layout import Layout

AirflowPort = Annotated[int | None, typer.Option(help="Port of Airflow; without it 8080, or a free one.")]
MlflowPort = Annotated[int | None, typer.Option(help="Port of MLflow; without it 5000, or a free one.")]
ServingPort = Annotated[int | None, typer.Option(help="Port of the predictions; without it 8090, or a free one.")]
PostgresPort = Annotated[int | None, typer.Option(help="Port of PostgreSQL; without it 5433, or a free one.")]


def up(
    airflow_port: AirflowPort = None,
    mlflow_port: MlflowPort = None,
    postgres_port: PostgresPort = None,
    serving_port: ServingPort = None,
    detach: Annotated[bool, typer.Option(help="Return when everything is healthy.")] = False,
    plain: Annotated[bool, typer.Option(hidden=True)] = False,
    as_json: JsonOption = False,
) -> None:
    """Start PostgreSQL, MLflow, Airflow and the predictions on this machine, and keep them running until Ctrl-C.

    Example: `./ratchet up --detach`
    """
    from include.ratchet.stack.control import read_status, run_stack, start_stack

    home = read_settings(os.environ).home
    ports = {"airflow": airflow_port, "mlflow": mlflow_port, "postgres": postgres_port, "serving": serving_port}
    wanted = {name: port for name, port in ports.items() if port is not None}
    if plain:
        run_stack(home, os.environ, wanted, Console(width=1000, highlight=False).print)
    elif detach or read_status(home, with_memory=False).status != "stopped":
        layout = start_stack(home, os.environ, wanted, console.print)
        _introduce(layout, as_json)
    else:
        run_stack(home, os.environ, wanted, console.print, lambda layout: _introduce(layout, as_json))


def _introduce(layout: Layout, as_json: bool) -> None:
    if as_json:
        emit({
            "airflow_url": layout.airflow_url, "mlflow_url": layout.mlflow_url, "serving_url": layout.serving_url,
            "login": "admin",
        })  # fmt: skip
        return
    console.print(f"[bold]Airflow[/]  {layout.airflow_url}   login admin, password in {layout.home / 'passwords.json'}")
    console.print(f"[bold]MLflow[/]   {layout.mlflow_url}")
    console.print(f"[bold]Serving[/]  {layout.serving_url}/docs")


def down(as_json: JsonOption = False) -> None:
    """Stop everything that `up` or `demo` started.

    Example: `./ratchet down`
    """
    from include.ratchet.stack.control import stop_stack

    stopped = stop_stack(read_settings(os.environ).home)
    if as_json:
        emit({"stopped": stopped})
    else:
        console.print("stopped" if stopped else "nothing was running")


def status(as_json: JsonOption = False) -> None:
    """Say what runs, where, and how much memory it takes.

    Example: `./ratchet status --json`
    """
    from dataclasses import asdict

    from rich.table import Table

    from include.ratchet.stack.control import read_status

    found = read_status(read_settings(os.environ).home)
    if as_json:
        emit({**asdict(found), "memory_mb": found.memory_mb})
        return
    addresses = (found.airflow_url, found.mlflow_url, found.serving_url)
    console.print(f"[bold]{found.status}[/]  {'  '.join(address for address in addresses if address)}")
    if found.components:
        table = Table("component", "process", "restarts", "memory MB")
        for part in found.components:
            table.add_row(part.name, str(part.pid), str(part.restarts), f"{part.memory_mb:,.0f}")
        table.add_section()
        table.add_row("together", "", "", f"{found.memory_mb:,.0f}")
        console.print(table)
