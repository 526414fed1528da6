"""One contract for every kind of source: the same rows come out, whatever they were kept in."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import sqlalchemy

from include.ratchet.data.connections import ConnectionInfo, Connections, MappedConnections
from include.ratchet.data.landing import LandingReport, land
from include.ratchet.data.quarantine import quarantine_table
from include.ratchet.data.sources import open_source
from include.ratchet.data.store import open_client
from include.ratchet.errors import PartitionUnavailableError
from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from tests.include.ratchet.data.orders import SCHEMA, day, landed_rows, order, write_model, write_rows

ROWS = [order(number, 1 + number // 10) for number in range(30)]
BAD = order(10, 2, order_id="bad", amount=-5.0)
TWICE = order(11, 2, amount=77.0)
LATE = datetime(2024, 2, 1, tzinfo=UTC)


@dataclass
class Stage:
    """A model whose source holds the orders, and what is needed to read it."""

    model: Model
    connections: Connections


Stager = Callable[[list[dict[str, Any]]], Stage]


def _by_day(rows: list[dict[str, Any]]) -> dict[str, pa.Table]:
    days: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        days.setdefault(row["placed_at"].strftime("%Y-%m-%d"), []).append(row)
    return {key: pa.Table.from_pylist(found, SCHEMA) for key, found in days.items()}


def _csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pacsv.write_csv(table, sink)
    return sink.getvalue()


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _stage_files(folder: Path, rows: list[dict[str, Any]], suffix: str, *, daily: bool) -> Stage:
    data = folder / "data"
    data.mkdir()
    write = _csv if suffix == "csv" else _parquet
    tables = _by_day(rows) if daily else {"all": pa.Table.from_pylist(rows, SCHEMA)}
    for key, table in tables.items():
        (data / f"orders-{key}.{suffix}").write_bytes(write(table))
    name = "{partition}" if daily else "*"
    model = write_model(folder, {"source": {"files": f"{data}/orders-{name}.{suffix}"}})
    return Stage(model, MappedConnections())


def _stage_bucket(
    folder: Path, rows: list[dict[str, Any]], bucket: str, connections: Connections, source: dict[str, str]
) -> Stage:
    client = open_client(connections.get("store").storage_options())
    for key, table in _by_day(rows).items():
        client.put_object(Bucket=bucket, Key=f"orders/{key}.csv", Body=_csv(table))
    client.close()
    return Stage(write_model(folder, {"source": {**source, "connection": "store"}}), connections)


def _stage_sql(folder: Path, rows: list[dict[str, Any]], postgres: ConnectionInfo, *, whole: bool) -> Stage:
    engine = sqlalchemy.create_engine(postgres.sqlalchemy_url())
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE IF EXISTS orders"))
        connection.execute(
            sqlalchemy.text(
                "CREATE TABLE orders (order_id text, placed_at timestamptz, amount numeric(10, 2), country text, "
                "items int, is_returned boolean, settled_at timestamptz, refund double precision)"
            )
        )
        names = ", ".join(f":{name}" for name in SCHEMA.names)
        connection.execute(sqlalchemy.text(f"INSERT INTO orders VALUES ({names})"), rows)
    engine.dispose()
    where = "" if whole else " WHERE placed_at >= :start AND placed_at < :end"
    source = {"sql": f"SELECT * FROM orders{where}", "connection": "shop"}
    return Stage(write_model(folder, {"source": source}), MappedConnections({"shop": postgres}))


def _stage_function(folder: Path, rows: list[dict[str, Any]]) -> Stage:
    model = write_model(folder)
    write_rows(model, rows)
    return Stage(model, MappedConnections())


@pytest.fixture(
    params=[
        "python", "csv-daily", "csv-whole", "parquet-daily", "parquet-whole", "s3-object", "s3-pattern", "s3-fsspec",
        "sql-bound", "sql-whole",
    ]
)  # fmt: skip
def stager(request: pytest.FixtureRequest, tmp_path: Path) -> Stager:
    kind = request.param
    if kind == "python":
        return lambda rows: _stage_function(tmp_path, rows)
    if kind.startswith("sql"):
        postgres = request.getfixturevalue("postgres")
        return lambda rows: _stage_sql(tmp_path, rows, postgres, whole=kind == "sql-whole")
    if kind.startswith("s3"):
        bucket, connections = request.getfixturevalue("bucket"), request.getfixturevalue("store_connection")
        source = {
            "s3-object": {"s3": f"{bucket}/orders/{{partition}}.csv"},
            "s3-pattern": {"s3": f"{bucket}/orders/*.csv"},
            "s3-fsspec": {"files": f"s3://{bucket}/orders/{{partition}}.csv"},
        }[kind]
        return lambda rows: _stage_bucket(tmp_path, rows, bucket, connections, source)
    suffix, _, span = kind.partition("-")
    return lambda rows: _stage_files(tmp_path, rows, suffix, daily=span == "daily")


def _land(stage: Stage, number: int, settings: Settings) -> LandingReport:
    return land(
        stage.model,
        "orders",
        day(stage.model, number),
        LATE,
        settings=settings,
        connections=stage.connections,
        run_id="test",
    )


def test_the_partition_lands_with_its_types(stager: Stager, settings: Settings) -> None:
    stage = stager(ROWS)
    report = _land(stage, 2, settings)
    expected = pa.Table.from_pylist([row for row in ROWS if row["placed_at"].day == 2], SCHEMA)
    assert (report.read, report.landed, report.quarantined, report.duplicates) == (10, 10, 0, 0)
    assert landed_rows(stage.model, settings).select(SCHEMA.names).equals(expected.sort_by("placed_at"))


def test_a_bad_row_and_a_duplicate_are_accounted_for(stager: Stager, settings: Settings) -> None:
    stage = stager([*ROWS, BAD, TWICE])
    report = _land(stage, 2, settings)
    assert (report.read, report.landed, report.quarantined, report.duplicates) == (12, 10, 1, 1)
    kept = {row["order_id"]: row["amount"] for row in landed_rows(stage.model, settings).to_pylist()}
    assert kept["o11"] == 77.0, "the last of two rows with the same key is kept"
    held = quarantine_table(settings, "orders", "orders").read().to_pylist()
    assert [(row["reason"], row["run"]) for row in held] == [("amount: below 0", "test")]
    assert '"order_id": "bad"' in held[0]["row"]
    assert ", row 1" in held[0]["position"] or ", row 31" in held[0]["position"], "the row's number in its file"


def test_an_absent_partition_is_unavailable(stager: Stager, settings: Settings) -> None:
    stage = stager(ROWS)
    with pytest.raises(PartitionUnavailableError, match=r"no rows for 2024-01-20"):
        _land(stage, 20, settings)


def test_reading_twice_gives_the_same(stager: Stager) -> None:
    stage = stager(ROWS)
    source = open_source(stage.model, "orders", stage.connections)
    first, second = (source.read(day(stage.model, 3), LATE) for _ in range(2))
    assert first.table.equals(second.table)
    assert [first.position(row) for row in range(10)] == [second.position(row) for row in range(10)]
    assert len({first.position(row) for row in range(10)}) == 10
