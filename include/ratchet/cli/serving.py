"""The prediction service: running one by itself, its API keys, and how much it bears."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from include.ratchet.cli.output import JsonOption, console, emit, open_workspace

keys = typer.Typer(help="API keys of the prediction service.", no_args_is_help=True)
KeyName = Annotated[str, typer.Argument(help="Of the key: who uses it.", show_default=False)]


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than the loopback asks for API keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8090,
    as_json: JsonOption = False,
) -> None:
    """Run a prediction service of its own, beside or without a stack, until Ctrl-C.

    Example: `./ratchet serve --port 8091`
    """
    settings = open_workspace().settings
    environ = {
        **os.environ, "RATCHET_SERVING_HOST": host, "RATCHET_SERVING_PORT": str(port),
        "RATCHET_HOME": str(settings.home), "RATCHET_DATABASE_URL": settings.database_url,
        "MLFLOW_TRACKING_URI": settings.mlflow_url,
        # A log has one service; the stack's own has the folder of that name.
        "RATCHET_SERVING_LOG": os.environ.get("RATCHET_SERVING_LOG", str(settings.home / f"serving-{port}")),
        "RATCHET_MASK_SECRET": os.environ.get("RATCHET_MASK_SECRET") or _stacks_secret(settings.home),
    }  # fmt: skip
    if as_json:
        emit({"url": f"http://{host}:{port}"})
    os.execve(sys.executable, [sys.executable, "-m", "include.ratchet.serving"], environ)  # noqa: S606


def _stacks_secret(home: Path) -> str:
    """What the home's stack masks with, so that the same value gets the same hash; nothing without a stack."""
    from include.ratchet.errors import StackError
    from include.ratchet.stack.layout import read_layout

    try:
        return read_layout(home).secrets.get("mask", "")
    except StackError:
        return ""


@keys.command("add")
def add(
    name: KeyName,
    scope: Annotated[
        list[str] | None, typer.Option(help="predict, feedback, metrics or admin; several may be given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key. It is shown once.

    Example: `./ratchet key add checkout --scope predict --scope feedback`
    """
    from include.ratchet.serving.keys import add_key

    workspace = open_workspace()
    key = add_key(name, scope or ["predict"], workspace.clock(), workspace.settings)
    if as_json:
        emit({"name": name, "key": key})
    else:
        sys.stdout.write(f"{key}\n")


@keys.command("remove")
def remove(name: KeyName, as_json: JsonOption = False) -> None:
    """Take a key back; it stops being taken within two seconds.

    Example: `./ratchet key remove checkout`
    """
    from include.ratchet.serving.keys import remove_key

    remove_key(name, open_workspace().settings)
    if as_json:
        emit({"removed": name})
    else:
        console.print(f"key {name} is taken back")


@keys.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """Name every key, with its scopes.

    Example: `./ratchet key list`
    """
    from include.ratchet.serving.keys import list_keys

    found = list_keys(open_workspace().settings)
    if as_json:
        emit([{"name": key.name, "scopes": key.scopes, "created_at": key.created_at} for key in found])
        return
    table = Table("name", "scopes", "since")
    for key in found:
        table.add_row(key.name, ", ".join(key.scopes), f"{key.created_at:%Y-%m-%d %H:%M}")
    console.print(table if found else "there is no key; ./ratchet key add NAME makes one")


def stress(
    model: Annotated[str, typer.Argument(help="Name of the model.", show_default=False)],
    url: Annotated[str | None, typer.Option(help="Of the service; without it that of the running stack.")] = None,
    connections: Annotated[str, typer.Option(help="How many at once, step after step.")] = "1,2,4,8,16,32,64",
    seconds: Annotated[float, typer.Option(help="Length of each step.", min=0.5)] = 5.0,
    rows: Annotated[int, typer.Option(help="Of each request.", min=1)] = 1,
    plot: Annotated[str | None, typer.Option(help="Draw the picture into this PNG.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what a running service bears: requests a second, latencies, and the knee, with real requests.

    The requests are recorded like any others: those of this command have ids that begin with `stress-`.

    Example: `./ratchet stress flight_delay --plot stress.png`
    """
    from include.ratchet.serving.stress import draw, find_knee, measure
    from include.ratchet.stack.layout import read_layout

    address = url or read_layout(open_workspace().settings.home).serving_url
    steps = measure(address, model, [int(one) for one in connections.split(",")], seconds, rows,
                    key=os.environ.get("RATCHET_API_KEY"), say=console.print)  # fmt: skip
    knee = find_knee(steps)
    if plot:
        draw(steps, knee, plot)
    if as_json:
        emit({"steps": [step.to_dict() for step in steps], "knee": knee.connections})
        return
    table = Table("connections", "requests/s", "p50 ms", "p95 ms", "p99 ms", "errors")
    for step in steps:
        mark = "[bold]" if step == knee else ""
        times = [f"{one:.1f}" for one in (step.p50_ms, step.p95_ms, step.p99_ms)]
        cells = [str(step.connections), f"{step.rate:,.0f}", *times, str(step.errors)]
        table.add_row(*(mark + cell for cell in cells))
    console.print(table)
    console.print(f"the knee is at {knee.connections} connections: more bring less than a tenth more requests a second")
