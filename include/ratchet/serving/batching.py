"""Micro-batches: what has gathered while the batch before was predicted. Nobody waits for others to come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from include.ratchet.serving.requests import Request

Run = Callable[[Sequence[Request]], None]


class Batcher:
    """Hands requests to a function, one batch at a time.

    Args:
        run: answers a batch; must not raise.
        pool: where it runs.
        max_rows: of a batch, unless one request alone has more.
    """

    def __init__(self, run: Run, pool: Executor, max_rows: int) -> None:
        self._run, self._pool, self._max_rows = run, pool, max_rows
        self._waiting: deque[Request] = deque()
        self._lock = threading.Lock()
        self._is_running = False

    def submit(self, request: Request) -> None:
        """Queue a request."""
        with self._lock:
            self._waiting.append(request)
            if self._is_running:
                return
            self._is_running = True
        self._pool.submit(self._drain)

    def _drain(self) -> None:
        batch = self._take()
        if batch:
            self._run(batch)
            # Behind what other models have queued: none keeps the pool to itself.
            self._pool.submit(self._drain)

    def _take(self) -> list[Request]:
        with self._lock:
            batch: list[Request] = []
            rows = 0
            while self._waiting and (not batch or rows + self._waiting[0].count <= self._max_rows):
                batch.append(self._waiting.popleft())
                rows += batch[-1].count
            self._is_running = bool(batch)
            return batch
