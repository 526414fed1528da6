"""How many predictions a second the service gives, and how soon, beside MLflow's server and a bare FastAPI.

.venv/bin/python -m benchmarks.serving [--seconds 8] [--repeats 3] [--write]

Needs `wrk` (Debian's package of that name). Every server has the same flights champion on the same machine, one server
at a time, in turn, and `wrk` on the same cores. Compared are:

- *Ratchet*: reads and checks each field, computes the features out of histories, predicts, and answers when the record
  is on the disk.
- *unrecorded*: the same with a log that keeps nothing, to tell what recording costs.
- *unshipped*: the same with a log that is not shipped into the table meanwhile.
- *in memory*: unshipped, with its log where syncing takes no time, to tell what of recording is the disk's.
- *unbatched*: the same with one request in a batch, to tell what batches cost a lone request.
- *bare FastAPI*: `predict_proba` of features that the caller sends ready made; records nothing.
- *MLflow*: `mlflow models serve` with its default settings; the features ready made as well.
- *predict_proba*: in a loop, in one process, on ready features: the limit of batches.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pyarrow as pa

from benchmarks.scoring import NAME, prepare, workspace_of
from include.ratchet.data.tables import Table
from include.ratchet.features import Inputs, Scorer
from include.ratchet.features.schema import known_columns
from include.ratchet.pipeline.online import materialise
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.versions import MODEL_FILES, Version, client_of, load_estimator
from include.ratchet.scoring import find_champion
from include.ratchet.settings import PROJECT
from include.ratchet.spec import ModelKey, partition_of
from include.ratchet.training.fit import Candidate, steady
from include.ratchet.training.frames import features_frame

RESULTS = PROJECT / "benchmarks" / "results" / "serving.md"
KEY = ModelKey(NAME)
PORT = 18091
MEMORY = Path("/dev/shm")  # noqa: S108 - where syncing takes no time
DAYS = ["2013-12-30", "2013-12-31"]
CHAMPION = Candidate("lightgbm", {"learning_rate": 0.08, "num_leaves": 60, "min_child_samples": 60})
"""Of the kind and about the size that the search of the demonstration chooses."""
LOADS = {"one connection": (1, 1), "32 connections": (32, 1), "1,000 rows": (2, 1000)}
"""Connections, and rows of a request."""
CHANGED = {
    "unrecorded": list(LOADS)[:2], "unshipped": list(LOADS)[:2], "in memory": list(LOADS)[:2],
    "unbatched": list(LOADS)[:1],
}  # fmt: skip
"""What else is measured of the service, and under which loads."""


@dataclass(frozen=True)
class Server:
    """One of the servers: how it is started, where it is asked, and which bodies it takes."""

    command: Sequence[str]
    path: str
    ready: str
    body: Callable[[Rows], Any]


@dataclass(frozen=True)
class Rows:
    """The same rows as callers know them and as features."""

    raw: list[dict[str, Any]]
    columns: list[str]
    features: list[list[Any]]

    def cut(self, start: int, count: int) -> Rows:
        """Some of them."""
        return Rows(self.raw[start : start + count], self.columns, self.features[start : start + count])


def main() -> None:
    """Train a champion, put every server under the same loads in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--home", help="keep the champion here, and take it from here the next time")
    parser.add_argument("--write", action="store_true", help=f"keep the table in {RESULTS.relative_to(PROJECT)}")
    parser.add_argument("--serve", choices=list(CHANGED), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    if shutil.which("wrk") is None:
        message = "found no wrk; expected Debian's package of that name: apt-get install wrk"
        raise SystemExit(message)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(arguments.home or folder)
        workspace = workspace_of(home)
        if not (home / "home").exists():
            prepare(workspace, CHAMPION)
        model = workspace.model(NAME)
        materialise(workspace, model, partition_of(model.spec, DAYS[-1]).end)
        disk = time_disk(Path(folder))
        found = measure(workspace, Path(folder), arguments.seconds, arguments.repeats)
    text = report(found, arguments.seconds, arguments.repeats, disk)
    print(text)
    if arguments.write:
        RESULTS.write_text(text)


def time_disk(folder: Path) -> str:
    """How long the disk takes to sync what a batch of requests takes in the log."""
    times = []
    with (folder / "sync").open("wb") as file:
        for _ in range(500):
            file.write(b"\0" * 32_768)
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    middle, worst = statistics.median(times), statistics.quantiles(times, n=100)[98]
    return f"The disk syncs 32 KB in {middle:.1f} ms (p50), {worst:.1f} ms (p99)."


def serve(kind: str) -> None:
    """The service with something left out."""
    from concurrent.futures import Future

    from include.ratchet.serving import __main__ as program
    from include.ratchet.serving import service
    from include.ratchet.serving.log import Batch, RecordLog
    from include.ratchet.serving.shipping import Shipper

    def forget(self: RecordLog, batch: Batch) -> Future[None]:
        done: Future[None] = Future()
        done.set_result(None)
        return done

    if kind == "unrecorded":
        RecordLog.submit = forget  # type: ignore[method-assign]
    elif kind in ("unshipped", "in memory"):
        Shipper.ship = lambda self: 0  # type: ignore[method-assign]
    else:
        service._BATCH_ROWS = 1
    program.main()


def measure(workspace: Workspace, folder: Path, seconds: float, repeats: int) -> dict[str, dict[str, list[Any]]]:
    """By server and load, what `wrk` found in each repeat."""
    given, features = _flights(workspace)
    rows, bare = _rows(given, features), _measure_bare(workspace, features, repeats)
    servers = _servers(workspace, folder)
    found: dict[str, dict[str, list[Any]]] = {name: {load: [] for load in CHANGED.get(name, LOADS)} for name in servers}
    for _ in range(repeats):
        for name, server in servers.items():
            with _running(server, workspace, folder, MEMORY if name == "in memory" else folder):
                for load in found[name]:
                    connections, size = LOADS[load]
                    bodies = folder / f"{name}-{size}.jsonl"
                    _write_bodies(bodies, server, rows, size)
                    _wrk(server, bodies, connections, min(2.0, seconds))
                    one = _wrk(server, bodies, connections, seconds)
                    print(f"{name}, {load}: {one}", file=sys.stderr)
                    found[name][load].append(one)
    found["predict_proba"] = {"1,000 rows": [{"rate": rate, "p50_ms": 1000 / rate, "p99_ms": 1000 / rate, "failed": 0,
                                              "refused": 0} for rate in bare]}  # fmt: skip
    return found


def report(found: Mapping[str, Mapping[str, Sequence[Any]]], seconds: float, repeats: int, disk: str) -> str:
    """The medians and their ratios as Markdown."""
    medians = {
        name: {load: {what: statistics.median(one[what] for one in runs) for what in runs[0]}
               for load, runs in loads.items()}
        for name, loads in found.items()
    }  # fmt: skip
    lines = [
        "# Serving: how many predictions a second, and how soon", "",
        f"Median of {repeats} runs of {seconds:g} s each, servers in turn; LightGBM; `wrk` on the same cores.", "",
        disk, "",
        "| server | load | requests/s | p50 ms | p99 ms | refused |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, loads in medians.items():
        for load, one in loads.items():
            lines.append(f"| {name} | {load} | {one['rate']:,.0f} | {one['p50_ms']:.1f} | {one['p99_ms']:.1f} | "
                         f"{one['refused'] + one['failed']:.0f} |")  # fmt: skip
    own, mlflow, bare = (medians[name] for name in ("Ratchet", "MLflow", "bare FastAPI"))
    lone, many, batch = LOADS
    bare_log, logged, at_once = (medians[name] for name in ("unrecorded", "unshipped", "in memory"))
    queued = own[lone]["p50_ms"] - medians["unbatched"][lone]["p50_ms"]
    limit = medians["predict_proba"][batch]["rate"]
    lines += [
        "", "| what | found | aim |", "|---|---|---|",
        f"| requests/s at 32 connections beside MLflow | {own[many]['rate'] / mlflow[many]['rate']:.1f} x | 10 x |",
        f"| p99 at 32 connections beside MLflow | {own[many]['p99_ms'] / mlflow[many]['p99_ms']:.3f} x | below 0.2 x |",
        f"| requests/s at 32 connections beside bare FastAPI | {own[many]['rate'] / bare[many]['rate']:.2f} x | 1 x |",
        *(
            f"| what recording adds to {what[:3]} of {load} | {at_once[load][what] - bare_log[load][what]:.1f} ms, the "
            f"disk {logged[load][what] - at_once[load][what]:.1f} ms, and shipping "
            f"{own[load][what] - logged[load][what]:.1f} ms | {'below 1 ms' if what == 'p99_ms' else ''} |"
            for load in (lone, many)
            for what in ("p50_ms", "p99_ms")
        ),
        f"| what batches add to p50 of a lone request | {queued:.1f} ms | below 3 ms |",
        f"| p50 of a lone request beside bare FastAPI | {own[lone]['p50_ms'] - bare[lone]['p50_ms']:+.1f} ms | |",
        f"| rows/s in batches of 1,000 beside `predict_proba` | {own[batch]['rate'] / limit:.2f} x | 0.7 x |",
        f"| the same, bare FastAPI | {bare[batch]['rate'] / limit:.2f} x | |",
        f"| the same, MLflow | {mlflow[batch]['rate'] / limit:.2f} x | |",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _servers(workspace: Workspace, folder: Path) -> dict[str, Server]:
    version = _champion(workspace)
    source = client_of(workspace.settings).download_artifacts(
        version.run_id, f"fitted/{MODEL_FILES['skops']}", str(folder)
    )
    python, port = sys.executable, str(PORT)
    own = Server(["-m", "include.ratchet.serving"], f"/v1/models/{NAME}/predict", f"/v1/models/{NAME}",
                 lambda rows: {"rows": rows.raw})  # fmt: skip
    mlflow = ["-m", "mlflow", "models", "serve", "-m", f"models:/{NAME}/{version.number}", "--env-manager", "local",
              "--port", port]  # fmt: skip
    servers = {
        "Ratchet": own,
        **{
            kind: Server(["-m", "benchmarks.serving", "--serve", kind], own.path, own.ready, own.body)
            for kind in CHANGED
        },
        "bare FastAPI": Server(
            ["-m", "benchmarks.serving_bare", source, port], "/predict", "/docs",
            lambda rows: {"columns": rows.columns, "data": rows.features},
        ),
        "MLflow": Server(mlflow, "/invocations", "/health", lambda rows: {
            "dataframe_split": {"columns": rows.columns, "data": rows.features}}),
    }  # fmt: skip
    return {name: Server([python, *one.command], one.path, one.ready, one.body) for name, one in servers.items()}


@contextmanager
def _running(server: Server, workspace: Workspace, folder: Path, logs: Path) -> Iterator[None]:
    settings, records = workspace.settings, tempfile.mkdtemp(dir=logs)
    environ = {
        **os.environ, "RATCHET_HOME": str(settings.home), "RATCHET_SERVING_PORT": str(PORT),
        "RATCHET_SERVING_LOG": records, "MLFLOW_TRACKING_URI": settings.mlflow_url,
        "PYTHONPATH": str(PROJECT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(server.command, env=environ, cwd=PROJECT, stdout=log, stderr=log,
                                   start_new_session=True)  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not _answers(server.ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((folder / "server.log").read_text()[-3000:])
            time.sleep(0.2)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(records)


def _answers(path: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{PORT}{path}", timeout=30).is_success
    except httpx.HTTPError:
        return False


def _wrk(server: Server, bodies: Path, connections: int, seconds: float) -> dict[str, float]:
    line = ["wrk", f"-c{connections}", "-t1", f"-d{seconds:g}s", "--timeout", "60s",
            "-s", str(PROJECT / "benchmarks" / "serving.lua"), f"http://127.0.0.1:{PORT}{server.path}"]  # fmt: skip
    done = subprocess.run(line, check=True, capture_output=True, text=True, env={**os.environ, "BODIES": str(bodies)})
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _write_bodies(path: Path, server: Server, rows: Rows, size: int) -> None:
    if path.exists():
        return
    step, count = (1, 400) if size == 1 else (50, 8)
    parts = (rows.cut(number * step % (len(rows.raw) - size + 1), size) for number in range(count))
    path.write_bytes(b"\n".join(orjson.dumps(server.body(part)) for part in parts) + b"\n")


def _champion(workspace: Workspace) -> Version:
    version = find_champion(workspace.settings, KEY)
    if version is None:
        raise LookupError(NAME)
    return version


def _flights(workspace: Workspace) -> tuple[pa.Table, pa.Table]:
    """Flights of the last days, which the online features reach, and the champion's features of them."""
    settings, model = workspace.settings, workspace.model(NAME)
    given = Table(settings, NAME, NAME).read(DAYS, columns=known_columns(model))
    with Scorer(model, KEY, Inputs.open(settings, model), settings=settings) as scorer:
        return given, scorer.score(given).select(list(_champion(workspace).lineage.features))


def _rows(given: pa.Table, features: pa.Table) -> Rows:
    values = [[None if one != one else one for one in row.values()] for row in features.to_pylist()]
    return Rows(given.to_pylist(), features.column_names, values)


def _measure_bare(workspace: Workspace, features: pa.Table, repeats: int) -> list[float]:
    """Calls of `predict_proba` a second, with 1,000 rows each."""
    model = workspace.model(NAME)
    estimator = load_estimator(model, _champion(workspace), workspace.settings)
    frame = features_frame(features.slice(0, 1000), features.column_names)
    found = []
    with steady(model):
        for _ in range(repeats):
            started, calls = time.perf_counter(), 0
            while time.perf_counter() - started < 2:
                estimator.predict_proba(frame)
                calls += 1
            found.append(calls / (time.perf_counter() - started))
    return found


if __name__ == "__main__":
    main()
