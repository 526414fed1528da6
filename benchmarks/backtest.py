"""How long a backtest of a year of flights takes, and what it says of retraining there.

.venv/bin/python -m benchmarks.backtest [--max-rows 30000] [--workers 2] [--write]

The year is landed once, each partition as it was known two days after it ended. The backtest runs twice in processes of
its own: the first computes features, the second finds them on disk. The learner is a logistic regression on the newest
rows, `include/models/flight_delay`'s first candidate.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.landing import land_many
from include.ratchet.monitoring.backtest.report import recommend, to_markdown
from include.ratchet.monitoring.backtest.run import BacktestRequest, run_backtest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import upgrade
from include.ratchet.settings import PROJECT, read_settings
from include.ratchet.spec import ModelKey, partition_of, partitions_between

RESULTS = PROJECT / "benchmarks" / "results" / "backtest.md"
NAME = "flight_delay"
FIRST, LAST = "2013-03-01", "2013-12-31"
POLICIES = ("never", "monthly", "weekly", "nightly", "drift", "performance", "both")


def main() -> None:
    """Land the year, run the backtest twice, and print what it took and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-rows", type=int, default=30_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true", help=f"keep the report in {RESULTS.relative_to(PROJECT)}")
    parser.add_argument("--child", metavar="HOME", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(workspace_of(Path(arguments.child)), arguments.max_rows, arguments.workers)))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(workspace_of(Path(folder)))
        runs = {name: _measure(folder, arguments) for name in ("first run", "second run")}
    text = render(runs, arguments.max_rows, arguments.workers)
    print(text)
    if arguments.write:
        RESULTS.write_text(text)


def render(runs: Mapping[str, Mapping[str, Any]], max_rows: int, workers: int) -> str:
    """The page: what each run took, and the report of the last one."""
    last = list(runs.values())[-1]
    lines = (
        ("seconds, all", "seconds"), ("of these: rows and features", "history_s"), ("fits and scores", "fit_s"),
        ("gates, policies and measures", "policies_s"), ("CPU seconds of all processes", "cpu_s"),
        ("peak MB of the command", "peak_mb"), ("peak MB of one worker", "worker_mb"),
    )  # fmt: skip
    return "\n".join([
        "# Backtest: a year of flights", "",
        f"{len(POLICIES)} policies, {last['fitted']} fits of a logistic regression on at most {max_rows:,} rows, "
        f"{last['scored']:,} scored days, {workers} processes; fits and scores are shared.", "",
        f"| | {' | '.join(runs)} |", "|---" * (len(runs) + 1) + "|",
        *(f"| {name} | {' | '.join(f'{run[key]:,.0f}' for run in runs.values())} |" for name, key in lines),
        "", last["report"].replace("# Backtest of", "## Backtest of"),
    ])  # fmt: skip


def measure(workspace: Workspace, max_rows: int, workers: int) -> dict[str, object]:
    """One backtest: its seconds by stage, its memory, and its report."""
    begun: dict[str, float] = {}

    def note(what: str, *_: int) -> None:
        begun.setdefault(what, time.perf_counter())

    started = time.perf_counter()
    result = run_backtest(
        workspace, BacktestRequest(ModelKey(NAME), FIRST, LAST, POLICIES, "logistic", max_rows=max_rows),
        note, workers=workers,
    )  # fmt: skip
    ended = time.perf_counter()
    stages = [*begun, "end"]
    times = {**begun, "end": ended}
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    peak, worker = (one.ru_maxrss / 1024 for one in used)
    return {
        "seconds": ended - started, "cpu_s": sum(one.ru_utime + one.ru_stime for one in used),
        "peak_mb": peak, "worker_mb": worker,
        **{f"{one}_s": times[other] - times[one] for one, other in pairwise(stages)},
        "fitted": result.fitted, "scored": result.scored,
        "report": to_markdown(result, recommend(result, workspace.model(NAME).spec)),
    }  # fmt: skip


def prepare(workspace: Workspace) -> None:
    """Land the year."""
    settings, model = workspace.settings, workspace.model(NAME)
    settings.home.mkdir(parents=True, exist_ok=True)
    upgrade(settings.database_url)
    days = list(partitions_between(model.spec, *(partition_of(model.spec, day) for day in ("2013-01-01", LAST))))
    for table in model.spec.table_names:
        land_many(model, table, days, lambda day: day.end + model.spec.label.lateness, settings=settings,
                  connections=workspace.connections, run_id="benchmark")  # fmt: skip


def workspace_of(home: Path) -> Workspace:
    """An installation of its own in a folder."""
    settings = read_settings({"RATCHET_HOME": str(home / "home")})
    return Workspace(settings, MappedConnections(), lambda: datetime(2014, 1, 5, tzinfo=UTC))


def _measure(home: str, arguments: argparse.Namespace) -> dict[str, object]:
    line = [sys.executable, "-m", "benchmarks.backtest", "--child", home, "--max-rows", str(arguments.max_rows),
            "--workers", str(arguments.workers)]  # fmt: skip
    done = subprocess.run(line, check=True, capture_output=True, text=True, cwd=PROJECT)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
