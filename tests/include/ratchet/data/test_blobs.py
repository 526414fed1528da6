from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from include.ratchet.data.blobs import Blobs, open_blobs
from include.ratchet.settings import Settings


@pytest.fixture(params=["folder", "bucket"])
def blobs(request: pytest.FixtureRequest, settings: Settings) -> Blobs:
    if request.param == "folder":
        return open_blobs(settings)
    store = f"s3://{request.getfixturevalue('bucket')}/some/prefix"
    options = request.getfixturevalue("object_store")
    return open_blobs(dataclasses.replace(settings, store=store, storage_options=options))


def test_what_is_put_is_got(blobs: Blobs) -> None:
    assert blobs.get("a/b.json") is None
    blobs.put("a/b.json", b"one")
    blobs.put("a/b.json", b"two")
    assert blobs.get("a/b.json") == b"two"
    assert blobs.address("a/b.json").endswith("/a/b.json")


def test_what_is_new_is_put_once(blobs: Blobs) -> None:
    assert blobs.put_new("a/c", b"one")
    assert not blobs.put_new("a/c", b"two")
    assert blobs.get("a/c") == b"one"


def test_of_many_writers_one_wins(blobs: Blobs) -> None:
    barrier = threading.Barrier(8)

    def put(number: int) -> bool:
        barrier.wait()
        return blobs.put_new("race", str(number).encode())

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, range(8)))
    assert sum(won) == 1
    assert blobs.get("race") == str(won.index(True)).encode()


def test_names_are_of_one_folder(blobs: Blobs) -> None:
    for path in ("a/b/c", "a/b/e", "a/d", "ab/x"):
        blobs.put(path, b"")
    assert "a" in blobs.names("")
    assert "b" not in blobs.names("")
    assert blobs.names("a") == ["b", "d"]
    assert blobs.names("a/b") == ["c", "e"]
    assert blobs.names("a/d") == blobs.names("other") == []
    assert blobs.get("a") is None
    for path in ("a/b/c", "a/b/e"):
        blobs.remove(path)
    assert blobs.names("a/b") == []
    assert blobs.get("a/b") is None


def test_file_that_is_being_written_has_no_name_yet(settings: Settings) -> None:
    blobs = open_blobs(settings)
    blobs.put("a/d", b"")
    (Path(settings.store) / "a" / ".d.1234").write_bytes(b"")
    assert blobs.names("a") == ["d"]
