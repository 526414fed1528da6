"""How fast batch scoring is beside the bare `predict_proba`, and how much memory it takes for more and more rows.

.venv/bin/python -m benchmarks.scoring [--rows 50000 100000 300000] [--repeats 3] [--write]

Every row is a flight of 2013. The estimator is histogram boosting, as `include/models/flight_delay` declares it, fitted
on the first rows and registered; champion by hand, without a search. Compared are, on the same rows:

- *bare*: `predict_proba` of the whole frame at once, with every feature ready in memory.
- *features + predict*: the rows in memory, the same features computed at once, then the bare `predict_proba`.
- *batch scoring*: `score_partitions`: rows read from the landed table in chunks, features, `predict_proba`, and the
  records written, with their payloads, in commits.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.landing import land_many
from include.ratchet.data.tables import Table
from include.ratchet.evaluation.report import CostResult, evaluate
from include.ratchet.evaluation.verdict import Verdict
from include.ratchet.features import Inputs, Scorer, feature_names
from include.ratchet.features.schema import known_columns
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.train import build_set
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.database import upgrade
from include.ratchet.registry.formats import dump_model
from include.ratchet.registry.lineage import Lineage, hash_code, hash_lock, python_version
from include.ratchet.registry.submit import Submission, register
from include.ratchet.registry.versions import load_estimator
from include.ratchet.scoring import find_champion, score_partitions
from include.ratchet.settings import PROJECT, Settings, read_settings
from include.ratchet.spec import Model, ModelKey, get_model, partition_of, partitions_between
from include.ratchet.training.fit import Candidate, fit_candidate, steady
from include.ratchet.training.frames import features_frame, label_array

RESULTS = PROJECT / "benchmarks" / "results" / "scoring.md"
NAME = "flight_delay"
KEY = ModelKey(NAME)
AS_OF = datetime(2014, 1, 2, tzinfo=UTC)
FITTED_ROWS = 60_000
CANDIDATE = Candidate("hist_boosting", {"learning_rate": 0.1, "max_leaf_nodes": 31, "l2_regularization": 0.1})


def main() -> None:
    """Prepare an installation once, measure each number of rows in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 100_000, 300_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"keep the table in {RESULTS.relative_to(PROJECT)}")
    parser.add_argument("--child", nargs=3, metavar=("HOME", "KIND", "ROWS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        home, kind, rows = arguments.child
        print(json.dumps(MEASURES[kind](workspace_of(Path(home)), int(rows), arguments.repeats)))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(workspace_of(Path(folder)))
        found = [_measure_rows(folder, rows, arguments.repeats) for rows in arguments.rows]
    text = "\n".join([
        "# Batch scoring: how fast, and in how much memory",
        "",
        f"Median of {arguments.repeats}; {feature_count()} features; histogram boosting; a process of its own for each "
        "number. Memory is the peak of the whole process, with the year's history for the features in it.",
        "",
        "| rows | bare `predict_proba` rows/s | features + predict rows/s | batch scoring rows/s | of bare | "
        "of features + predict | CPU µs a row: bare / features + predict / batch scoring | peak MB of batch scoring | "
        "peak MB of features + predict |",
        "|---|---|---|---|---|---|---|---|---|",
        *found,
    ]) + "\n"  # fmt: skip
    print(text)
    if arguments.write:
        RESULTS.write_text(text)


def feature_count() -> int:
    """Of the flights' model."""
    return len(feature_names(get_model(PROJECT / "include" / "models", NAME)))


def prepare(workspace: Workspace, candidate: Candidate = CANDIDATE) -> None:
    """Land the year, fit on its first rows and make that version the champion."""
    settings, model = workspace.settings, workspace.model(NAME)
    settings.home.mkdir(parents=True, exist_ok=True)
    upgrade(settings.database_url)
    ends = (partition_of(model.spec, day) for day in ("2013-01-01", "2013-12-31"))
    days = list(partitions_between(model.spec, *ends))
    for table in model.spec.table_names:
        land_many(model, table, days, lambda day: day.end, settings=settings,
                  connections=workspace.connections, run_id="benchmark")  # fmt: skip
    snapshot = build_set(workspace, TrainingRequest(KEY, "benchmark", AS_OF))
    rows = snapshot.read().slice(0, FITTED_ROWS)
    frame, label = features_frame(rows, feature_names(model)), label_array(rows, model.spec)
    estimator = fit_candidate(model, candidate, frame, label)
    content, form = dump_model(estimator, model.spec)
    scores = estimator.predict_proba(frame.iloc[:2000])[:, 1]
    version = register(model, Submission(
        training_id="benchmark", lineage=_lineage(model, candidate, snapshot.id), form=form, files={},
        example=frame.iloc[:5],
        report=evaluate(model.spec, rows.slice(0, 2000), label[:2000], scores, (), baselines=[], champion=None,
                        cost=CostResult(0.0, 0.0, True)),
        verdict=Verdict("promote", ()), model=content, estimator=estimator, reason="benchmark",
    ), settings)  # fmt: skip
    entry = ledger.Entry(KEY, "promotion", "benchmark", "benchmark", "benchmark", AS_OF, version.number, AS_OF)
    ledger.move_champion(entry, None, settings)


def measure_bare(workspace: Workspace, rows: int, repeats: int) -> dict[str, float]:
    """`predict_proba` on ready features."""
    settings, model = workspace.settings, workspace.model(NAME)
    given = _rows(settings, model, rows, known_columns(model))
    estimator, needed = _estimator(workspace, model)
    with Scorer(model, KEY, Inputs.open(settings, model), settings=settings) as scorer:
        frame = features_frame(scorer.score(given), needed)
    with steady(model):
        return _timed(lambda: estimator.predict_proba(frame), len(frame), repeats)


def measure_features(workspace: Workspace, rows: int, repeats: int) -> dict[str, float]:
    """Features of rows in memory, at once, then `predict_proba`; opening the history is part of it."""
    settings, model = workspace.settings, workspace.model(NAME)
    given = _rows(settings, model, rows, known_columns(model))
    estimator, needed = _estimator(workspace, model)

    def work() -> Any:
        with Scorer(model, KEY, Inputs.open(settings, model), settings=settings) as scorer:
            frame = features_frame(scorer.score(given), needed)
        with steady(model):
            return estimator.predict_proba(frame)

    return _timed(work, given.num_rows, repeats)


def measure_batch(workspace: Workspace, rows: int, repeats: int) -> dict[str, float]:
    """The whole of batch scoring, each time into a store without scores."""
    import shutil

    settings = workspace.settings
    days = _days(settings, rows)
    count = sum(Table(settings, NAME, NAME).row_counts()[day] for day in days)

    def work() -> None:
        shutil.rmtree(f"{settings.store}/scores", ignore_errors=True)
        score_partitions(workspace, KEY, days)

    return _timed(work, count, repeats)


MEASURES: dict[str, Callable[[Workspace, int, int], dict[str, float]]] = {
    "bare": measure_bare, "features": measure_features, "batch": measure_batch,
}  # fmt: skip


def _measure_rows(home: str, rows: int, repeats: int) -> str:
    found = {}
    for kind in MEASURES:
        line = [sys.executable, "-m", "benchmarks.scoring", "--repeats", str(repeats), "--child", home, kind, str(rows)]
        done = subprocess.run(line, check=True, capture_output=True, text=True, cwd=PROJECT)
        found[kind] = json.loads(done.stdout.splitlines()[-1])
    speeds = {kind: one["rows"] / one["seconds"] for kind, one in found.items()}
    batch = speeds["batch"]
    return (
        f"| {found['batch']['rows']:,.0f} | {speeds['bare']:,.0f} | {speeds['features']:,.0f} | {batch:,.0f} | "
        f"{batch / speeds['bare']:.2f} | {batch / speeds['features']:.2f} | "
        f"{' / '.join(format(one['cpu'] / one['rows'] * 1e6, '.1f') for one in found.values())} | "
        f"{found['batch']['peak_mb']:,.0f} | "
        f"{found['features']['peak_mb']:,.0f} |"
    )


def _timed(work: Callable[[], object], rows: int, repeats: int) -> dict[str, float]:
    """Median times after one run that is not counted, by the clock and of all cores, and the process's peak."""
    work()
    times, used = [], []
    for _ in range(repeats):
        start, before = time.perf_counter(), time.process_time()
        work()
        times.append(time.perf_counter() - start)
        used.append(time.process_time() - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": rows, "seconds": statistics.median(times), "cpu": statistics.median(used), "peak_mb": peak}


def workspace_of(home: Path) -> Workspace:
    """An installation of its own in a folder."""
    settings = read_settings({"RATCHET_HOME": str(home / "home")})
    return Workspace(settings, MappedConnections(), lambda: AS_OF)


def _days(settings: Settings, rows: int) -> list[str]:
    """The first days that have so many rows."""
    counts = Table(settings, NAME, NAME).row_counts()
    reached = np.cumsum(list(counts.values()))
    return list(counts)[: int(np.searchsorted(reached, rows)) + 1]


def _rows(settings: Settings, model: Model, rows: int, columns: list[str]) -> pa.Table:
    return Table(settings, NAME, NAME).read(_days(settings, rows), columns=columns)


def _estimator(workspace: Workspace, model: Model) -> tuple[Any, tuple[str, ...]]:
    version = find_champion(workspace.settings, KEY)
    if version is None:
        raise LookupError(NAME)
    return load_estimator(model, version, workspace.settings), version.lineage.features


def _lineage(model: Model, candidate: Candidate, snapshot: str) -> Lineage:
    return Lineage(
        key=KEY, as_of=AS_OF, window_start=None, snapshot=snapshot, source_versions={},
        features=feature_names(model), candidate=candidate.name, params=candidate.params, search={}, seed=0,
        spec_hash=model.spec.hash, code_hash=hash_code(model), lock_hash=hash_lock(), git_commit="unknown",
        is_dirty=True, python=python_version(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
