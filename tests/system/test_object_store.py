"""Everything that Ratchet keeps in a bucket, on a real S3 server, which fails as servers do."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest

from include.ratchet.data.blobs import BucketBlobs
from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.quarantine import quarantine_table
from include.ratchet.data.records import RecordTable, to_table
from include.ratchet.data.snapshots import build_snapshot, load_snapshot
from include.ratchet.data.tables import PARTITION_COLUMN, Table
from include.ratchet.monitoring.report import draw_report
from include.ratchet.pipeline.ingest import validate_landed
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.artifacts import open_version
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.replay import Selection, replay
from include.ratchet.serving.log import Batch, RecordLog
from include.ratchet.serving.shipping import ship
from include.ratchet.settings import Settings, read_settings
from include.ratchet.spec import ModelKey, load_model, segment_name
from include.ratchet.spec.scaffold import make_model
from include.ratchet.stack.components import Component
from tests.faulty import Fault, answer_amiss
from tests.include.ratchet.data.orders import day, make_settings, write_model, write_rows
from tests.include.ratchet.monitoring.watched import AS_OF, KEY, NAME, Watched
from tests.include.ratchet.replay.lived import read_orders, record
from tests.object_store import ObjectStore, open_store
from tests.ports import free_port
from tests.system.store_work import DAYS, ORDERS, ROWS, claim, land_all, refuse, work
from tests.system.test_serving_environment import run
from tests.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.filterwarnings("default")]

BUCKET = "ratchet"
PROCESSES = 4
MEGABYTE = 2**20
ODD = ['a/b "it\'s" 🛍', "é/ü+%2F?#&=", "../up", "a  b\\c", "x" * 300]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with open_store(tmp_path_factory.mktemp("store"), BUCKET) as running:
        yield running


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, store: ObjectStore) -> Settings:
    """An installation of the test's own in the bucket, with the orders' model."""
    write_rows(write_model(tmp_path), ROWS)
    root = f"s3://{BUCKET}/{request.node.name.replace('[', '/').rstrip(']')}"
    return dataclasses.replace(make_settings(tmp_path), store=root, storage_options=store.options)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Processes that have started before anything is measured."""
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(time.sleep, [1.0] * PROCESSES))
        yield pool


def test_of_many_processes_that_make_the_same_files_one_wins_each(place: Settings, pool: ProcessPoolExecutor) -> None:
    names = [f"race/{number}" for number in range(100)]
    writers = ["a", "b", "c", "d"]
    with multiprocessing.get_context("spawn").Manager() as manager:
        together = [manager.Barrier(len(writers))] * len(writers)
        # From both ends: whoever is ahead on one way stays so, as to be refused takes longer than to win.
        won = list(pool.map(claim, [place] * len(writers), [names, names[::-1]] * 2, writers, together))
    assert sorted(name for one in won for name in one) == sorted(names)
    blobs = BucketBlobs(place.store, place.storage_options)
    assert all(blobs.get(name) == writer.encode() for writer, one in zip(writers, won, strict=True) for name in one)
    assert sum(bool(one) for one in won) > 1


def test_processes_that_commit_at_once_lose_and_double_nothing(place: Settings, pool: ProcessPoolExecutor) -> None:
    list(pool.map(land_all, [place] * 3, [range(1, 9), range(1, 9), range(5, 13)]))
    counts = Table(place, "orders", "orders").row_counts()
    assert counts == {f"2024-01-{number:02d}": ORDERS for number in range(1, 13)}


def test_work_goes_on_when_the_store_is_killed_and_comes_back(
    place: Settings, store: ObjectStore, pool: ProcessPoolExecutor
) -> None:
    writers = ["one", "two"]
    blobs = BucketBlobs(place.store, place.storage_options)
    running = [pool.submit(work, place, writer) for writer in writers]
    wait_for(lambda: len(blobs.names("one")) >= 3 and len(blobs.names("two")) >= 1, 120)
    assert not any(one.done() for one in running)
    store.kill()
    time.sleep(5)
    store.start()
    longest = [one.result() for one in running]
    assert min(longest) > 4
    model = load_model(place.models_dir / "orders")
    days = [f"2024-01-{number:02d}" for number in range(1, DAYS + 1)]
    assert Table(place, "orders", "orders").row_counts() == dict.fromkeys(days, ORDERS)
    assert quarantine_table(place, "orders", "orders").version() is None
    records = RecordTable(place, model, "requests").read()
    assert sorted(records["request_id"].to_pylist()) == sorted(f"{w}-{n}" for w in writers for n in range(1, DAYS + 1))
    for writer in writers:
        assert len(blobs.names(writer)) == len(blobs.names(f"new/{writer}")) == DAYS
        assert blobs.get(f"{writer}/{DAYS}") == writer.encode() * 1000


