from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.ratchet.data.snapshots import Snapshot, build_snapshot, load_snapshot
from include.ratchet.errors import NotReproducibleError
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey

KEY = ModelKey("orders", "FR")
AS_OF = datetime(2024, 1, 9, tzinfo=UTC)
START = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = pa.table({"order_id": ["a", "b"], "amount": [1.0, None]})


def build(settings: Settings, compute: Callable[[], pa.Table] = lambda: ROWS, **changes: Any) -> Snapshot:
    asked: dict[str, Any] = {
        "as_of": AS_OF, "window_start": START, "query": "select 1", "versions": {"orders": 3}, **changes,
    }  # fmt: skip
    return build_snapshot(asked.pop("key", KEY), compute=compute, settings=settings, **asked)


def never() -> pa.Table:
    message = "computed again"
    raise AssertionError(message)


def test_asked_twice_it_is_built_once(settings: Settings) -> None:
    first = build(settings)
    assert build(settings, never) == first
    assert first.read().equals(ROWS)
    assert (first.rows, first.columns) == (2, (("order_id", "string"), ("amount", "double")))


def test_the_same_instant_in_another_zone_is_the_same_question(settings: Settings) -> None:
    first = build(settings)
    assert build(settings, never, as_of=AS_OF.astimezone(timezone(timedelta(hours=9)))) == first


def test_data_that_came_later_gives_the_same_snapshot(settings: Settings) -> None:
    first = build(settings)
    second = build(settings, versions={"orders": 4})
    assert second.id == first.id
    assert second.sources == {"orders": 3}, "the versions it was first computed from"


@pytest.mark.parametrize(
    "changes",
    [
        {"as_of": AS_OF + timedelta(hours=1)}, {"window_start": START + timedelta(days=1)}, {"query": "select 2"},
        {"key": ModelKey("orders")}, {"compute": lambda: ROWS.slice(1)}, {"compute": lambda: ROWS.take([1, 0])},
        {"compute": lambda: ROWS.select(["amount", "order_id"])},
    ],
    ids=["as_of", "window", "query", "key", "rows", "order", "columns"],
)  # fmt: skip
def test_whatever_it_says_is_in_its_id(settings: Settings, changes: dict[str, Any]) -> None:
    first = build(settings)
    second = build(settings, versions={"orders": 9}, **changes)
    assert second.id != first.id
    assert load_snapshot(first.key, first.id, settings) == first


def test_it_is_found_by_its_id_and_survives_json(settings: Settings) -> None:
    first = build(settings)
    assert load_snapshot(KEY, first.id, settings) == first
    assert Snapshot.from_dict(json.loads(json.dumps(first.to_dict()))) == first


def test_credentials_are_neither_stored_nor_shown(settings: Settings) -> None:
    secretive = dataclasses.replace(settings, storage_options={"AWS_SECRET_ACCESS_KEY": "hush"})
    first = build(secretive)
    assert "hush" not in repr(first) + json.dumps(first.to_dict())


def test_an_unknown_id_says_where_it_looked(settings: Settings) -> None:
    with pytest.raises(FileNotFoundError, match="orders/FR: no snapshot abc"):
        load_snapshot(KEY, "abc", settings)


def test_a_changed_file_is_noticed(settings: Settings) -> None:
    import pyarrow.parquet as pq

    first = build(settings)
    pq.write_table(pa.table({"order_id": ["a", "b"], "amount": [1.0, 2.0]}), Path(first.location) / "data.parquet")
    with pytest.raises(NotReproducibleError, match="It was changed after it was built"):
        first.read()
    assert first.read(verify=False).num_rows == 2


def test_without_its_manifest_a_snapshot_does_not_exist(settings: Settings) -> None:
    """A builder that was killed between data and manifest has built nothing; the next one does."""
    first = build(settings)
    (Path(first.location) / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError):
        load_snapshot(KEY, first.id, settings)
    assert build(settings) == first


def test_builders_at_once_agree(settings: Settings) -> None:
    barrier = threading.Barrier(4)

    def compute() -> pa.Table:
        barrier.wait()
        return ROWS

    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda version: build(settings, compute, versions={"orders": version}), range(4)))
    assert len({snapshot.id for snapshot in built}) == 1
    assert len({tuple(snapshot.sources.items()) for snapshot in built}) == 1
    assert not list(Path(built[0].location).glob(".*")), "no temporary file is left"


def test_a_store_that_was_moved_is_read_where_it_is(settings: Settings, tmp_path: Path) -> None:
    first = build(settings)
    Path(settings.store).rename(tmp_path / "elsewhere")
    moved = load_snapshot(KEY, first.id, dataclasses.replace(settings, store=str(tmp_path / "elsewhere")))
    assert moved.read().equals(ROWS)
