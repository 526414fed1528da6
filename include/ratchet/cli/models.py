"""Working with one model: checking and making its spec, running, backfilling, reproducing and reverting it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from include.ratchet.cli.output import JsonOption, console, emit, gate_table, open_workspace, progress_bar, settings
from include.ratchet.errors import SpecError
from include.ratchet.spec import ModelKey, get_model, load_models
from include.ratchet.spec.training import Strategy

ModelName = Annotated[str, typer.Argument(help="Name of the model: its folder in include/models.", show_default=False)]


def check(
    model: Annotated[str | None, typer.Argument(help="Only this model.")] = None, as_json: JsonOption = False
) -> None:
    """Say of every spec whether it is valid, and what is wrong, where, and what to do.

    Example: `./ratchet check flight_delay`
    """
    from include.ratchet.pipeline.check import check_model

    models_dir = settings().models_dir
    found = load_models(models_dir) if model is None else {model: get_model(models_dir, model)}
    problems: dict[str, str | None] = {}
    for name, one in found.items():
        try:
            if isinstance(one, SpecError):
                raise one
            check_model(one)
            problems[name] = None
        except SpecError as error:
            problems[name] = str(error)
    if as_json:
        emit({name: {"valid": problem is None, "problem": problem} for name, problem in problems.items()})
    else:
        for name, problem in problems.items():
            console.print(f"[green]valid[/]    {name}" if problem is None else f"[red]not valid[/] {name}")
            if problem is not None:
                console.print(problem, highlight=False, markup=False)
        if not found:
            console.print(f"no model in {models_dir}; ./ratchet new NAME makes one")
    if any(problem is not None for problem in problems.values()):
        raise SystemExit(1)


def new(name: Annotated[str, typer.Argument(help="Of the model, such as order_returns.")],
        as_json: JsonOption = False) -> None:  # fmt: skip
    """Make a model's folder with a spec, features, an estimator and a source that run as they are.

    Example: `./ratchet new order_returns`
    """
    from include.ratchet.spec.scaffold import make_model

    folder = make_model(settings().models_dir, name)
    if as_json:
        emit({"folder": str(folder)})
        return
    console.print(f"made {folder}")
    console.print(f"next: read model.yaml there, then ./ratchet check {name} and ./ratchet run {name}")


def run(
    model: ModelName,
    as_of: Annotated[
        str | None, typer.Option(help="Know only what was known then: 2013-12-31. Now, if left out.")
    ] = None,
    window: Annotated[str | None, typer.Option(help="How far back, such as 180d, instead of the spec's.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Budget of the search, instead of the spec's.")] = None,
    strategy: Annotated[Strategy | None, typer.Option(help="Of the search, instead of the spec's.")] = None,
    force: Annotated[bool, typer.Option(help="Train even if nothing has changed.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the version.")] = "run from the command line",
    as_json: JsonOption = False,
) -> None:
    """Ingest what is missing, train, judge and promote, all in this process and without Airflow.

    Example: `./ratchet run flight_delay --as-of 2013-07-01 --trials 6`
    """
    from include.ratchet.pipeline.local import now_at_partition, run_model
    from include.ratchet.pipeline.requests import TrainingRequest, read_instant
    from include.ratchet.pipeline.updates import choose_base
    from include.ratchet.spec import parse_duration

    workspace = open_workspace()
    found = workspace.model(model)
    now = workspace.clock()
    request = TrainingRequest(
        key=ModelKey(model),
        training_id=f"local__{now:%Y-%m-%dT%H%M%S.%f}",
        as_of=read_instant(found.spec, as_of) if as_of else now_at_partition(found, now),
        window=parse_duration(window) if window else None,
        strategy=strategy,
        trials=trials,
        force=force,
        reason=reason,
    )
    with progress_bar() as progress:
        result = run_model(workspace, found, choose_base(workspace, request), progress)
    if as_json:
        emit({
            "version": result.version.number if result.version else None,
            "verdict": result.verdict.to_dict() if result.verdict else None,
            "promotion": asdict(result.promotion) if result.promotion else None,
            "reason": result.reason,
        })  # fmt: skip
    elif result.verdict and result.version:
        console.print(gate_table(result.verdict))
        _print_metrics(result.version.metrics)
        console.print(f"[bold]{result.version}[/] {result.promotion.reason if result.promotion else ''}")
    else:
        console.print(f"nothing trained: {result.reason}")
    if result.verdict is not None and result.verdict.outcome == "reject":
        raise SystemExit(2)


def backfill(
    model: ModelName,
    first: Annotated[str, typer.Argument(metavar="FROM", help="First day, such as 2013-03-01.")],
    last: Annotated[str, typer.Argument(metavar="TO", help="Last day, included.")],
    train: Annotated[
        bool, typer.Option(help="Also train and judge as of each night. Production does not move.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Replay history through the running Airflow, and check that every partition came out of it.

    Example: `./ratchet backfill flight_delay 2013-03-01 2013-03-07 --train`
    """
    from include.ratchet.stack.backfill import backfill_model

    workspace = open_workspace()
    with progress_bar() as progress:
        report = backfill_model(workspace.settings, workspace.model(model), first, last, train=train, progress=progress)
    if as_json:
        emit(asdict(report))
        return
    console.print(f"{report.landed} of {report.partitions} partitions landed, {report.repaired} of them run again")
    for key in report.missing:
        console.print(f"[yellow]no data[/] {key}")
    for run_id, outcome in report.trainings.items():
        console.print(f"trained {run_id}: {outcome}")


