"""The demonstration: a year of real flights to a champion through the scheduler, its last two weeks as traffic."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table as Grid

from include.ratchet.cli.output import JsonOption, console, emit, gate_table, open_workspace
from include.ratchet.cli.runs import Runs
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.settings import read_settings
from include.ratchet.spec import Model, ModelKey, Partition, partition_of, partitions_between
from include.ratchet.stack.client import AirflowClient

MODEL, FIRST, LAST = "flight_delay", "2013-01-01", "2013-12-31"
LIVE, RETRAIN_AFTER = "2013-12-18", "2013-12-21"
"""The first day that is lived as traffic, and the day after which the model is trained again."""


def demo(
    stay: Annotated[bool, typer.Option(help="Leave Airflow and MLflow running afterwards.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Take a year of real flights to a champion in Airflow, and serve, hand over and go back on two live weeks.

    Example: `./ratchet demo`
    """
    from include.ratchet.stack.control import read_status, start_stack, stop_stack

    home, started = read_settings(os.environ).home, time.monotonic()
    was_running = read_status(home, with_memory=False).status != "stopped"
    is_done = False
    try:
        layout = start_stack(home, os.environ, {}, console.print)
        with AirflowClient.of(layout) as client:
            summary = _drive(Runs(client, layout, started), open_workspace())
        is_done = True
    finally:
        if not was_running and not (is_done and stay):
            stop_stack(home)
    if as_json:
        emit(summary)
    elif stay:
        console.print(f"\nAirflow stays at {layout.airflow_url} (login admin, password in {home / 'passwords.json'}); "
                      "./ratchet down stops it.")  # fmt: skip


def _drive(runs: Runs, workspace: Workspace) -> dict[str, Any]:
    from include.ratchet.data.tables import Table
    from include.ratchet.registry import ledger

    model, key = workspace.model(MODEL), ModelKey(MODEL)
    before = ledger.read_aliases(key, workspace.settings).get(ledger.CHAMPION)
    landed = Table(workspace.settings, MODEL, MODEL).row_counts()
    every = partitions_between(model.spec, partition_of(model.spec, FIRST), partition_of(model.spec, LAST))
    missing = [day for day in every if day.key not in landed]
    past, lived = [day for day in missing if day.key < LIVE], [day for day in missing if day.key >= LIVE]
    if past:
        runs.follow(f"ingest_{MODEL}", {"first": past[0].key, "last": past[-1].key})
    else:
        console.print(f"all days before {LIVE} are landed already; nothing is ingested twice")
    as_of = partition_of(model.spec, LIVE).start.isoformat()
    run = runs.follow(f"train_{MODEL}", {"as_of": as_of, "reason": "demonstration"})
    seconds = time.monotonic() - runs.started
    champion = ledger.read_aliases(key, workspace.settings)[ledger.CHAMPION]
    summary = _summarise(runs, workspace, key, champion.version, run)
    changed = before is None or before.version != champion.version
    if not changed:
        console.print(f"nothing has changed since: version {champion.version} is still the champion")
    console.print(f"champion after {seconds:.0f} s")
    summary |= {"days_ingested": len(past), "champion_changed": changed, "champion_s": round(seconds, 1)}
    if not lived:
        console.print(f"the days from {LIVE} on have been lived; ./ratchet rollout {MODEL} shows what came of it")
    summary["live"] = _live(runs, workspace, model, lived) if lived else None
    summary |= {"seconds": round(time.monotonic() - runs.started, 1), "memory_mb": round(runs.memory_mb)}
    console.print(f"{summary['seconds']:.0f} s in all; memory at most {runs.memory_mb:,.0f} MB (proportional set size)")
    return summary


def _live(runs: Runs, workspace: Workspace, model: Model, days: Sequence[Partition]) -> dict[str, Any]:
    from include.ratchet.cli.live import Life
    from include.ratchet.cli.traffic import read_questions

    console.print(f"\nnow {len(days)} days of flights as live traffic, an hour at a time")
    return Life(runs, workspace, model, days, RETRAIN_AFTER, read_questions(workspace, model, days)).live()


def _summarise(runs: Runs, workspace: Workspace, key: ModelKey, number: int, run: str) -> dict[str, Any]:
    import json

    from include.ratchet.evaluation.report import EvaluationReport
    from include.ratchet.evaluation.verdict import Verdict
    from include.ratchet.registry.versions import card_url, get_version, read_artifact

    version = get_version(key, number, workspace.settings)
    files = {name: json.loads(read_artifact(version, f"{name}.json", workspace.settings))
             for name in ("report", "verdict", "snapshot", "trials")}  # fmt: skip
    report = EvaluationReport.from_dict(files["report"])
    verdict = Verdict.from_dict({k: files["verdict"][k] for k in ("outcome", "gates")})
    links = {
        "run": f"{runs.layout.airflow_url}/dags/train_{key.model}/runs/{run}",
        "version": version.url,
        "card": card_url(version, workspace.settings),
    }
    grid = Grid(title=f"champion: {version}", title_justify="left", show_header=False)
    grid.add_row("snapshot", f"{files['snapshot']['rows']:,} rows, {version.lineage.snapshot[:12]}")
    trials = files["trials"]["trials"]
    grid.add_row(
        "search", f"{len(trials)} trials, {version.lineage.search['strategy']}, best {version.lineage.candidate}"
    )
    for name, interval in report.metrics.items():
        grid.add_row(name, str(interval))
    for one in report.baselines:
        grid.add_row(f"gain over {one.name}", str(one.gain))
    for name, link in links.items():
        grid.add_row(name, link)
    console.print(grid)
    console.print(gate_table(verdict))
    return {
        "version": number, "snapshot": version.lineage.snapshot, "candidate": version.lineage.candidate,
        "metrics": {name: interval.to_dict() for name, interval in report.metrics.items()},
        "verdict": verdict.to_dict(), "links": links,
    }  # fmt: skip
