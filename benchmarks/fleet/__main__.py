"""What a fleet costs: trained, gated and registered, against a joblib loop that only fits the same on the same cores.

    .venv/bin/python -m benchmarks.fleet 10 100 1000 > benchmarks/results/fleet.md

A made-up chain: 5,000 rows of 20 numbers a segment, LightGBM with 100 trees, a search of 10 trials; a PostgreSQL and
an MLflow server of their own, whose work is on the same two cores. The snapshot is made before (the engine's features
are `benchmarks/features.py`'s); what storing it takes is told.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.fleet.training import measure
from include.ratchet.orchestration.preload import preload

ROWS = 5000


def main() -> None:
    """Measure fleets of some sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("segments", type=int, nargs="+")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    preload(["airflow", "scheduler"])
    names = ("segments", "loop_s", "fleet_s", "ratio", "plan_s", "train_s", "conclude_s", "batches", "memory_mb",
             "ratchet database", "mlflow database", "MLflow files", "snapshot_s")  # fmt: skip
    print(f"| {' | '.join(name.replace('_s', ', s').replace('_', ' ') for name in names)} |")
    print(f"|{' ---: |' * len(names)}", flush=True)
    for segments in given.segments:
        with tempfile.TemporaryDirectory(prefix="fleet") as folder:
            found = measure(Path(folder), segments, ROWS, given.trials, given.rounds)
        shown = [f"{found[name]:.4g}" if isinstance(found[name], float) else str(found[name]) for name in names]
        print(f"| {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
