"""What has been answered is on the disk, whatever happens, and reaches its table once."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress

import httpx
import psutil
import pyarrow as pa
import pytest

from include.ratchet.data.records import RecordTable
from include.ratchet.data.tables import PARTITION_COLUMN
from include.ratchet.errors import LogUnavailableError
from include.ratchet.serving import shipping
from include.ratchet.serving.log import Batch, RecordLog
from include.ratchet.serving.shipping import Shipper, ship
from include.ratchet.settings import PROJECT
from include.ratchet.spec import get_model
from tests.include.ratchet.serving.conftest import AS_OF, MODEL, make_rows, set_route
from tests.ports import free_port

pytestmark = pytest.mark.filterwarnings("default")


def rows(*ids):
    return pa.table({
        "request_id": list(ids), "row": pa.array([0] * len(ids), pa.int32()),
        "event_time": pa.array([AS_OF] * len(ids), pa.timestamp("us", "UTC")),
        PARTITION_COLUMN: ["2026-03-01"] * len(ids),
    })  # fmt: skip


def batch(*ids, **more):
    return Batch(MODEL, "requests", rows(*ids), **more)


@pytest.fixture
def log(tmp_path):
    log = RecordLog(tmp_path / "log")
    yield log
    log.close()


@pytest.fixture
def table(settings):
    return RecordTable(settings, get_model(settings.models_dir, MODEL), "requests")


def test_submitted_rows_are_on_the_disk_and_answers_are_found(log):
    log.submit(batch("a", "b", answers=[("a", b"1")])).result()
    other = sqlite3.connect(log.path)
    assert other.execute("SELECT sum(size) FROM batches").fetchone() == (2,)
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()
    assert log.find_answer(MODEL, "a") == b"1"
    assert log.find_answer(MODEL, "b") is None
    assert log.waiting().rows == 2


def test_what_gathers_is_committed_together(log):
    commits = []
    insert = log._insert

    def slow(connection, batches):
        commits.append(len(batches))
        time.sleep(0.05)
        insert(connection, batches)

    log._insert = slow
    done = [log.submit(batch(str(number))) for number in range(50)]
    for one in done:
        one.result()
    assert sum(commits) == 50
    assert len(commits) < 10


def test_the_journal_stays_small_under_a_steady_load(log, monkeypatch):
    monkeypatch.setattr("include.ratchet.serving.log._CHECKPOINT_S", 0.05)
    large = Batch(MODEL, "requests", rows(*(os.urandom(5000).hex() for _ in range(60))))
    journal = log.path.with_name(f"{log.path.name}-wal")
    sizes = []
    for _ in range(200):
        log.submit(large).result()
        sizes.append(journal.stat().st_size)
    assert log.path.stat().st_size + sizes[-1] > 60e6
    assert max(sizes[100:]) < 30e6


def test_rows_reach_their_table_once(log, settings, table):
    log.submit(batch("a", "b")).result()
    assert ship(log, settings) == 2
    assert ship(log, settings) == 0
    log.submit(batch("c")).result()
    assert ship(log, settings) == 1
    assert sorted(table.read()["request_id"].to_pylist()) == ["a", "b", "c"]
    assert log.waiting().rows == 0


def test_shipment_that_dies_after_its_commit_is_not_repeated(log, settings, table, monkeypatch):
    log.submit(batch("a", "b")).result()
    monkeypatch.setattr(RecordLog, "forget", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ship(log, settings)
    monkeypatch.undo()
    log.submit(batch("c")).result()
    assert ship(log, settings) == 1
    assert sorted(table.read()["request_id"].to_pylist()) == ["a", "b", "c"]


def test_two_shipments_at_once_ship_once(log, settings, table, monkeypatch):
    monkeypatch.setattr(shipping, "_ROWS", 3)
    for number in range(30):
        log.submit(batch(f"r{number}")).result()
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: ship(log, settings), range(4))) == 30
    assert table.read().num_rows == 30


def test_a_shipping_process_that_is_killed_ships_once(log, settings, table):
    shipper, generator, count = Shipper(log, settings), random.Random(3), 0  # noqa: S311
    killed = 0
    for _ in range(5):
        for _ in range(100):
            count += 1
            log.submit(batch(f"r{count}")).result()
        known = set(multiprocessing.active_children())
        with ThreadPoolExecutor(1) as pool:
            shipped = pool.submit(shipper.ship)
            while not (ours := set(multiprocessing.active_children()) - known):
                time.sleep(0.01)
            time.sleep(generator.uniform(0, 3))
            for process in ours:
                process.kill()
            try:
                shipped.result()
            except BrokenProcessPool:
                killed += 1
            shipper.close()
    shipper.ship()
    shipper.close()
    found = table.read(columns=["request_id"])["request_id"].to_pylist()
    assert sorted(found) == sorted(f"r{number}" for number in range(1, count + 1))
    assert killed
    assert log.waiting().rows == 0


def test_log_that_cannot_be_written_refuses_and_recovers(log, monkeypatch):
    insert = log._insert

    def fail(*_):
        message = "database or disk is full"
        raise sqlite3.OperationalError(message)

    monkeypatch.setattr(log, "_insert", fail)
    with pytest.raises(LogUnavailableError, match="disk is full"):
        log.submit(batch("a")).result()
    assert not log.is_writable
    monkeypatch.setattr(log, "_insert", insert)
    log.probe()
    deadline = time.monotonic() + 5
    while not log.is_writable:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    log.submit(batch("b")).result()


def test_service_refuses_rather_than_forget(serve, settings, monkeypatch):
    served = serve()
    served.predict(make_rows(1))
    log = served.service.log

    def fail(*_):
        raise OSError(28, "No space left on device")

    insert = log._insert
    monkeypatch.setattr(log, "_insert", fail)
    answer = served.predict(make_rows(1))
    assert (answer.status_code, answer.json()["error"]) == (503, "not_recorded")
    assert served.client.get("/v2/health/ready").status_code == 503
    monkeypatch.setattr(log, "_insert", insert)
    served.wait_for(lambda: served.client.get("/v2/health/ready").status_code == 200)
    assert served.predict(make_rows(1)).status_code == 200


def test_what_is_refused_is_not_counted_and_has_no_shadow(serve, settings, monkeypatch):
    shadow = {"mode": "shadow", "champion": 2, "challenger": 1, "share": 0.0, "salt": "s", "is_shadowed": False}
    set_route(settings, shadow)
    served = serve()
    served.predict(make_rows(1))
    served.wait_for(lambda: served.service.log.waiting().rows == 2)

    def fail(*_):
        raise OSError(28, "No space left on device")

    shadowed = []
    monkeypatch.setattr(served.service._shadows, "_predict", shadowed.append)
    monkeypatch.setattr(served.service.log, "_insert", fail)
    assert served.predict(make_rows(3)).status_code == 503
    counts = served.client.get("/metrics").text
    assert f'ratchet_predictions_total{{model="{MODEL}",route="champion",version="2"}} 1.0' in counts
    assert shadowed == []


def test_best_effort_answers_and_counts(serve, settings, monkeypatch):
    path = settings.models_dir / MODEL / "model.yaml"
    path.write_text(path.read_text() + "serving: {records: {durability: best_effort}}\n")
    served = serve()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(served.service.log, "_insert", fail)
    assert served.predict(make_rows(2)).status_code == 200
    assert f'ratchet_unrecorded_total{{model="{MODEL}"}} 2.0' in served.client.get("/metrics").text


# Imports once, and forks a service for each word that it reads.
PARENT = """
import os, sys
import mlflow.artifacts, pandas, skops.io, sklearn.linear_model, sklearn.compose, ibis.backends.duckdb, deltalake
import include.ratchet.serving.__main__ as program
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        program.main()
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


