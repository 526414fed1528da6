"""Working with one model: running, backfilling, reproducing and reverting it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from include.ratchet.cli.output import (
    JsonOption,
    console,
    emit,
    gate_table,
    open_workspace,
    plain,
    progress_bar,
    say,
)
from include.ratchet.cli.segments import KeyName, choose
from include.ratchet.spec.training import Strategy

if TYPE_CHECKING:
    from include.ratchet.pipeline.local import RunResult
    from include.ratchet.registry.ledger import Entry

ModelName = Annotated[str, typer.Argument(help="Name of the model: its folder in include/models.", show_default=False)]


def run(
    model: KeyName,
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
    chosen = choose(workspace, model)
    found, now = chosen.model, workspace.clock()
    is_all = chosen.is_fleet or found.spec.segments is None
    request = TrainingRequest(
        key=found.key,
        training_id=f"local__{now:%Y-%m-%dT%H%M%S.%f}",
        as_of=read_instant(found.spec, as_of) if as_of else now_at_partition(found, now),
        window=parse_duration(window) if window else None,
        strategy=strategy,
        trials=trials,
        force=force,
        reason=reason,
        segments=None if is_all else (chosen.key.segment,),
    )
    with progress_bar() as progress:
        result = run_model(workspace, found, choose_base(workspace, request), progress)
    _show_run(result, as_json=as_json)
    if result.verdict is not None and result.verdict.outcome == "reject":
        raise SystemExit(2)


def _show_run(result: RunResult, *, as_json: bool) -> None:
    from include.ratchet.pipeline.fleet import count, table

    if as_json:
        emit({
            "version": result.version.number if result.version else None,
            "verdict": result.verdict.to_dict() if result.verdict else None,
            "promotion": asdict(result.promotion) if result.promotion else None,
            "reason": result.reason,
            "segments": [one.to_dict() for one in result.fleet],
        })  # fmt: skip
        return
    if result.verdict and result.version:
        console.print(gate_table(result.verdict))
        _print_metrics(result.version.metrics)
        console.print(f"[bold]{result.version}[/] {result.promotion.reason if result.promotion else ''}")
    elif not result.fleet:
        console.print(f"nothing trained: {result.reason}")
    if result.fleet:
        console.print(table(result.fleet), highlight=False, markup=False, soft_wrap=True)
        console.print(", ".join(f"{number} {outcome}" for outcome, number in count(result.fleet).items()))


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
    version: Annotated[
        str, typer.Argument(metavar="MODEL[/SEGMENT]@VERSION", help="Such as flight_delay@3, flight_delay/UA@3.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Make a version again from its lineage and compare its predictions on the test rows, bit for bit.

    Example: `./ratchet reproduce flight_delay@1`
    """
    from include.ratchet.pipeline.reproduce import reproduce as make_again

    # Names of segments may have an @ of their own.
    name, _, number = version.rpartition("@")
    if not name or not (number.isascii() and number.isdigit()):
        message = f"found {version!r}; expected MODEL[/SEGMENT]@VERSION with a number, such as flight_delay@3"
        raise typer.BadParameter(message)
    workspace = open_workspace()
    result = make_again(workspace, choose(workspace, name).single, int(number))
    if as_json:
        emit(result.to_dict())
    else:
        for difference in result.differences:
            console.print("[yellow]differs[/] ", end="")
            say(difference)
        console.print("[green]identical[/]" if result.is_identical else "[red]not identical[/]", end="")
        say(f": predictions of {result.version} on {result.rows} test rows")
    if not result.is_identical:
        raise SystemExit(1)


def history(
    model: KeyName,
    all_segments: Annotated[
        bool, typer.Option("--all-segments", help="Of every segment, the newest first, a page at a time.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows of a page.")] = 50,
    page: Annotated[int, typer.Option(min=1, help="Which page.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Tell what was asked, judged, promoted and reverted: who or what, when, why.

    Of a model divided into segments: of its pooled model, and how many segments have one of their own.

    Example: `./ratchet history flight_delay`
    """
    from include.ratchet.registry import ledger
    from include.ratchet.rollout.keys import count_segments, read_rows

    workspace = open_workspace()
    chosen = choose(workspace, model)
    settings, key = workspace.settings, chosen.key
    if all_segments and not chosen.is_fleet:
        message = f"--all-segments: found {model!r}; expected the name of a model that is divided into segments"
        raise typer.BadParameter(message)
    rows = read_rows(settings, key.model, limit, limit * (page - 1)) if all_segments else ledger.history(key, settings)
    counts = count_segments(settings, key.model) if chosen.is_fleet else None
    if as_json:
        told = [row.to_dict() for row in rows]
        emit({"rows": told, "segments": asdict(counts)} if counts else told)
        return
    if rows:
        console.print(_draw_rows(rows, with_key=all_segments))
    else:
        say(f"no row on page {page}" if all_segments and page > 1 else f"nothing has happened to {key} yet")
    if counts:
        say(f"{counts.own} segments with a champion of their own, {counts.pooled} pooled, {counts.retired} retired")


def _draw_rows(rows: Sequence[Entry], *, with_key: bool) -> Table:
    table = Table("when", *(["segment"] if with_key else []), "what", "version", "as of", "who", "why")
    for row in rows:
        as_of = f"{row.as_of:%Y-%m-%d}" if row.as_of else ""
        cells = (
            f"{row.recorded_at:%Y-%m-%d %H:%M}", *([row.key.segment] if with_key else []), row.kind,
            str(row.version or ""), as_of, row.actor, row.reason,
        )  # fmt: skip
        table.add_row(*map(plain, cells))
    return table


def revert(
    model: KeyName,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the ledger.")] = "reverted from the command line",
    as_json: JsonOption = False,
) -> None:
    """End the hand-over that is under way; without one, make the previous champion the champion again.

    A segment whose champion is its first goes back to the pooled model. A model's name alone means the pooled model,
    where it is divided; `./ratchet rollout MODEL revert` ends the hand-overs of all its segments.

    Example: `./ratchet revert flight_delay --reason "complaints about Monday"`
    """
    import getpass

    from include.ratchet.rollout.orders import Order
    from include.ratchet.rollout.revert import revert as go_back

    workspace = open_workspace()
    key = choose(workspace, model).single
    found = go_back(workspace.settings, key, Order(getpass.getuser(), reason, workspace.clock()))
    if as_json:
        emit({"from": found.before, "to": found.after, "is_rollout": found.is_rollout})
    else:
        say(found.words)


def _print_metrics(metrics: Mapping[str, float]) -> None:
    console.print("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
