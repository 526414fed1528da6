"""Handing a table's writer what is made while it writes.

The writer calls for its rows from within its own runtime, where nothing that needs that runtime again (reading the
table that the rows come from) may be called. So it runs in a thread beside the one that makes the rows, which also
lets the two go on at the same time; at most one batch waits between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Full, Queue
from typing import TypeVar

import pyarrow as pa

_Result = TypeVar("_Result")
_LOOK_S = 0.1
"""How often a maker that waits looks whether the writer still lives."""


class _CutOffError(Exception):
    """Tells the writer that what it has is not all, so that it commits nothing."""


def write_stream(
    write: Callable[[pa.RecordBatchReader], _Result], schema: pa.Schema, batches: Iterable[pa.RecordBatch]
) -> _Result:
    """Run a writer on batches that are made here, in this thread, while it writes.

    Args:
        write: takes a reader to its end, and writes nothing if the reader fails.
        schema: of the batches.
        batches: what to write. An error in making them is raised as it is.

    Returns:
        What the writer returns; its error is raised as it is.
    """
    waiting: Queue[pa.RecordBatch | _CutOffError | None] = Queue(maxsize=1)
    with ThreadPoolExecutor(1, "writer") as pool:
        future = pool.submit(write, pa.RecordBatchReader.from_batches(schema, _take(waiting)))
        try:
            for batch in batches:
                if not _put(waiting, batch, future):
                    break
        except BaseException:
            _put(waiting, _CutOffError(), future)
            raise
        _put(waiting, None, future)
        return future.result()


def _take(waiting: Queue[pa.RecordBatch | _CutOffError | None]) -> Iterator[pa.RecordBatch]:
    while (batch := waiting.get()) is not None:
        if isinstance(batch, _CutOffError):
            raise batch
        yield batch


def _put(
    waiting: Queue[pa.RecordBatch | _CutOffError | None], batch: pa.RecordBatch | _CutOffError | None,
    future: Future[_Result],
) -> bool:  # fmt: skip
    """Whether the writer lived to take it."""
    while not future.done():
        try:
            waiting.put(batch, timeout=_LOOK_S)
        except Full:
            continue
        return True
    return False
