"""Replaying history through Airflow's backfills, believing what came out and not what a state says.

A backfill can be marked complete before its runs have ended (apache/airflow #68721), and be starved by other runs
(#58554). So it is over when its runs are, the outputs are counted, and what is missing is run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from include.ratchet.data.tables import Table
from include.ratchet.errors import StackError
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, partition_of, partitions_between
from include.ratchet.stack.client import FINISHED, AirflowClient
from include.ratchet.stack.layout import read_layout

ACTIVE_RUNS = 4
"""Few enough that a backfill and the daily runs share the scheduler."""
STALL_S = 300.0
"""A backfill of which nothing has moved for so long is starved: it is cancelled, and the rest is run by itself."""


@dataclass(frozen=True)
class BackfillReport:
    """What a backfill gave.

    Attributes:
        partitions: asked for.
        landed: there now.
        repaired: there only after a second run.
        missing: keys that the source does not have.
        trainings: state of each training run by its id.
    """

    partitions: int
    landed: int
    repaired: int
    missing: tuple[str, ...]
    trainings: dict[str, str] = field(default_factory=dict)


def backfill_model(
    settings: Settings, model: Model, first: str, last: str, *, train: bool, progress: Callable[[str, int, int], None]
) -> BackfillReport:
    """Backfill a model's ingestion and, if wanted, its training, in order, and check the outputs.

    Raises:
        StackError: no stack runs, or Airflow refuses.
        ValueError: a text is no partition.
    """
    begin, end = partition_of(model.spec, first), partition_of(model.spec, last)
    wanted = [partition.key for partition in partitions_between(model.spec, begin, end)]
    if not wanted:
        message = f"the range ends ({last}) before it begins ({first}); swap the two"
        raise ValueError(message)
    dag = f"ingest_{model.name}"
    with AirflowClient.of(read_layout(settings.home)) as client:
        client.wait_for_dag(dag)
        _run_backfill(client, dag, begin.key, end.key, lambda done, _: progress("ingest", done, len(wanted)))
        repaired = _repair(client, dag, _missing(settings, model, wanted), settings, model)
        trainings = _train(client, model, begin.key, end.key, progress) if train else {}
    absent = _missing(settings, model, wanted)
    return BackfillReport(len(wanted), len(wanted) - len(absent), repaired, tuple(absent), trainings)


def _train(client: AirflowClient, model: Model, first: str, last: str, progress: Any) -> dict[str, str]:
    dag = f"train_{model.name}"
    client.wait_for_dag(dag)
    runs = _run_backfill(client, dag, first, last, lambda done, all_: progress("train", done, all_), active=1)
    return {run["dag_run_id"]: run["state"] for run in runs}


def _run_backfill(
    client: AirflowClient, dag: str, first: str, last: str, progress: Callable[[int, int], None],
    active: int = ACTIVE_RUNS,
) -> list[dict[str, Any]]:  # fmt: skip
    """Create a backfill and wait until every one of its runs has ended, or none moves any more; returns the runs."""
    body = {
        "dag_id": dag, "from_date": f"{first[:10]}T00:00:00Z", "to_date": f"{last[:10]}T23:59:59Z",
        "reprocess_behavior": "completed", "max_active_runs": active,
    }  # fmt: skip
    created = client.request("POST", "/backfills", json=body)
    known, moved_at = None, time.monotonic()
    while True:
        found = client.request("GET", f"/backfills/{created['id']}")
        runs = _runs_of(client, dag, body, created["created_at"])
        ended = sum(run["state"] in FINISHED for run in runs)
        progress(ended, len(runs))
        if found["completed_at"] and ended == len(runs):
            return runs
        states = [run["state"] for run in runs]
        if states != known or "running" in states:
            known, moved_at = states, time.monotonic()
        elif time.monotonic() - moved_at > STALL_S:
            client.request("PUT", f"/backfills/{created['id']}/cancel")
            return runs
        time.sleep(1)


def _runs_of(client: AirflowClient, dag: str, body: dict[str, Any], created_at: str) -> list[dict[str, Any]]:
    """Runs of the backfill's range that it made or took over; Airflow's API does not say whose a run is."""
    begin, end = body["from_date"], body["to_date"]
    found = client.pages(
        f"/dags/{dag}/dagRuns", "dag_runs", run_type="backfill", updated_at_gte=created_at, order_by="id"
    )
    return [run for run in found if begin[:10] <= (run["partition_key"] or "")[:10] <= end[:10]
            or begin <= (run["logical_date"] or "") <= end]  # fmt: skip


def _missing(settings: Settings, model: Model, wanted: list[str]) -> list[str]:
    landed = Table(settings, model.name, model.name).row_counts()
    return [key for key in wanted if not landed.get(key)]


def _repair(client: AirflowClient, dag: str, missing: list[str], settings: Settings, model: Model) -> int:
    """Run once more what did not come out; returns how many partitions that brought."""
    deadline = time.monotonic() + timedelta(hours=1).total_seconds()
    for key in missing:
        run = client.trigger(dag, {"first": key, "last": key})
        while client.run(dag, run)["state"] not in FINISHED:
            if time.monotonic() > deadline:
                message = f"run {run} of {dag} has not ended within an hour; see {settings.airflow_url}/dags/{dag}"
                raise StackError(message)
            time.sleep(1)
    return len(missing) - len(_missing(settings, model, missing))