@pytest.mark.parametrize("fault", ["SlowDown", "no answer"])
def test_store_that_answers_amiss_twice_is_asked_again(place: Settings, store: ObjectStore, fault: Fault) -> None:
    with answer_amiss(store.url, fault, "PUT", times=2) as url:
        behind = dataclasses.replace(place, storage_options={**store.options, "AWS_ENDPOINT_URL": url})
        land_all(behind, range(1, 4))
        blobs = BucketBlobs(behind.store, behind.storage_options)
        assert blobs.put_new("new", b"one")
        assert not blobs.put_new("new", b"two")
        blobs.put("put", b"three")
    blobs, table = BucketBlobs(place.store, place.storage_options), Table(place, "orders", "orders")
    assert table.row_counts() == {f"2024-01-0{number}": ORDERS for number in (1, 2, 3)}
    assert table.version() == 2
    assert (blobs.get("new"), blobs.get("put")) == (b"one", b"three")


def test_large_files_go_up_in_parts_and_come_back_the_same(place: Settings, store: ObjectStore) -> None:
    blobs, content = BucketBlobs(place.store, place.storage_options), os.urandom(66 * MEGABYTE)
    blobs.put("large", content)
    assert blobs.get("large") == content
    client = store.client()
    head = client.head_object(Bucket=BUCKET, Key=blobs.address("large").removeprefix(f"s3://{BUCKET}/"))
    client.close()
    assert head["ETag"].strip('"').endswith("-2")
    assert blobs.put_new("new", content)
    assert not blobs.put_new("new", content[::-1])
    assert blobs.get("new") == content


def test_large_commit_comes_back_the_same(place: Settings, store: ObjectStore) -> None:
    numbers = np.random.default_rng(1).random(10 * MEGABYTE)
    rows = pa.table({"number": numbers, PARTITION_COLUMN: pa.repeat("2024-01-01", len(numbers))})
    table = Table(place, "orders", "large")
    assert table.commit(None, rows, ["2024-01-01"], {}, {}) == 0
    assert table.read(columns=["number"])["number"].to_numpy().tobytes() == numbers.tobytes()
    client = store.client()
    prefix = table.location.removeprefix(f"s3://{BUCKET}/")
    sizes = [one["Size"] for one in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]]
    client.close()
    assert sum(sizes) > 64 * MEGABYTE


@pytest.mark.parametrize(
    ("amiss", "bucket", "found", "remedy"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, BUCKET, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, BUCKET, "InvalidAccessKeyId", "RATCHET_STORE_CONNECTION"),
        ({}, "nowhere", "NoSuchBucket", "./ratchet prepare"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, BUCKET, "onnect", "AWS_ENDPOINT_URL"),
    ],
    ids=["secret", "key", "bucket", "endpoint"],
)
def test_bad_address_is_said_in_seconds(
    place: Settings, store: ObjectStore, pool: ProcessPoolExecutor, amiss: dict[str, str], bucket: str, found: str,
    remedy: str,
) -> None:  # fmt: skip
    wrong = dataclasses.replace(place, store=f"s3://{bucket}/x", storage_options={**store.options, **amiss})
    said = list(pool.map(refuse, [wrong] * 2, ["file", "table"]))
    for words, seconds in said:
        assert words.startswith(f"s3://{bucket}/x/")
        assert f" at {wrong.storage_options['AWS_ENDPOINT_URL']}: found" in words
        assert found in words
        assert remedy in words
        assert seconds < 45


def test_odd_names_are_kept_and_found_again(place: Settings) -> None:
    blobs = BucketBlobs(place.store, place.storage_options)
    for name in ODD:
        blobs.put(f"odd/{name}/file", name.encode())
    assert all(blobs.get(f"odd/{name}/file") == name.encode() for name in ODD)
    assert blobs.names("odd") == sorted({name.partition("/")[0] for name in ODD})
    rows = pa.table({"number": [1.0, 2.0]})
    keys = [ModelKey("orders", segment_name([name])) for name in ODD]
    for key in keys:
        asked = {"as_of": datetime(2024, 1, 2, tzinfo=UTC), "window_start": datetime(2024, 1, 1, tzinfo=UTC)}
        built = build_snapshot(key, query="all", versions={}, compute=lambda: rows, settings=place, **asked)
        assert load_snapshot(key, built.id, place).read().equals(rows)
    assert len(blobs.names("snapshots")) == len(keys)
    model = load_model(place.models_dir / "orders")
    records = RecordTable(place, model, "requests")
    given = [{"request_id": name, "row": 0, "segment": key.segment, "event_time": ROWS[0]["placed_at"]}
             for name, key in zip(ODD, keys, strict=True)]  # fmt: skip
    records.append(given, 'a log/"with" 🛍', 1)
    first = day(model, 1)
    assert records.between(first.start, first.end)["segment"].to_pylist() == [key.segment for key in keys]


