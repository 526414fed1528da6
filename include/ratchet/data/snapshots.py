"""Snapshots: immutable training sets, named by their content.

A snapshot's id covers what it says (key, instant, window, query, columns, rows, content) and not the versions of the
tables that it was read from: data that became available later makes new versions and the same snapshot. The versions
are in the manifest. An index by request answers the same question a second time without computing.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from include.ratchet.data.blobs import Blobs, open_blobs
from include.ratchet.data.hashing import describe_columns, hash_content, settle_table
from include.ratchet.errors import NotReproducibleError
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey

_DATA, _MANIFEST = "data.parquet", "manifest.json"


@dataclass(frozen=True)
class Snapshot:
    """One immutable training set.

    Attributes:
        id: SHA-256 over everything it says.
        key: whose it is.
        as_of: nothing in it became available later.
        window_start: its first instant of event time.
        rows: how many.
        columns: name and type of each column, in order.
        sources: the version of each table that it was first computed from.
        query_hash: SHA-256 of what was asked.
        content_hash: SHA-256 of the values.
        location: the folder or `s3://` prefix that holds `data.parquet` and `manifest.json`.
        erased_rows: of persons who were erased since; the other numbers are those of what is left.
    """

    id: str
    key: ModelKey
    as_of: datetime
    window_start: datetime
    rows: int
    columns: tuple[tuple[str, str], ...]
    sources: Mapping[str, int]
    query_hash: str
    content_hash: str
    location: str
    erased_rows: int = 0
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def read(self, *, verify: bool = True) -> pa.Table:
        """The rows, in their fixed order.

        Raises:
            NotReproducibleError: what is stored is not what was stored.
        """
        table = pq.read_table(io.BytesIO(self.read_bytes()))
        found = hash_content(table) if verify else self.content_hash
        if found != self.content_hash:
            message = (
                f"snapshot {self.id}: the content of {self.location}/{_DATA} hashes to {found}; expected "
                f"{self.content_hash}. It was changed after it was built; delete the folder and build it again."
            )
            raise NotReproducibleError(message)
        return table

    def read_bytes(self) -> bytes:
        """The rows as the Parquet file that holds them.

        Raises:
            NotReproducibleError: it is gone.
        """
        content = _blobs_at(self.location, self.storage_options).get(_DATA)
        if content is None:
            message = f"snapshot {self.id}: {self.location}/{_DATA} is gone; build the snapshot again"
            raise NotReproducibleError(message)
        return content

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it, without credentials."""
        data = asdict(self)
        del data["storage_options"]
        return data | {
            "key": list(self.key),
            "as_of": self.as_of.isoformat(),
            "window_start": self.window_start.isoformat(),
            "columns": [list(column) for column in self.columns],
            "sources": dict(self.sources),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], storage_options: Mapping[str, str] | None = None) -> Self:
        """The snapshot of `to_dict`; an object store's credentials are given anew."""
        return cls(
            **{
                **data,
                "key": ModelKey(*data["key"]),
                "as_of": datetime.fromisoformat(data["as_of"]),
                "window_start": datetime.fromisoformat(data["window_start"]),
                "columns": tuple((name, kind) for name, kind in data["columns"]),
                "storage_options": dict(storage_options or {}),
            }
        )


