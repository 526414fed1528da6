"""Micro-batches: what has gathered while the batch before was predicted. Nobody waits for others to come.

A batch that is full goes beside the one before: it would gain nothing from waiting for it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from include.ratchet.serving.requests import Request

Run = Callable[[Sequence[Request]], None]


class Batcher:
    """Hands requests to a function, in batches.

    Args:
        run: answers a batch; must not raise.
        pool: where it runs.
        max_rows: of a batch, unless one request alone has more.
        most: batches at once.
    """

    def __init__(self, run: Run, pool: Executor, max_rows: int, most: int) -> None:
        self._run, self._pool, self._max_rows, self._most = run, pool, max_rows, most
        self._waiting: deque[Request] = deque()
        self._lock = threading.Lock()
        self._waiting_rows = self._running = 0

    def submit(self, request: Request) -> None:
        """Queue a request."""
        with self._lock:
            self._waiting.append(request)
            self._waiting_rows += request.count
            if self._running and (self._running == self._most or self._waiting_rows < self._max_rows):
                return
            self._running += 1
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
            self._waiting_rows -= rows
            if not batch:
                self._running -= 1
            return batch