class Loaded:
    """A service in a process of its own that dies at random moments under load, and what it has answered."""

    def __init__(self, settings, folder):
        self.settings, self.port = settings, free_port()
        self.answered: set[str] = set()
        self.environ = {
            **os.environ, "PYTHONPATH": str(PROJECT), "RATCHET_HOME": str(settings.home),
            "RATCHET_MODELS_DIR": str(settings.models_dir), "RATCHET_STORE": settings.store,
            "MLFLOW_TRACKING_URI": settings.mlflow_url, "RATCHET_SERVING_LOG": str(folder),
            "RATCHET_SERVING_PORT": str(self.port), "RATCHET_SERVING_SHIP_S": "0.2",
        }  # fmt: skip
        self.count = 0
        self.parent = subprocess.Popen(
            [sys.executable, "-c", PARENT], env=self.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self):
        self.parent.stdin.write("start\n")
        self.parent.stdin.flush()
        self.pid = int(self.parent.stdout.readline())
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                answer = self.send("warm-up")
                if answer.is_success:
                    return
            time.sleep(0.05)
        raise AssertionError(self.parent.poll())

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        assert self.parent.stdout.readline() == "gone\n"

    def send(self, name):
        body = {"rows": make_rows(2), "request_id": name}
        return httpx.post(f"http://127.0.0.1:{self.port}/v1/models/{MODEL}/predict", json=body, timeout=10)

    def load(self, stop):
        while not stop.is_set():
            self.count += 1
            name = f"r{self.count}-{threading.get_ident()}"
            with suppress(httpx.HTTPError, json.JSONDecodeError):
                answer = self.send(name)
                if answer.is_success and len(answer.json()["predictions"]) == 2:
                    self.answered.add(name)


def test_a_service_that_is_killed_takes_its_shipping_process_along(settings, tmp_path, table):
    loaded = Loaded(settings, tmp_path / "log")
    loaded.start()
    deadline = time.monotonic() + 60
    while table.open() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = psutil.Process(loaded.pid).children(recursive=True)
    assert children
    assert all(child.nice() >= 10 for child in children if "resource_tracker" not in " ".join(child.cmdline()))
    loaded.kill()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    loaded.parent.communicate()


def test_no_answered_request_is_lost_or_doubled_over_twenty_kills(settings, tmp_path, table):
    loaded, generator = Loaded(settings, tmp_path / "log"), random.Random(7)  # noqa: S311
    for number in range(20):
        loaded.start()
        stop = threading.Event()
        threads = [threading.Thread(target=loaded.load, args=(stop,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        # Most die before they have shipped anything, some in the middle of it.
        time.sleep(generator.uniform(2, 4) if number % 5 == 4 else generator.uniform(0.05, 0.9))
        loaded.kill()
        stop.set()
        for thread in threads:
            thread.join()
    loaded.parent.communicate()
    log = RecordLog(tmp_path / "log")
    ship(log, settings)
    log.close()
    found = table.read(columns=["request_id", "row"]).to_pylist()
    keys = [(one["request_id"], one["row"]) for one in found]
    assert len(keys) == len(set(keys))
    assert loaded.answered <= {name for name, _ in keys}
    assert len(loaded.answered) > 100
