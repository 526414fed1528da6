"""Starting, stopping and looking at the embedded stack."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from include.ratchet.cli.output import JsonOption, console, emit
from include.ratchet.data.connections import find_settings
from include.ratchet.settings import PROJECT, read_settings
from include.ratchet.stack.layout import LOGIN, Layout

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


def secrets(
    path: Annotated[Path, typer.Option(help="The file that Docker Compose reads.")] = PROJECT / ".env",
    as_json: JsonOption = False,
) -> None:
    """Write what docker-compose.yaml asks for into .env; what the file has already stays.

    Example: `./ratchet secrets`
    """
    from include.ratchet.stack.secrets import write_secrets

    added = write_secrets(path)
    if as_json:
        emit({"path": str(path), "added": added})
    else:
        console.print(f"{path}: {f'made {len(added)} secrets' if added else 'has all secrets already'}")


def prepare(as_json: JsonOption = False) -> None:
    """Bring schemas, rights, the bucket and the first user up to date, before the parts of a stack start.

    Example: `./ratchet prepare`
    """
    from include.ratchet.stack.prepare import prepare as prepare_stack

    done: list[str] = []

    def note(step: str) -> None:
        done.append(step)
        console.print(step)

    prepare_stack(find_settings(os.environ), os.environ, datetime.now(UTC), note)
    if as_json:
        emit({"done": done})


def configure(
    path: Annotated[Path, typer.Argument(help="In Astronomer's format.")] = PROJECT / "airflow_settings.yaml",
    url: Annotated[str | None, typer.Option(help="Of an Airflow; without it that of the running stack.")] = None,
    user: Annotated[str, typer.Option(help="Its login; the password is read from AIRFLOW_ADMIN_PASSWORD.")] = LOGIN,
    as_json: JsonOption = False,
) -> None:
    """Apply the connections, pools and variables of airflow_settings.yaml to a running Airflow.

    Example: `./ratchet configure --url http://localhost:8080`
    """
    from include.ratchet.stack.airflow_settings import apply_airflow_settings, read_airflow_settings
    from include.ratchet.stack.client import AirflowClient
    from include.ratchet.stack.layout import read_layout

    wanted = read_airflow_settings(path, os.environ)
    if url is None:
        client = AirflowClient.of(read_layout(read_settings(os.environ).home))
    else:
        client = AirflowClient(url, user, os.environ.get("AIRFLOW_ADMIN_PASSWORD", ""))
    with client:
        apply_airflow_settings(client, wanted)
    if as_json:
        emit({"applied": {kind: len(bodies) for kind, bodies in wanted.bodies.items()}, "left_out": wanted.left_out})
        return
    for line in wanted.left_out:
        console.print(line)
    console.print(", ".join(f"{len(bodies)} {kind}" for kind, bodies in wanted.bodies.items()) + " applied")
