"""A real S3 server for tests: Ceph's object gateway from Debian, which can be killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from include.ratchet.data.store import open_client
from tests.debian import need
from tests.ports import free_port

PACKAGES = ("ceph-mon", "ceph-osd", "radosgw")
SERVE = Path(__file__).parent / "stack" / "store" / "serve.sh"
START_S = 90


@dataclass
class ObjectStore:
    """A server with one user, whose data lie in a folder."""

    folder: Path
    port: int = field(default_factory=free_port)
    monitor_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, str]:
        """Its endpoint and keys, in delta-rs' words."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret of tests"}

    def client(self) -> Any:
        return open_client(self.options)

    def start(self) -> None:
        """Start its processes, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        environ = {
            "PATH": os.environ["PATH"], "STORE_DATA": str(self.folder), "STORE_ADDRESS": "127.0.0.1",
            "STORE_PORT": str(self.port), "STORE_MONITOR_PORT": str(self.monitor_port), **self.options,
        }  # fmt: skip
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen([SERVE], env=environ, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self.process.poll() is None, self.words
            assert time.monotonic() < deadline, self.words
            time.sleep(0.1)

    def kill(self) -> None:
        """As a power cut: nothing is asked of it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    @property
    def words(self) -> str:
        """The end of what it said."""
        return (self.folder / "serve.log").read_text()[-4000:]

    def _end(self, sign: signal.Signals) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, sign)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            return httpx.get(self.url, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def open_store(folder: Path, *buckets: str) -> Iterator[ObjectStore]:
    """A server that runs, with some buckets."""
    need(PACKAGES, PACKAGES)
    store = ObjectStore(folder)
    try:
        store.start()
        client = store.client()
        for name in buckets:
            client.create_bucket(Bucket=name)
        client.close()
        yield store
    finally:
        store.kill()
