"""The database `ratchet`: what must be transactional, table by table, and the schema's migrations."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
)

MIGRATIONS = Path(__file__).with_name("migrations")
metadata = MetaData()

ledger = Table(
    "ledger",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("idempotency_key", String(700), nullable=False, unique=True),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("model", String(63), nullable=False),
    Column("segment", String(300), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("version", Integer),
    Column("actor", String(250), nullable=False),
    Column("reason", Text, nullable=False),
    Column("as_of", DateTime(timezone=True)),
    Column("details", JSON, nullable=False),
    Index("ledger_by_model_key", "model", "segment", "id"),
    Index("ledger_by_kind", "model", "kind", "id"),
)
"""Append-only: requests, verdicts, promotions, reverts and approvals; who or what, when, why, on which numbers."""

aliases = Table(
    "aliases",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("segment", String(300), primary_key=True),
    Column("alias", String(32), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("as_of", DateTime(timezone=True)),
    Column("ledger_id", Integer, nullable=False),
)
"""Which version an alias names: the row that a promotion compares and swaps; MLflow's aliases follow it."""

rollouts = Table(
    "rollouts",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("segment", String(300), primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("state", JSON, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)
"""The hand-over of each model key, as one row that is compared by its revision and swapped."""

histories = Table(
    "histories",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("segment", String(300), primary_key=True),
    Column("name", String(63), primary_key=True),
    Column("definition", String(64), nullable=False),
    Column("known_until", DateTime(timezone=True), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("rows", LargeBinary, nullable=False),
)
"""What online features are computed from: for each join of a model's features, the rows that can still matter."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("name", String(250), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)
"""Keys of the prediction service, hashed; a key that is taken back is removed."""

looks = Table(
    "looks",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("segment", String(300), primary_key=True),
    Column("partition", String(32), primary_key=True),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("as_of", DateTime(timezone=True), nullable=False),
    Column("version", Integer),
    Column("rows", Integer, nullable=False),
    Column("content", JSON, nullable=False),
    Column("summary", JSON),
    Index("looks_by_model_key", "model", "segment", "started_at"),
    Index("looks_by_start", "model", "started_at"),
)
"""What monitoring saw of each partition of a model key: its numbers, and the signals that they gave; of that
the little that a list of a thousand keys shows."""

incidents = Table(
    "incidents",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("segment", String(300), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("closed_at", DateTime(timezone=True)),
    Column("state", JSON, nullable=False),
)
"""One problem of one model key from its first signal to its end; at most its last one is open."""


@lru_cache(maxsize=4)
def engine_of(url: str) -> Engine:
    """One engine a process and URL. No connection is made before it is used."""
    return create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=4)


def upgrade(url: str) -> None:
    """Bring the schema up to date."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    command.upgrade(config, "head")
