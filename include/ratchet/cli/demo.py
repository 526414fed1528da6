"""The demonstration: a year of real flights to a champion, all of it through the scheduler."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table as Grid

from include.ratchet.cli.output import JsonOption, console, emit, gate_table, open_workspace
from include.ratchet.errors import StackError
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey, partition_of
from include.ratchet.stack.client import FINISHED, AirflowClient
from include.ratchet.stack.layout import Layout

MODEL, FIRST, LAST = "flight_delay", "2013-01-01", "2013-12-31"
_COLOURS = {"success": "green", "failed": "red", "running": "cyan", "skipped": "magenta", "upstream_failed": "red"}


def demo(
    stay: Annotated[bool, typer.Option(help="Leave Airflow and MLflow running afterwards.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Take a year of real flights to a gated, registered champion, in Airflow, on this machine.

    Example: `./ratchet demo`
    """
    from include.ratchet.stack.control import read_status, start_stack, stop_stack

    home, started = read_settings(os.environ).home, time.monotonic()
    was_running = read_status(home, with_memory=False).status != "stopped"
    is_done = False
    try:
        layout = start_stack(home, os.environ, {}, console.print)
        with AirflowClient.of(layout) as client:
            summary = _drive(_Show(client, layout, started), open_workspace())
        is_done = True
    finally:
        if not was_running and not (is_done and stay):
            stop_stack(home)
    if as_json:
        emit(summary)
    elif stay:
        console.print(f"\nAirflow stays at {layout.airflow_url} (login admin, password in {home / 'passwords.json'}); "
                      "./ratchet down stops it.")  # fmt: skip


@dataclass
class _Show:
    """The live table of runs and tasks, and the largest memory that was seen."""

    client: AirflowClient
    layout: Layout
    started: float
    runs: list[tuple[str, str]] = field(default_factory=list)
    memory_mb: float = 0.0

    def follow(self, dag: str, conf: dict[str, Any]) -> str:
        """Start a run and show it until it has ended; returns its id."""
        self.client.wait_for_dag(dag, timeout_s=120)
        run = self.client.trigger(dag, conf)
        self.runs.append((dag, run))
        with Live(self._table(), console=console, refresh_per_second=2) as live:
            while True:
                state = self.client.run(dag, run)["state"]
                live.update(self._table())
                self._weigh()
                if state in FINISHED:
                    break
                time.sleep(1)
        if state == "failed":
            message = f"run {run} of {dag} failed; see {self.layout.airflow_url}/dags/{dag}/runs/{run}"
            raise StackError(message)
        return run

    def _weigh(self) -> None:
        from include.ratchet.stack.control import read_status

        self.memory_mb = max(self.memory_mb, read_status(self.layout.home).memory_mb)

    def _table(self) -> Grid:
        grid = Grid("dag", "task", "state", "seconds", title=f"{time.monotonic() - self.started:.0f} s",
                    title_justify="left")  # fmt: skip
        for dag, run in self.runs[-1:]:
            for task in sorted(self.client.tasks(dag, run), key=lambda one: one["start_date"] or "~"):
                number = f" {task['map_index']}" if task["map_index"] >= 0 else ""
                state = task["state"] or "waiting"
                seconds = f"{task['duration']:.1f}" if task["duration"] else ""
                colour = _COLOURS.get(state, "dim")
                grid.add_row(dag, task["task_id"] + number, f"[{colour}]{state}[/]", seconds)
        return grid


def _drive(show: _Show, workspace: Workspace) -> dict[str, Any]:
    from include.ratchet.data.tables import Table
    from include.ratchet.registry import ledger

    model, key = workspace.model(MODEL), ModelKey(MODEL)
    landed = Table(workspace.settings, MODEL, MODEL).row_counts()
    before = ledger.read_aliases(key, workspace.settings).get(ledger.CHAMPION)
    missing = 365 - sum(FIRST <= partition <= LAST for partition in landed)
    if missing:
        show.follow(f"ingest_{MODEL}", {"first": FIRST, "last": LAST})
    else:
        console.print("all 365 days are landed already; nothing is ingested twice")
    as_of = partition_of(model.spec, LAST).end.isoformat()
    run = show.follow(f"train_{MODEL}", {"as_of": as_of, "reason": "demonstration"})
    seconds = time.monotonic() - show.started
    champion = ledger.read_aliases(key, workspace.settings)[ledger.CHAMPION]
    summary = _summarise(show, workspace, key, champion.version, run)
    changed = before is None or before.version != champion.version
    summary |= {"days_ingested": missing, "champion_changed": changed, "seconds": round(seconds, 1),
                "memory_mb": round(show.memory_mb)}  # fmt: skip
    if not changed:
        console.print(f"nothing has changed since: version {champion.version} is still the champion")
    console.print(f"champion after {seconds:.0f} s; memory at most {show.memory_mb:,.0f} MB (proportional set size)")
    return summary


def _summarise(show: _Show, workspace: Workspace, key: ModelKey, number: int, run: str) -> dict[str, Any]:
    import json

    from include.ratchet.evaluation.gates import Verdict
    from include.ratchet.evaluation.report import EvaluationReport
    from include.ratchet.registry.versions import card_url, get_version, read_artifact

    version = get_version(key, number, workspace.settings)
    files = {name: json.loads(read_artifact(version, f"{name}.json", workspace.settings))
             for name in ("report", "verdict", "snapshot", "trials")}  # fmt: skip
    report = EvaluationReport.from_dict(files["report"])
    verdict = Verdict.from_dict({k: files["verdict"][k] for k in ("outcome", "gates")})
    links = {
        "run": f"{show.layout.airflow_url}/dags/train_{key.model}/runs/{run}",
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
