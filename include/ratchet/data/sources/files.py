"""CSV and Parquet files under an fsspec URL as a source."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from include.ratchet.data.connections import Connections
from include.ratchet.data.sources.batch import (
    SourceBatch,
    concat_batches,
    explain_absence,
    fill_placeholders,
    has_placeholders,
)
from include.ratchet.data.sources.slices import slice_batch
from include.ratchet.data.sources.tabular import Format, guess_format, parse_bytes
from include.ratchet.errors import SourceError
from include.ratchet.spec import Model, Partition


class FileSource:
    """Reads every file that the spec's URL matches: the partition's own, or the whole history to cut it from."""

    def __init__(self, model: Model, table: str, connections: Connections) -> None:
        spec = model.spec.table(table)
        self._table = table
        self._spec = spec
        self._url = _absolute(str(spec.source.files), model)
        options = connections.get(spec.source.connection).storage_options() if spec.source.connection else {}
        self._options = _fsspec_options(options) if self._url.startswith("s3://") else {}

    def read(self, partition: Partition, as_of: datetime) -> SourceBatch:
        """The rows of the partition's files, in the order of their names."""
        url = fill_placeholders(self._url, partition)
        batch = _read_files(url, self._spec.source.format, tuple(sorted(self._options.items())), self._fingerprint(url))
        if batch is not None and not has_placeholders(self._url):
            batch = slice_batch(batch, self._spec.event_time, partition)
        if batch is None or batch.rows == 0:
            raise explain_absence(self._table, partition, url)
        return batch

    def _fingerprint(self, url: str) -> tuple[tuple[str, str], ...]:
        """The matching files, each with what changes when its content does."""
        filesystem, path = _open_filesystem(url, self._options)
        try:
            filesystem.invalidate_cache()
            found = filesystem.glob(path, detail=True) if _is_glob(path) else _stat(filesystem, path)
        except FileNotFoundError:
            return ()
        except Exception as error:
            message = f"{self._table}: {url} cannot be listed: {type(error).__name__}: {error}"
            raise SourceError(message) from error
        marks = ("ETag", "mtime", "LastModified", "size")
        return tuple(
            (name, "/".join(str(info.get(mark)) for mark in marks))
            for name, info in sorted(found.items())
            if info["type"] == "file"
        )


@functools.lru_cache(maxsize=8)
def _read_files(
    url: str, given: Format | None, options: tuple[tuple[str, Any], ...], files: tuple[tuple[str, str], ...]
) -> SourceBatch | None:
    """Parsed once for all partitions that are cut from the same unchanged files."""
    filesystem, _ = _open_filesystem(url, dict(options))
    batches = []
    for name, _ in files:
        try:
            content = filesystem.cat_file(name)
        except OSError as error:
            message = f"{name} cannot be read: {type(error).__name__}: {error}"
            raise SourceError(message) from error
        batches.append(parse_bytes(content, name, guess_format(name, given)))
    return concat_batches(batches) if batches else None


def _open_filesystem(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(url, **options)
    return filesystem, path


def _stat(filesystem: Any, path: str) -> dict[str, Any]:
    info = filesystem.info(path)
    if info["type"] != "directory":
        return {path: info}
    listed = filesystem.ls(path, detail=True)
    return {entry["name"]: entry for entry in listed if not entry["name"].rsplit("/", 1)[-1].startswith((".", "_"))}


def _is_glob(path: str) -> bool:
    return any(sign in path for sign in "*?[")


def _absolute(url: str, model: Model) -> str:
    return url if "://" in url or url.startswith("/") else str(model.folder / url)


def _fsspec_options(options: Mapping[str, str]) -> dict[str, Any]:
    words = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ENDPOINT_URL": "endpoint_url",
    }
    return {words[key]: value for key, value in options.items() if key in words}
