"""DAG runs as the demonstration starts, shows and awaits them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.live import Live
from rich.table import Table as Grid

from include.ratchet.cli.output import console
from include.ratchet.errors import StackError
from include.ratchet.stack.client import FINISHED, AirflowClient
from include.ratchet.stack.layout import Layout

_COLOURS = {"success": "green", "failed": "red", "running": "cyan", "skipped": "magenta", "upstream_failed": "red"}
_WEIGH_EVERY_S = 2.0


@dataclass
class Runs:
    """Starts runs and waits for them; notes the largest memory that was seen on the way."""

    client: AirflowClient
    layout: Layout
    started: float
    memory_mb: float = 0.0
    _weighed: float = field(default=0.0, repr=False)

    def follow(self, dag: str, conf: Mapping[str, Any]) -> str:
        """Run a DAG to its end, with a live table of its tasks; returns the run's id.

        Raises:
            StackError: the run failed.
        """
        with Live(console=console, refresh_per_second=2) as live:
            return self.await_run(dag, conf, lambda run: live.update(self._table(dag, run)))

    def await_run(self, dag: str, conf: Mapping[str, Any], show: Callable[[str], None] = lambda run: None) -> str:
        """Run a DAG to its end; returns the run's id.

        Raises:
            StackError: the run failed.
        """
        self.client.wait_for_dag(dag, timeout_s=120)
        run = self.client.trigger(dag, conf)
        state = "queued"
        while state not in FINISHED:
            time.sleep(0.5)
            state = self.client.run(dag, run)["state"]
            show(run)
            self._weigh()
        if state == "failed":
            message = f"run {run} of {dag} failed; see {self.layout.airflow_url}/dags/{dag}/runs/{run}"
            raise StackError(message)
        return run

    def _weigh(self) -> None:
        from include.ratchet.stack.control import read_status

        if time.monotonic() - self._weighed > _WEIGH_EVERY_S:
            self.memory_mb = max(self.memory_mb, read_status(self.layout.home).memory_mb)
            self._weighed = time.monotonic()

    def _table(self, dag: str, run: str) -> Grid:
        grid = Grid("dag", "task", "state", "seconds", title=f"{time.monotonic() - self.started:.0f} s",
                    title_justify="left")  # fmt: skip
        for task in sorted(self.client.tasks(dag, run), key=lambda one: one["start_date"] or "~"):
            number = f" {task['map_index']}" if task["map_index"] >= 0 else ""
            state = task["state"] or "waiting"
            seconds = f"{task['duration']:.1f}" if task["duration"] else ""
            grid.add_row(dag, task["task_id"] + number, f"[{_COLOURS.get(state, 'dim')}]{state}[/]", seconds)
        return grid
