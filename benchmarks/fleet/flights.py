"""Where a segment's own model beats the pooled one: flights by carrier and by route, through the scheduler.

    .venv/bin/python -m benchmarks.fleet.flights > benchmarks/results/fleet-flights.md

Starts a stack of its own, lands ten months of flights and trains both models as of November. What comes out is the
run's own table: each segment's metric on its own eight weeks of test flights, its gain over the pooled model on the
same flights with the interval, and what the gates made of it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from include.ratchet.data.blobs import open_blobs
from include.ratchet.pipeline.fleet import KeyResult, count
from include.ratchet.pipeline.fleet.report import TABLE
from include.ratchet.pipeline.workspace import RunFolder
from include.ratchet.settings import Settings, read_settings
from include.ratchet.spec import ModelKey
from include.ratchet.stack.client import FINISHED, AirflowClient
from include.ratchet.stack.control import start_stack, stop_stack

PROJECT = Path(__file__).resolve().parents[2]
FIRST, LAST, AS_OF = "2013-01-01", "2013-10-31", "2013-11-01"
DIVIDED: dict[str, str | list[str]] = {"flight_by_carrier": "carrier", "flight_by_route": ["origin", "destination"]}
MIN_ROWS = 2000
NONE = (0.0, 0.0, 0.0)
HEAD = f"""# Flights by segment

Made by `python -m benchmarks.fleet.flights`: January to October 2013, tested on the last eight weeks; a segment with
fewer than {MIN_ROWS:,} flights has no model of its own."""


def make_model(models: Path, name: str, by: str | list[str]) -> None:
    """The flights' model with one section more, and gates for as few flights as a route has."""
    shutil.copytree(PROJECT / "include/models/flight_delay", models / name)
    spec = yaml.safe_load((models / name / "model.yaml").read_text())
    spec |= {"name": name, "segments": {"by": by, "min_rows": MIN_ROWS}, "rollout": {"strategy": "direct"}}
    spec["training"]["split"] |= {"validation": "28d", "test": "56d"}
    spec["training"]["search"] |= {"trials": 8, "strategy": "random"}
    del spec["training"]["candidates"]["hist_boosting"]
    spec["gates"] = {"min_test_rows": 200, "min_positive_rows": 30, "margin": 0.01, "max_slice_drop": None}
    (models / name / "model.yaml").write_text(yaml.safe_dump(spec))


def run(client: AirflowClient, dag_id: str, conf: dict[str, Any]) -> tuple[str, float]:
    """Run a DAG to its end; its id and seconds."""
    client.wait_for_dag(dag_id, timeout_s=180)
    run_id, started = client.trigger(dag_id, conf), time.monotonic()
    while (state := client.run(dag_id, run_id)["state"]) not in FINISHED:
        time.sleep(1)
    print(f"{dag_id}: {state} after {time.monotonic() - started:.0f} s", file=sys.stderr)
    return run_id, time.monotonic() - started


def show(settings: Settings, name: str, run_id: str, seconds: float, limit: int) -> None:
    """The run's table as Markdown, those with a model of their own first."""
    content = RunFolder(open_blobs(settings), ModelKey(name), run_id).need_json(TABLE)
    results = [KeyResult.from_dict(one) for one in content]
    judged = sorted((one for one in results if one.gain), key=lambda one: -(one.gain or NONE)[1])
    wins = sum((one.gain or NONE)[1] > 0 for one in judged)
    loses = sum((one.gain or NONE)[2] < 0 for one in judged)
    print(f"\n## {name}: {len(results)} segments\n")
    print(f"{', '.join(f'{number} {outcome}' for outcome, number in count(results).items())}. Of {len(judged)} judged "
          f"beside the pooled model, {wins} surely beat it, {loses} are surely worse, {len(judged) - wins - loses} "
          f"cannot be told apart. The training took {seconds:.0f} s.\n")  # fmt: skip
    print("| segment | rows | AUC | gain over the pooled model | outcome |\n| --- | ---: | ---: | --- | --- |")
    for one in judged[:limit]:
        value, low, high = one.gain or NONE
        gain = f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
        print(f"| {one.segment} | {one.rows:,} | {one.metric:.3f} | {gain} | {one.outcome} |")
    if len(judged) > limit:
        print(f"\n... and {len(judged) - limit} more, none of which beats it.")


def main() -> None:
    """Train both and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=30)
    limit = parser.parse_args().limit
    folder = Path(tempfile.mkdtemp(prefix="fleet-flights-"))
    for name, by in DIVIDED.items():
        make_model(folder / "models", name, by)
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "RATCHET", "MLFLOW"))
    }
    environ |= {
        "RATCHET_HOME": str(folder / "home"),
        "RATCHET_MODELS_DIR": str(folder / "models"),
        "PYTHONPATH": str(PROJECT),
    }
    layout = start_stack(folder / "home", environ, {}, lambda words: print(words, file=sys.stderr))
    try:
        settings = read_settings(layout.environment(environ))
        print(HEAD)
        with AirflowClient.of(layout) as client:
            for name in DIVIDED:
                run(client, f"ingest_{name}", {"first": FIRST, "last": LAST})
                run_id, seconds = run(client, f"train_{name}", {"as_of": AS_OF})
                show(settings, name, run_id, seconds, limit)
    finally:
        stop_stack(folder / "home")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