def build_snapshot(
    key: ModelKey,
    *,
    as_of: datetime,
    window_start: datetime,
    query: str,
    versions: Mapping[str, int],
    compute: Callable[[], pa.Table],
    settings: Settings,
) -> Snapshot:
    """The snapshot that a query gives, computed if it has not been asked of these versions before.

    Args:
        key: whose it is.
        as_of: the query sees only what was available then.
        window_start: where the training window begins.
        query: everything that decides the result besides `versions`: expressions, columns, their order.
        versions: version of each table that is read.
        compute: runs the query; its rows must come in a fixed order, as the order is part of the content.
        settings: where snapshots are.
    """
    blobs = open_blobs(settings)
    as_of, window_start = as_of.astimezone(UTC), window_start.astimezone(UTC)
    query_hash = hashlib.sha256(query.encode()).hexdigest()
    request = _hash_json([list(key), as_of.isoformat(), window_start.isoformat(), query_hash, dict(versions)])
    index = f"snapshots/{key.slug}/requests/{request}"
    known = blobs.get(index)
    if known is not None and (found := _load(blobs, key, known.decode(), settings)) is not None:
        return found
    table = settle_table(compute())
    content_hash, columns = hash_content(table), describe_columns(table)
    identity = _hash_json(
        [list(key), as_of.isoformat(), window_start.isoformat(), query_hash, columns, table.num_rows, content_hash]
    )
    snapshot = Snapshot(
        id=identity,
        key=key,
        as_of=as_of,
        window_start=window_start,
        rows=table.num_rows,
        columns=columns,
        sources=dict(sorted(versions.items())),
        query_hash=query_hash,
        content_hash=content_hash,
        location=blobs.address(_folder(key, identity)),
        storage_options=settings.storage_options,
    )
    _store(blobs, snapshot, table)
    blobs.put(index, identity.encode())
    return load_snapshot(key, identity, settings)


def load_snapshot(key: ModelKey, snapshot_id: str, settings: Settings) -> Snapshot:
    """A snapshot by its id.

    Raises:
        FileNotFoundError: there is none.
    """
    found = _load(open_blobs(settings), key, snapshot_id, settings)
    if found is None:
        message = f"{key}: no snapshot {snapshot_id} in {settings.store}/snapshots; build it again from its lineage"
        raise FileNotFoundError(message)
    return found


def replace_rows(snapshot: Snapshot, table: pa.Table, settings: Settings) -> Snapshot:
    """Leave fewer rows in a snapshot than it had, for the sake of persons who were erased; its id stays.

    Args:
        snapshot: as it was loaded.
        table: the rows that stay, in their order.
        settings: where snapshots are.
    """
    gone = snapshot.erased_rows + snapshot.rows - table.num_rows
    left = replace(snapshot, rows=table.num_rows, content_hash=hash_content(table), erased_rows=gone)
    blobs, folder = open_blobs(settings), _folder(snapshot.key, snapshot.id)
    # The manifest first: whoever reads in between is told that the rows are not those that it says.
    blobs.put(f"{folder}/{_MANIFEST}", json.dumps(left.to_dict(), indent=2, sort_keys=True).encode())
    blobs.put(f"{folder}/{_DATA}", _encode(table))
    return left


def _encode(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", compression_level=1)
    return buffer.getvalue()


def _store(blobs: Blobs, snapshot: Snapshot, table: pa.Table) -> None:
    """Data first: a snapshot exists from the moment its manifest does."""
    folder = _folder(snapshot.key, snapshot.id)
    if blobs.get(f"{folder}/{_MANIFEST}") is not None:
        return
    blobs.put(f"{folder}/{_DATA}", _encode(table))
    blobs.put_new(f"{folder}/{_MANIFEST}", json.dumps(snapshot.to_dict(), indent=2, sort_keys=True).encode())


def _load(blobs: Blobs, key: ModelKey, snapshot_id: str, settings: Settings) -> Snapshot | None:
    folder = _folder(key, snapshot_id)
    manifest = blobs.get(f"{folder}/{_MANIFEST}")
    if manifest is None:
        return None
    # A store may have been moved or be mounted elsewhere: the place is where it was found.
    data = {**json.loads(manifest), "location": blobs.address(folder)}
    return Snapshot.from_dict(data, settings.storage_options)


def _folder(key: ModelKey, snapshot_id: str) -> str:
    return f"snapshots/{key.slug}/{snapshot_id}"


def _hash_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _blobs_at(location: str, options: Mapping[str, str]) -> Blobs:
    from pathlib import Path

    from include.ratchet.data.blobs import BucketBlobs, FolderBlobs

    return BucketBlobs(location, dict(options)) if location.startswith("s3://") else FolderBlobs(Path(location))