CHANGING = '''

_true_orders = orders


def orders(partition, as_of):
    """Prices in another currency, from a day on."""
    rows = _true_orders(partition, as_of)
    return rows.assign(price=rows["price"] * 100) if partition.key >= "2026-03-04" else rows
'''


@contextmanager
def run_mlflow(folder: Path, store: ObjectStore) -> Iterator[str]:
    """MLflow's server, whose artifacts are in the bucket."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = (
        sys.executable, "-m", "mlflow", "server", f"--backend-store-uri=sqlite:///{folder}/mlflow.db",
        f"--artifacts-destination=s3://{BUCKET}/mlflow", "--host=127.0.0.1", f"--port={port}", "--workers=1",
    )  # fmt: skip

    def is_healthy() -> bool:
        try:
            return httpx.get(f"{url}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    environ = {
        "PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1", "MLFLOW_S3_ENDPOINT_URL": store.url,
        "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **store.options,
    }  # fmt: skip
    with run(Component("mlflow", command, is_healthy), environ, folder / "mlflow.log"):
        wait_for(is_healthy, 120)
        yield url


@contextmanager
def open_home(folder: Path, store: ObjectStore) -> Iterator[Workspace]:
    """An installation with an empty home, whose databases lie elsewhere, and the scaffold's model."""
    (folder / "home").mkdir()
    with run_mlflow(folder, store) as url:
        places = {
            "RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models"),
            "RATCHET_STORE": f"s3://{BUCKET}/life", "RATCHET_DATABASE_URL": f"sqlite:///{folder}/ratchet.db",
            "MLFLOW_TRACKING_URI": url,
        }  # fmt: skip
        settings = read_settings({**places, **store.options})
        upgrade(settings.database_url)
        with (make_model(settings.models_dir, NAME) / "sources.py").open("a") as source:
            source.write(CHANGING)
        yield Workspace(settings, MappedConnections({}), lambda: datetime(2026, 6, 1, tzinfo=UTC))
        engine_of(settings.database_url).dispose()


def ship_records(workspace: Workspace, count: int) -> None:
    """Answer orders, and let the records go by the service's log."""
    answered = record(workspace, read_orders(workspace, "2026-03-02", count), "direct")
    spec, log = workspace.model(NAME).spec, RecordLog(workspace.settings.home / "log")
    rows = [{**row, "request_id": "shipped", "row": number} for number, row in enumerate(answered)]
    log.submit(Batch(NAME, "requests", to_table(spec, "requests", rows))).result()
    assert ship(log, workspace.settings) == count
    log.close()


def test_whole_life_leaves_nothing_on_the_disk(tmp_path: Path, store: ObjectStore) -> None:
    with open_home(tmp_path, store) as workspace:
        settings, model = workspace.settings, workspace.model(NAME)
        trained = run_model(workspace, model, TrainingRequest(KEY, "first", AS_OF, trials=2), lambda *_: None)
        assert trained.promotion is not None
        assert trained.promotion.is_promoted
        look = Watched(workspace).live("2026-03-01", "2026-03-05")[-1].look
        assert "drift" in look.kinds
        page = draw_report(settings, model, look)
        (validated,) = validate_landed(workspace, model, ["2026-03-02"], "a run")
        ship_records(workspace, 6)
        report = replay(workspace, NAME, Selection("shipped"))
        assert (report.records, report.is_identical, report.features.equal) == (6, True, 6)
        assert b"<html" in open_version(KEY.slug, 1, settings).read("card.html")
    whole = BucketBlobs(f"s3://{BUCKET}", store.options)
    assert b"<html" in (whole.get(f"life/{page}") or b"")
    assert b"<html" in (whole.get(validated.docs_path.removeprefix(f"s3://{BUCKET}/")) or b"")
    assert whole.names("mlflow")
    assert whole.names("life") == [
        "monitoring", "profiles", "requests", "runs", "scores", "snapshots", "tables", "validation",
    ]  # fmt: skip
    home = settings.home
    assert {path.relative_to(home).parts[0] for path in home.rglob("*") if path.is_file()} == {"log"}
