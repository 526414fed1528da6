"""Small files of an installation's store, written whole or not at all: a folder or a bucket."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any, Protocol

from include.ratchet.settings import Settings


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
        """What lies directly in a folder, files and folders alike, sorted."""
        ...

    def address(self, path: str) -> str:
        """Where a file is, for people and other programs."""
        ...


def open_blobs(settings: Settings) -> Blobs:
    """The store of an installation."""
    if settings.store.startswith("s3://"):
        return BucketBlobs(settings.store, dict(settings.storage_options))
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
        inner = (path.removeprefix(f"{folder}/") for path in self._files if path.startswith(f"{folder}/"))
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
        except FileNotFoundError:
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
    """Objects below a prefix of a bucket."""

    def __init__(self, root: str, options: dict[str, str]) -> None:
        from include.ratchet.data.sources.objects import open_client

        self._bucket, _, self._prefix = root.removeprefix("s3://").partition("/")
        self._client: Any = open_client(options)

    def get(self, path: str) -> bytes | None:
        """An object's content, None if there is none."""
        try:
            return bytes(self._client.get_object(Bucket=self._bucket, Key=self._key(path))["Body"].read())
        except self._client.exceptions.NoSuchKey:
            return None

    def put(self, path: str, content: bytes) -> None:
        """An object becomes visible when it is whole."""
        self._client.put_object(Bucket=self._bucket, Key=self._key(path), Body=content)

    def put_new(self, path: str, content: bytes) -> bool:
        """A conditional put: it fails if the key is taken, or being taken at the same time."""
        from botocore.exceptions import ClientError

        try:
            self._client.put_object(Bucket=self._bucket, Key=self._key(path), Body=content, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}:
                return False
            raise
        return True

    def remove(self, path: str) -> None:
        """Delete the object."""
        self._client.delete_object(Bucket=self._bucket, Key=self._key(path))

    def names(self, folder: str) -> list[str]:
        """The next part of every key below a prefix."""
        prefix = f"{self._key(folder)}/"
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, Delimiter="/"
        )
        found = [one for page in pages for one in (*page.get("Contents", ()), *page.get("CommonPrefixes", ()))]
        keys = (one.get("Key") or one["Prefix"] for one in found)
        return sorted(key.removeprefix(prefix).rstrip("/") for key in keys)

    def address(self, path: str) -> str:
        """The object's `s3://` address."""
        return f"s3://{self._bucket}/{self._key(path)}"

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}" if self._prefix else path
