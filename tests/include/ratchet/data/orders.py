"""A small shop's orders: the model that the data tests land, from whatever source they write it to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.landing import LandingReport, land, land_many
from include.ratchet.data.tables import Table
from include.ratchet.settings import Settings, read_settings
from include.ratchet.spec import Model, Partition, load_model, partition_of

NO_CONNECTIONS = MappedConnections()
SPEC: dict[str, Any] = {
    "name": "orders",
    "owner": "shop",
    "description": "Will an order be sent back? Asked when it is placed.",
    "task": "binary",
    "source": {"python": "orders"},
    "keys": ["order_id"],
    "event_time": "placed_at",
    "start": "2024-01-01",
    "label": {
        "column": "is_returned",
        "available_time": "settled_at",
        "lateness": "2d",
        "outcomes": ["refund"],
    },
    "columns": {
        "order_id": {"type": "string", "nullable": False},
        "placed_at": {"type": "timestamp", "nullable": False},
        "amount": {"type": "float", "min": 0, "max": 1000},
        "country": {"type": "string", "values": ["FR", "DE"]},
        "items": {"type": "integer", "min": 1},
        "is_returned": {"type": "boolean"},
        "settled_at": {"type": "timestamp"},
        "refund": {"type": "float"},
    },
    "quality": {"quarantine_limit": 0.5},
}
SOURCE = """
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pathlib import Path

def orders(partition, as_of):
    rows = pq.read_table(Path(__file__).with_name("rows.parquet"))
    if "placed_at" not in rows.column_names or str(rows.schema.field("placed_at").type) == "string":
        return rows
    inside = pc.and_(pc.greater_equal(rows["placed_at"], partition.start), pc.less(rows["placed_at"], partition.end))
    return rows.filter(pc.or_(inside, pc.is_null(rows["placed_at"])).fill_null(True))
"""
TIME = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("order_id", pa.string()),
        ("placed_at", TIME),
        ("amount", pa.float64()),
        ("country", pa.string()),
        ("items", pa.int64()),
        ("is_returned", pa.bool_()),
        ("settled_at", TIME),
        ("refund", pa.float64()),
    ]
)


def make_settings(folder: Path, models: Path | None = None) -> Settings:
    """An installation below a folder."""
    environ = {"RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(models or folder / "models")}
    return read_settings(environ)


def write_model(folder: Path, changes: Mapping[str, Any] | None = None, drop: Sequence[str] = ()) -> Model:
    """The orders model, with sections replaced or left out; its Python source reads `rows.parquet` beside it."""
    target = folder / "models" / "orders"
    target.mkdir(parents=True, exist_ok=True)
    spec = {key: value for key, value in {**SPEC, **(changes or {})}.items() if key not in drop}
    (target / "model.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    (target / "sources.py").write_text(SOURCE)
    return load_model(target)


def write_rows(model: Model, rows: pa.Table | Sequence[Mapping[str, Any]]) -> pa.Table:
    """What the Python source will give."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), SCHEMA)
    pq.write_table(table, model.folder / "rows.parquet")
    return table


def order(number: int, day: int = 1, **changes: Any) -> dict[str, Any]:
    """One good order of a January day, settled 30 hours later."""
    placed = datetime(2024, 1, day, number % 24, number % 60, tzinfo=UTC)
    return {
        "order_id": f"o{number}",
        "placed_at": placed,
        "amount": float(number % 900),
        "country": "FR" if number % 2 else "DE",
        "items": 1 + number % 5,
        "is_returned": number % 3 == 0,
        "settled_at": placed + timedelta(hours=30),
        "refund": float(number % 7),
        **changes,
    }


def day(model: Model, number: int) -> Partition:
    """A day of January 2024."""
    return partition_of(model.spec, f"2024-01-{number:02d}")


def land_day(model: Model, number: int, settings: Settings, as_of: datetime | None = None) -> LandingReport:
    """Land a day as of its end."""
    partition = day(model, number)
    return land(
        model,
        model.name,
        partition,
        as_of or partition.end,
        settings=settings,
        connections=NO_CONNECTIONS,
        run_id="test",
    )


def land_days(model: Model, numbers: Sequence[int], settings: Settings) -> LandingReport:
    """Land days at once, each as of its end."""
    return land_many(
        model,
        model.name,
        [day(model, number) for number in numbers],
        lambda partition: partition.end,
        settings=settings,
        connections=NO_CONNECTIONS,
        run_id="test",
    )


def landed_rows(model: Model, settings: Settings) -> pa.Table:
    """Everything in the model's own table, by time and key."""
    table = Table(settings, model.name, model.name).read()
    return table.sort_by([("_partition", "ascending"), ("placed_at", "ascending"), ("order_id", "ascending")])
