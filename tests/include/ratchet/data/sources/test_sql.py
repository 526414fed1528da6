from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.ratchet.data.connections import ConnectionInfo, MappedConnections
from include.ratchet.data.sources import open_source
from include.ratchet.errors import PartitionUnavailableError, SourceError
from tests.include.ratchet.data.orders import day, write_model

ROWS = (
    "SELECT * FROM (VALUES ('a', timestamptz '2024-01-01 06:00+00', 1.5::numeric), "
    "('b', timestamptz '2024-01-01 18:00+00', NULL), ('c', timestamptz '2024-01-02 06:00+00', 2)) "
    "AS rows(order_id, placed_at, amount)"
)
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def read(folder: Path, postgres: ConnectionInfo, query: str, as_of: datetime = NOON) -> list[dict[str, object]]:
    model = write_model(folder, {"source": {"sql": query, "connection": "shop"}})
    source = open_source(model, "orders", MappedConnections({"shop": postgres}))
    return list(source.read(day(model, 1), as_of).table.to_pylist())


def test_as_of_is_bound(tmp_path: Path, postgres: ConnectionInfo) -> None:
    query = f"{ROWS} WHERE placed_at >= :start AND placed_at < :end AND placed_at <= :as_of"
    assert [row["order_id"] for row in read(tmp_path, postgres, query)] == ["a"]


def test_the_partitions_key_is_bound(tmp_path: Path, postgres: ConnectionInfo) -> None:
    query = f"{ROWS} WHERE to_char(placed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') = :partition"
    assert [row["order_id"] for row in read(tmp_path, postgres, query)] == ["a", "b"]


def test_a_query_that_binds_no_time_is_cut(tmp_path: Path, postgres: ConnectionInfo) -> None:
    assert [row["order_id"] for row in read(tmp_path, postgres, ROWS)] == ["a", "b"]


def test_a_query_without_rows_is_no_partition(tmp_path: Path, postgres: ConnectionInfo) -> None:
    with pytest.raises(PartitionUnavailableError, match="looked at query on shop"):
        read(tmp_path, postgres, f"{ROWS} WHERE placed_at < :start")


def test_a_broken_query_names_its_connection_and_cause(tmp_path: Path, postgres: ConnectionInfo) -> None:
    with pytest.raises(SourceError, match=r"connection .shop. failed: .*no_such"):
        read(tmp_path, postgres, "SELECT * FROM no_such_table")


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    nowhere = ConnectionInfo(kind="postgres", host=str(tmp_path), login="postgres", password="secret")
    with pytest.raises(SourceError, match="connection 'shop' failed") as caught:
        read(tmp_path, nowhere, ROWS)
    assert "secret" not in str(caught.value)
