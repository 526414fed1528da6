"""What a spec costs when DAGs are parsed: `dags/` with 200 models against as many empty DAGs of Airflow's own.

    .venv/bin/python -m benchmarks.parsing > benchmarks/results/parsing.md

Airflow's own cost is that of 400 DAGs with the same numbers of plain tasks, built and bagged in the same process.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PLAIN = """
from airflow.sdk import dag, task
def build(number, count):
    @dag(dag_id=f"plain_{number}", schedule=None)
    def plain():
        @task
        def work(): ...
        last = None
        for index in range(count):
            one = work.override(task_id=f"task_{index}")()
            if last is not None:
                last >> one
            last = one
    plain()
for number in range(%d):
    build(number, 4 if number %% 2 else 10)
"""
PROGRAM = """
import sys, time
from airflow.dag_processing.dagbag import DagBag
import airflow.providers.standard.operators.python
from airflow.sdk import AssetOrTimeSchedule
started = time.perf_counter()
bag = DagBag(sys.argv[1])
if len(bag.dags) < 20:  # of a single spec: what the database gets as well
    from airflow.serialization.serialized_objects import DagSerialization
    sizes = [len(str(DagSerialization.to_dict(dag))) for dag in bag.dags.values()]
seconds = time.perf_counter() - started
assert not bag.import_errors, bag.import_errors
print("RESULT", len(bag.dags), seconds)
"""


def measure(folder: Path, models: Path, repeats: int = 5) -> tuple[int, float]:
    """Number of DAGs and median seconds to fill a bag in a process of its own."""
    environ = {
        **os.environ, "PYTHONPATH": str(PROJECT), "RATCHET_MODELS_DIR": str(models),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
        "AIRFLOW_HOME": tempfile.gettempdir() + "/ratchet-parsing",
    }  # fmt: skip
    found = []
    for _ in range(repeats):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder)], env=environ, check=True, capture_output=True, text=True
        )
        _, count, seconds = next(line for line in done.stdout.splitlines() if line.startswith("RESULT")).split()
        found.append((int(count), float(seconds)))
    return found[0][0], statistics.median(seconds for _, seconds in found)


DIVIDED = "segments: {by: carrier, min_rows: 2000}\n"


def measure_one(folder: Path, more: str) -> tuple[int, float]:
    """The same of one spec, with some lines more; how many segments it has is data, which no DAG file reads."""
    shutil.copytree(PROJECT / "include/models/flight_delay", folder / "flight_delay")
    with (folder / "flight_delay/model.yaml").open("a") as spec:
        spec.write(more)
    return measure(PROJECT / "dags", folder)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = PROJECT / "include/models/flight_delay"
        for number in range(200):
            target = folder / "models" / f"model_{number:03d}"
            shutil.copytree(source, target)
            spec = (target / "model.yaml").read_text()
            (target / "model.yaml").write_text(spec.replace("name: flight_delay", f"name: model_{number:03d}"))
        (folder / "plain").mkdir()
        (folder / "plain/dags.py").write_text(PLAIN % 400)
        count, ours = measure(PROJECT / "dags", folder / "models")
        plain_count, plain = measure(folder / "plain", folder / "models")
    print("# Parsing: what a spec costs\n")
    print("| parse | DAGs | median s | ms a DAG |")
    print("|---|---|---|---|")
    print(f"| 200 specs | {count} | {ours:.2f} | {1000 * ours / count:.1f} |")
    print(f"| Airflow alone, as many tasks | {plain_count} | {plain:.2f} | {1000 * plain / plain_count:.1f} |")
    with tempfile.TemporaryDirectory() as name:
        whole, divided = (measure_one(Path(name) / part, more) for part, more in (("whole", ""), ("divided", DIVIDED)))
    print(f"| one spec, parsed and serialised | {whole[0]} | {whole[1]:.2f} | |")
    print(f"| the same, divided into any number of segments | {divided[0]} | {divided[1]:.2f} | |")
    print(f"\nabove Airflow's own cost: {1000 * (ours - plain) / count:.1f} ms a DAG (aim: at most 20)")


if __name__ == "__main__":
    main()
