"""A fleet's training against a plain loop that fits the same and does nothing else."""

from __future__ import annotations

import multiprocessing
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.fleet import world
from include.ratchet.data.segments import Parts
from include.ratchet.features import feature_names
from include.ratchet.pipeline import fleet
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.settings import Settings
from include.ratchet.training.fit import fit_candidate
from include.ratchet.training.frames import features_frame, label_array
from include.ratchet.training.search import candidate_of
from include.ratchet.training.split import split_rows

WORKERS = 2


def run_fleet(settings: Settings, request: TrainingRequest) -> dict[str, Any]:
    """Plan, train in as many processes as there are cores, conclude; seconds of each, and what came of it."""
    workspace = world.open_workspace(settings)
    # From a process that has loaded the libraries and done nothing, as tasks are.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.fleet.preloaded"])
    with context.Pool(1) as ready:
        ready.apply(int)
    started = time.perf_counter()
    plan = fleet.plan_fleet(workspace, request, WORKERS)
    planned = time.perf_counter()
    with context.Pool(WORKERS, maxtasksperchild=1) as pool:
        batches = pool.starmap(_train, [(settings, request, number) for number in range(len(plan.batches))], 1)
    trained = time.perf_counter()
    results = fleet.conclude(workspace, request)
    ended = time.perf_counter()
    return {
        "plan_s": planned - started, "train_s": trained - planned, "conclude_s": ended - trained,
        "batches": len(plan.batches), "total_s": ended - started, "counts": fleet.count(results),
        "memory_mb": max(peak for peak, _ in batches), "batch_s": [took for _, took in batches],
    }  # fmt: skip


def _train(settings: Settings, request: TrainingRequest, number: int) -> tuple[float, float]:
    """One batch as a task runs it, in a forked process; its peak memory in MB, and its seconds."""
    started = time.perf_counter()
    fleet.train_batch(world.open_workspace(settings), request, number)
    return _peak_mb(), time.perf_counter() - started


def _peak_mb() -> float:
    """This process's peak of memory of its own; a forked one's begins at its fork's."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return float(lines["Private_Dirty"].split()[0]) / 1000


def run_loop(settings: Settings, table: pa.Table, trials: int) -> float:
    """Seconds of a joblib loop that fits what the fleet fits: each key's trials, the final fit, and that once more."""
    from joblib import Parallel, delayed

    parts = _parts(settings, table)
    started = time.perf_counter()
    Parallel(n_jobs=WORKERS)(delayed(_fit)(settings, part, trials) for part in parts)
    return time.perf_counter() - started


def _parts(settings: Settings, table: pa.Table) -> list[Any]:
    """Of each segment its frame, label and split, ready to be fitted."""
    model = world.open_workspace(settings).model(world.NAME)
    parts, found = Parts(table, ("shop",)), []
    for shop in pc.unique(table["shop"]).to_pylist():
        part = parts.of(shop)
        split = split_rows(part, model.spec, world.AS_OF)
        found.append((features_frame(part, feature_names(model)), label_array(part, model.spec), split))
    return found


def _fit(settings: Settings, part: Any, trials: int) -> None:
    from include.ratchet.training.proposals import fixed_points

    frame, label, split = part
    model = world.open_workspace(settings).model(world.NAME)
    points = fixed_points(model.spec, "random", trials)
    for point in points:
        candidate = candidate_of(point)
        fit_candidate(model, candidate, frame.iloc[split.train], label[split.train])
    for _ in range(2):
        fit_candidate(model, candidate, frame.iloc[split.development], label[split.development])


def sizes_of(settings: Settings, folder: Path) -> dict[str, float]:
    """Megabytes of the two databases and of MLflow's files."""
    from sqlalchemy import create_engine, text

    engine = create_engine(settings.database_url)
    query = text("SELECT datname, pg_database_size(datname) FROM pg_database WHERE datname IN ('ratchet', 'mlflow')")
    with engine.connect() as connection:
        found = {f"{name} database": float(size) / 1e6 for name, size in connection.execute(query)}
    engine.dispose()
    (folder / "mlflow").mkdir(exist_ok=True)
    done = subprocess.run(["du", "-sm", str(folder / "mlflow")], capture_output=True, text=True, check=True)
    return {**found, "MLflow files": float(done.stdout.split()[0])}


def measure(folder: Path, segments: int, rows: int, trials: int, rounds: int) -> dict[str, Any]:
    """Both sides by turns; medians."""
    world.make_model(folder, trials)
    with world.services(folder) as settings:
        workspace = world.open_workspace(settings)
        table = world.make_rows(segments, rows)
        before, loops, fleets, found = sizes_of(settings, folder), [], [], {}
        for number in range(rounds):
            loops.append(run_loop(settings, table, trials))
            request = TrainingRequest(world.KEY, f"round {number}", world.AS_OF, force=True)
            stored_s = world.prepare(workspace, request, table)
            found = run_fleet(settings, request)
            fleets.append(found["total_s"])
        after = sizes_of(settings, folder)
    grown = {name: (after[name] - before[name]) / rounds for name in after}
    return {
        **found, "segments": segments, "loop_s": statistics.median(loops), "fleet_s": statistics.median(fleets),
        "ratio": statistics.median(b / a for a, b in zip(loops, fleets, strict=True)), "snapshot_s": stored_s, **grown,
    }  # fmt: skip
