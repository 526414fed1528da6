"""What Airflow costs: a warm training run through the scheduler against the same engine calls in one plain process.

    ./ratchet demo && .venv/bin/python -m benchmarks.orchestration > benchmarks/results/orchestration.md

Needs the demonstration's stack with its year of flights. Both sides build the same snapshot, run the same search
and end with a registered version; they take turns, and medians are compared. The plain process has loaded its
libraries before the clock starts, as the scheduler has.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from datetime import UTC, datetime

from include.ratchet.data.connections import EnvironmentConnections
from include.ratchet.orchestration.preload import preload
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.requests import TrainingRequest, read_instant
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from include.ratchet.stack.client import FINISHED, AirflowClient
from include.ratchet.stack.layout import read_layout

MODEL, AS_OF = "flight_delay", "2014-01-01"


def through_airflow(client: AirflowClient) -> tuple[float, float]:
    """Seconds of one forced run as the scheduler counts them, and of its tasks' work together."""
    dag = f"train_{MODEL}"
    run_id = client.trigger(dag, {"as_of": AS_OF, "force": True, "reason": "benchmark"})
    while (run := client.run(dag, run_id))["state"] not in FINISHED:
        time.sleep(0.5)
    if run["state"] != "success":
        message = f"run {run_id} ended as {run['state']}"
        raise RuntimeError(message)
    start, end = (datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
    return (end - start).total_seconds(), sum(task["duration"] or 0 for task in client.tasks(dag, run_id))


def in_one_process(workspace: Workspace, number: int) -> float:
    """Seconds of the same steps here."""
    model = workspace.model(MODEL)
    name = f"benchmark-{datetime.now(UTC):%Y%m%dT%H%M%S}-{number}"
    as_of = read_instant(model.spec, AS_OF)
    request = TrainingRequest(ModelKey(MODEL), name, as_of, force=True, reason="benchmark")
    started = time.perf_counter()
    run_model(workspace, model, request, lambda *_: None)
    return time.perf_counter() - started


def main() -> None:
    """Take turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    preload(["airflow", "scheduler"])
    home = read_settings(os.environ).home
    layout = read_layout(home)
    settings = read_settings(layout.environment(os.environ))
    workspace = Workspace(settings, EnvironmentConnections(os.environ), lambda: datetime.now(UTC))
    plain, scheduled, work = [], [], []
    with AirflowClient.of(layout) as client:
        for number in range(repeats):
            plain.append(in_one_process(workspace, number))
            seconds, tasks = through_airflow(client)
            scheduled.append(seconds)
            work.append(tasks)
    one, other = statistics.median(plain), statistics.median(scheduled)
    print("# Orchestration: what Airflow costs\n")
    print("| training on a year of flights | median s | all |")
    print("|---|---|---|")
    print(f"| one plain process | {one:.1f} | {', '.join(f'{s:.1f}' for s in plain)} |")
    print(f"| through the scheduler | {other:.1f} | {', '.join(f'{s:.1f}' for s in scheduled)} |")
    print(f"| work of its tasks together | {statistics.median(work):.1f} | {', '.join(f'{s:.1f}' for s in work)} |")
    print(f"\nratio {other / one:.2f} (aim: at most 1.5)")


if __name__ == "__main__":
    main()
