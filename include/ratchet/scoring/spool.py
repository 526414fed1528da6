"""Rows that wait on the disk for the table's writer.

The writer calls for its rows on the threads of its own runtime, of which there are as few as processors. What makes
the rows reads a table through the same runtime: were the two to wait for each other, two writers on two processors
would wait for ever. So everything is made first, and written then; what lies between is on the disk, not in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa


@contextmanager
def spool(schema: pa.Schema, batches: Iterable[pa.RecordBatch], folder: Path) -> Iterator[pa.RecordBatchReader]:
    """The batches, made to the last one, as a reader that holds one at a time.

    Args:
        schema: of the batches.
        batches: what to write.
        folder: where the file lies until the end of the `with` block.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with tempfile.TemporaryDirectory(dir=folder, prefix="scores-", ignore_cleanup_errors=True) as place:
        path = f"{place}/rows.arrow"
        with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, schema, options=options) as writer:
            for batch in batches:
                writer.write_batch(batch)
        with pa.OSFile(path, "rb") as file, pa.ipc.open_stream(file) as reader:
            yield reader
