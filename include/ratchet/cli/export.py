"""What other tools read of a model, written into a folder: DVC's pointers and Feast's definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from include.ratchet.cli.explain import find_version
from include.ratchet.cli.models import ModelName
from include.ratchet.cli.output import JsonOption, console, emit, open_workspace, plain, say
from include.ratchet.cli.segments import KeyName, choose

exports = typer.Typer(help="Files for other tools: a snapshot for DVC, features for Feast.", no_args_is_help=True)
Folder = Annotated[Path, typer.Option("--to", help="Folder to write into; it is made if there is none.")]


@exports.command("dvc")
def point(
    model: KeyName,
    to: Folder,
    version: Annotated[int | None, typer.Option(min=1, help="Of this version, instead of the champion.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a `.dvc` file that points to the training set of a version, with its MD5.

    Example: `./ratchet export dvc flight_delay --to data`
    """
    from include.ratchet.data.snapshots import load_snapshot
    from include.ratchet.exports.dvc import write_pointer

    workspace = open_workspace()
    chosen = choose(workspace, model)
    found = find_version(workspace, chosen.single, version)
    pointer = write_pointer(found, load_snapshot(chosen.key.pool, found.lineage.snapshot, workspace.settings), to)
    if as_json:
        emit(pointer.to_dict())
        return
    say(f"{pointer.path} points to {pointer.address} ({pointer.size_bytes} bytes, MD5 {pointer.md5})")
    say(f"fetch it with: dvc update {pointer.path}")


@exports.command("feast")
def define(model: ModelName, to: Folder, as_json: JsonOption = False) -> None:
    """Write a Feast repository of the features that Feast can express, and say why it cannot the others.

    Example: `./ratchet export feast flight_delay --to feature_repo`
    """
    from include.ratchet.exports.feast import write_repository

    workspace = open_workspace()
    written = write_repository(workspace.model(model), to, workspace.settings)
    if as_json:
        emit(written.to_dict())
        return
    table = Table("feature", "in Feast", title=str(written.folder), title_justify="left")
    for view, names in written.views.items():
        for name in names:
            table.add_row(*map(plain, (name, f"view {view}, {written.rows[view]} rows")))
    for name, why in written.left_out.items():
        table.add_row(*map(plain, (name, f"no: {why}")))
    console.print(table)
