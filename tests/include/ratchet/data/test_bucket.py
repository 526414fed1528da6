"""Tables, quarantine and snapshots in a bucket, as on a folder."""

from __future__ import annotations

import dataclasses
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from include.ratchet.data.annotations import Annotation, AnnotationTable
from include.ratchet.data.blobs import open_blobs
from include.ratchet.data.quarantine import quarantine_table
from include.ratchet.data.snapshots import build_snapshot, load_snapshot
from include.ratchet.data.tables import Table
from include.ratchet.erasure.search import walk
from include.ratchet.erasure.tables import purge_table
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey
from tests.include.ratchet.data.orders import day, land_day, land_days, landed_rows, make_settings, order, write_rows

JANUARY = [order(number, 1 + number // 8) for number in range(32)]


@pytest.fixture
def in_bucket(settings: Settings, bucket: str, object_store: dict[str, str]) -> Settings:
    return dataclasses.replace(settings, store=f"s3://{bucket}/store", storage_options=object_store)


def test_a_bucket_holds_the_same_table_as_a_folder(model: Model, settings: Settings, in_bucket: Settings) -> None:
    write_rows(model, [*JANUARY, order(99, 2, amount=-1.0)])
    for place in (settings, in_bucket):
        for number in (1, 2, 3):
            land_day(model, number, place)
    assert landed_rows(model, in_bucket).equals(landed_rows(model, settings))
    assert quarantine_table(in_bucket, "orders", "orders").row_counts() == {"2024-01-02": 1}
    assert all(file.startswith(in_bucket.store) for file in Table(in_bucket, "orders", "orders").files())
    assert not land_day(model, 3, in_bucket).is_changed


def test_runs_at_once_in_a_bucket_lose_and_double_nothing(model: Model, in_bucket: Settings) -> None:
    write_rows(model, JANUARY)
    barrier = threading.Barrier(3)

    def land_late(number: int) -> None:
        barrier.wait()
        land_day(model, number, in_bucket)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(land_late, [2, 2, 4]))
    assert Table(in_bucket, "orders", "orders").row_counts() == {"2024-01-02": 8, "2024-01-04": 8}


def test_a_snapshot_lives_in_a_bucket(model: Model, in_bucket: Settings, tmp_path: Path) -> None:
    write_rows(model, JANUARY)
    land_days(model, [1, 2], in_bucket)
    rows = landed_rows(model, in_bucket)
    asked = {
        "as_of": day(model, 2).end, "window_start": day(model, 1).start, "query": "all", "versions": {"orders": 0},
    }  # fmt: skip
    key = ModelKey("orders")
    built = [
        build_snapshot(key, compute=lambda: rows, settings=place, **asked)
        for place in (in_bucket, make_settings(tmp_path / "folder"))
    ]
    assert built[0].id == built[1].id
    assert built[0].location.startswith("s3://")
    found = load_snapshot(key, built[0].id, in_bucket).read()
    assert found.equals(built[1].read())
    assert isinstance(found, pa.Table)


def test_annotations_of_two_writers_live_in_a_bucket(in_bucket: Settings) -> None:
    when = JANUARY[0]["settled_at"]

    def say(number: int) -> int:
        said = [Annotation(f'["o{one}"]', f"l{number}", when, one % 2 == 0) for one in range(5)]
        return AnnotationTable(in_bucket, "orders").add(said, when)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(say, range(3))) == [5, 5, 5]
    assert say(2) == 0
    assert len(AnnotationTable(in_bucket, "orders").all()) == 15


def test_rows_and_their_past_go_from_a_bucket(model: Model, in_bucket: Settings) -> None:
    """No object below the table names the order afterwards, and the table goes on."""
    write_rows(model, JANUARY)
    land_days(model, [1, 2, 3], in_bucket)
    table, blobs = Table(in_bucket, "orders", "orders"), open_blobs(in_bucket)
    gone = landed_rows(model, in_bucket)["order_id"][3].as_py()
    wanted = pa.scalar(gone)

    def quoting() -> list[str]:
        return [path for path in walk(blobs, "tables") if gone_in(path, blobs.get(path) or b"", gone)]

    assert quoting()
    done = purge_table(in_bucket, table, lambda rows: pc.equal(rows["order_id"], wanted).to_numpy())
    assert done.rows == 1
    assert quoting() == []
    assert table.version() == done.version
    assert land_day(model, 4, in_bucket).is_changed
    assert sum(table.row_counts().values()) == 31


def gone_in(path: str, content: bytes, value: object) -> bool:
    """Whether a file has a value in a column, or in the log's statistics."""
    if path.endswith(".parquet"):
        return str(value) in str(pq.read_table(io.BytesIO(content)).to_pylist())
    return str(value).encode() in content
