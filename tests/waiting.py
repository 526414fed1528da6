"""Waiting for what other threads, processes and machines do."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(
    is_so: Callable[[], bool], timeout_s: float = 15.0, explain: Callable[[], object] = lambda: "",
    every_s: float = 0.1,
) -> None:  # fmt: skip
    """Ask every so often until it is so; past its time, fail with an explanation."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, explain()
        time.sleep(every_s)