def reproduce(
    version: Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="Such as flight_delay@3.")],
    as_json: JsonOption = False,
) -> None:
    """Make a version again from its lineage and compare its predictions on the test rows, bit for bit.

    Example: `./ratchet reproduce flight_delay@1`
    """
    from include.ratchet.pipeline.reproduce import reproduce as make_again

    name, _, number = version.partition("@")
    if not number.isdigit():
        message = f"found {version!r}; expected MODEL@VERSION with a number, such as flight_delay@3"
        raise typer.BadParameter(message)
    workspace = open_workspace()
    workspace.model(name)
    result = make_again(workspace, ModelKey(name), int(number))
    if as_json:
        emit(result.to_dict())
    else:
        for difference in result.differences:
            console.print(f"[yellow]differs[/] {difference}", highlight=False)
        word = "[green]identical[/]" if result.is_identical else "[red]not identical[/]"
        console.print(f"{word}: predictions of {result.version} on {result.rows} test rows")
    if not result.is_identical:
        raise SystemExit(1)


def history(model: ModelName, as_json: JsonOption = False) -> None:
    """Tell what was asked, judged, promoted and reverted: who or what, when, why.

    Example: `./ratchet history flight_delay`
    """
    from include.ratchet.registry import ledger

    workspace = open_workspace()
    workspace.model(model)
    rows = ledger.history(ModelKey(model), workspace.settings)
    if as_json:
        emit([row.to_dict() for row in rows])
        return
    table = Table("when", "what", "version", "as of", "who", "why")
    for row in rows:
        as_of = f"{row.as_of:%Y-%m-%d}" if row.as_of else ""
        table.add_row(
            f"{row.recorded_at:%Y-%m-%d %H:%M}", row.kind, str(row.version or ""), as_of, row.actor, row.reason
        )
    console.print(table if rows else f"nothing has happened to {model} yet")


def revert(
    model: ModelName,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the ledger.")] = "reverted from the command line",
    as_json: JsonOption = False,
) -> None:
    """End the hand-over that is under way; without one, make the previous champion the champion again.

    Example: `./ratchet revert flight_delay --reason "complaints about Monday"`
    """
    import getpass

    from include.ratchet.rollout.revert import revert as go_back
    from include.ratchet.rollout.transitions import Order

    workspace = open_workspace()
    workspace.model(model)
    found = go_back(workspace.settings, ModelKey(model), Order(getpass.getuser(), reason, workspace.clock()))
    if as_json:
        emit({"from": found.before, "to": found.after, "is_rollout": found.is_rollout})
    else:
        console.print(found.words)


def _print_metrics(metrics: Mapping[str, float]) -> None:
    console.print("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
