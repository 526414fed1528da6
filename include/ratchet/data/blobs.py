"""Small files of an installation's store, written whole or not at all: a folder or a bucket."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from include.ratchet.data.store import insist, open_client
from include.ratchet.settings import Settings

_PART_BYTES = 64 * 2**20
"""Larger objects go up in parts of this size, several at once."""
_WRITER = "writer"
_Result = TypeVar("_Result")


class Blobs(Protocol):
    """Reads and writes whole files by a path relative to the store's root."""

    def get(self, path: str) -> bytes | None:
        """A file's content, None if there is none."""
        ...

    def put(self, path: str, content: bytes) -> None:
        """Write a file; a reader sees the old content or the new one."""
        ...

    def put_new(self, path: str, content: bytes) -> bool:
        """Write a file unless there is one; of several writers exactly one is told True."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file, if there is one."""
        ...

    def names(self, folder: str) -> list[str]:
        """What lies directly in a folder ("" is the root), files and folders alike, sorted."""
        ...

    def address(self, path: str) -> str:
        """Where a file is, for people and other programs."""
        ...


def open_blobs(settings: Settings) -> Blobs:
    """The store of an installation."""
    if settings.store.startswith("s3://"):
        return BucketBlobs(settings.store, settings.storage_options)
    return FolderBlobs(Path(settings.store))


class MemoryBlobs:
    """Files of this process only: what is passed on between steps that run one after another."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def get(self, path: str) -> bytes | None:
        """A file's content, None if there is none."""
        return self._files.get(path)

    def put(self, path: str, content: bytes) -> None:
        """Keep a file."""
        self._files[path] = content

    def put_new(self, path: str, content: bytes) -> bool:
        """Keep a file unless there is one."""
        return self._files.setdefault(path, content) is content

    def remove(self, path: str) -> None:
        """Forget a file."""
        self._files.pop(path, None)

    def names(self, folder: str) -> list[str]:
        """The next part of every path in the folder."""
        prefix = f"{folder}/" if folder else ""
        inner = (path.removeprefix(prefix) for path in self._files if path.startswith(prefix))
        return sorted({path.partition("/")[0] for path in inner})

    def address(self, path: str) -> str:
        """A name for messages."""
        return f"memory:{path}"


class FolderBlobs:
    """Files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, path: str) -> bytes | None:
        """A file's content, None if there is none."""
        try:
            return (self._root / path).read_bytes()
        except (FileNotFoundError, IsADirectoryError):  # a bucket has no folders, and so none that is left empty
            return None

    def put(self, path: str, content: bytes) -> None:
        """Write beside the file and rename over it."""
        temporary = self._write_aside(path, content)
        temporary.replace(self._root / path)

    def put_new(self, path: str, content: bytes) -> bool:
        """Write beside the file and link it to its name, which fails if the name is taken."""
        temporary = self._write_aside(path, content)
        try:
            os.link(temporary, self._root / path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        return True

    def remove(self, path: str) -> None:
        """Unlink the file."""
        (self._root / path).unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        """What the folder holds but for files that are being written."""
        try:
            return sorted(one.name for one in (self._root / folder).iterdir() if not one.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def address(self, path: str) -> str:
        """The file's path."""
        return str(self._root / path)

    def _write_aside(self, path: str, content: bytes) -> Path:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        temporary.write_bytes(content)
        return temporary


class BucketBlobs:
    """Objects below a prefix of a bucket.

    Raises:
        StoreError: of every method: the store refuses, or was away for longer than `store.PATIENCE_S`.
    """

    def __init__(self, root: str, options: Mapping[str, str]) -> None:
        self._bucket, _, self._prefix = root.removeprefix("s3://").partition("/")
        self._client: Any = open_client(options)

    def get(self, path: str) -> bytes | None:
        """An object's content, None if there is none."""

        def attempt() -> bytes | None:
            try:
                return bytes(self._client.get_object(Bucket=self._bucket, Key=self._key(path))["Body"].read())
            except self._client.exceptions.NoSuchKey:
                return None

        return self._insist(attempt, path)

    def put(self, path: str, content: bytes) -> None:
        """An object becomes visible when it is whole; a large one goes up in parts."""
        from boto3.s3.transfer import TransferConfig

        place = {"Bucket": self._bucket, "Key": self._key(path)}
        if len(content) < _PART_BYTES:
            self._insist(lambda: self._client.put_object(**place, Body=content), path)
            return
        parts = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES)
        self._insist(lambda: self._client.upload_fileobj(io.BytesIO(content), **place, Config=parts), path)

    def put_new(self, path: str, content: bytes) -> bool:
        """A conditional put, of one part whatever its size: it fails if the key is taken, or being taken just now."""
        name = secrets.token_hex(8)

        def attempt() -> bool:
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._key(path), Body=content, IfNoneMatch="*", Metadata={_WRITER: name}
                )
            except self._client.exceptions.ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
                    raise
                # The one who took it may be this writer, whose first try got no answer.
                return self._writer_of(path) == name
            return True

        return self._insist(attempt, path)

    def remove(self, path: str) -> None:
        """Delete the object."""
        self._insist(lambda: self._client.delete_object(Bucket=self._bucket, Key=self._key(path)), path)

    def names(self, folder: str) -> list[str]:
        """The next part of every key below a prefix."""
        prefix = self._key(f"{folder}/" if folder else "")
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, Delimiter="/"
        )
        listed = self._insist(lambda: list(pages), folder)
        found = [one for page in listed for one in (*page.get("Contents", ()), *page.get("CommonPrefixes", ()))]
        keys = (one.get("Key") or one["Prefix"] for one in found)
        return sorted(key.removeprefix(prefix).rstrip("/") for key in keys)

    def address(self, path: str) -> str:
        """The object's `s3://` address."""
        return f"s3://{self._bucket}/{self._key(path)}"

    def _writer_of(self, path: str) -> str | None:
        """Who made the object; None if it is gone again, or was not made by `put_new`."""
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=self._key(path))
        except self._client.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            return None
        return cast("str | None", found["Metadata"].get(_WRITER))

    def _insist(self, attempt: Callable[[], _Result], path: str) -> _Result:
        return insist(attempt, self.address(path), self._client.meta.endpoint_url)

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}" if self._prefix else path
