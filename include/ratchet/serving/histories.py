"""Where online histories lie between ingestion and the service: a table of the database, or Redis."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import pyarrow as pa
from sqlalchemy import select

from include.ratchet.features import Histories
from include.ratchet.registry.database import engine_of, histories
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey

_CODEC = "zstd"


class HistoryStore(Protocol):
    """Keeps the histories of model keys, each as a whole."""

    def write(self, key: ModelKey, built: Histories) -> int:
        """Put histories in the place of the ones before; returns their revision."""

    def read(self, key: ModelKey) -> tuple[Histories, int] | None:
        """The histories of a model key and their revision; None if there are none."""

    def revisions(self) -> dict[ModelKey, int]:
        """The revision of every model key's histories, without reading them."""


def open_store(settings: Settings) -> HistoryStore:
    """The store of an installation: Redis where RATCHET_ONLINE_URL names one, the database otherwise."""
    return RedisStore(settings.online_url) if settings.online_url else SqlStore(settings.database_url)


class SqlStore:
    """Histories as rows of the database `ratchet`, replaced in one transaction."""

    def __init__(self, url: str) -> None:
        self._engine = engine_of(url)

    def write(self, key: ModelKey, built: Histories) -> int:
        """Put histories in the place of the ones before; returns their revision."""
        mine = (histories.c.model == key.model, histories.c.segment == key.segment)
        with self._engine.begin() as connection:
            query = select(histories.c.revision).where(*mine).with_for_update()
            revision = max((row[0] for row in connection.execute(query)), default=0) + 1
            connection.execute(histories.delete().where(*mine))
            common = {
                "model": key.model, "segment": key.segment, "definition": built.definition,
                "known_until": built.known_until, "revision": revision,
            }  # fmt: skip
            rows = {**{name: _pack(table) for name, table in built.rows.items()}, "_": _pack(_reach(built))}
            connection.execute(
                histories.insert(), [{**common, "name": name, "rows": one} for name, one in rows.items()]
            )
        return revision

    def read(self, key: ModelKey) -> tuple[Histories, int] | None:
        """The histories of a model key and their revision; None if there are none."""
        query = select(histories).where(histories.c.model == key.model, histories.c.segment == key.segment)
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        if not rows:
            return None
        tables = {row["name"]: _unpack(row["rows"]) for row in rows}
        known_until = rows[0]["known_until"]
        known_until = known_until.replace(tzinfo=UTC) if known_until.tzinfo is None else known_until
        reach_from = tables.pop("_")["reach_from"][0].as_py()
        return Histories(rows[0]["definition"], known_until, reach_from, tables), rows[0]["revision"]

    def revisions(self) -> dict[ModelKey, int]:
        """The revision of every model key's histories, without reading them."""
        query = select(histories.c.model, histories.c.segment, histories.c.revision).distinct()
        with self._engine.connect() as connection:
            return {ModelKey(model, segment): revision for model, segment, revision in connection.execute(query)}


class RedisStore:
    """Histories as one hash for each model key, replaced in one transaction."""

    _ALL = "ratchet:histories"

    def __init__(self, url: str) -> None:
        import redis

        self._redis: Any = redis.Redis.from_url(url)

    def write(self, key: ModelKey, built: Histories) -> int:
        """Put histories in the place of the ones before; returns their revision."""
        name, revision = self._name(key), int(self._redis.incr(f"{self._name(key)}:revision"))
        about = {
            "definition": built.definition, "known_until": built.known_until.isoformat(),
            "reach_from": built.reach_from.isoformat(), "revision": revision,
        }  # fmt: skip
        content: Mapping[str, Any] = {n: _pack(table) for n, table in built.rows.items()} | {"_": json.dumps(about)}
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(name)
            pipe.hset(name, mapping=content)
            pipe.hset(self._ALL, json.dumps(list(key)), revision)
            pipe.execute()
        return revision

    def read(self, key: ModelKey) -> tuple[Histories, int] | None:
        """The histories of a model key and their revision; None if there are none."""
        found = {name.decode(): content for name, content in self._redis.hgetall(self._name(key)).items()}
        if not found:
            return None
        about = json.loads(found.pop("_"))
        tables = {name: _unpack(content) for name, content in found.items()}
        known_until, reach_from = (datetime.fromisoformat(about[name]) for name in ("known_until", "reach_from"))
        return Histories(about["definition"], known_until, reach_from, tables), about["revision"]

    def revisions(self) -> dict[ModelKey, int]:
        """The revision of every model key's histories, without reading them."""
        return {ModelKey(*json.loads(key)): int(one) for key, one in self._redis.hgetall(self._ALL).items()}

    def _name(self, key: ModelKey) -> str:
        return f"{self._ALL}:{key.slug}"


def _reach(built: Histories) -> pa.Table:
    return pa.table({"reach_from": pa.array([built.reach_from], pa.timestamp("us", "UTC"))})


def _pack(table: pa.Table) -> bytes:
    content = io.BytesIO()
    with pa.ipc.new_stream(content, table.schema, options=pa.ipc.IpcWriteOptions(compression=_CODEC)) as writer:
        writer.write_table(table)
    return content.getvalue()


def _unpack(content: bytes) -> pa.Table:
    return pa.ipc.open_stream(content).read_all()
