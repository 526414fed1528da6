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


class Spool:
    """Batches, made to the last one, to be read again and again; the file goes when it is closed.

    Args:
        schema: of the batches.
        batches: what to write.
        folder: where the file lies.
    """

    def __init__(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.NamedTemporaryFile(dir=folder, prefix="scores-", suffix=".arrow")  # noqa: SIM115
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        try:
            with pa.OSFile(self._file.name, "wb") as file, pa.ipc.new_stream(file, schema, options=options) as writer:
                for batch in batches:
                    writer.write_batch(batch)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def open(self) -> Iterator[pa.RecordBatchReader]:
        """A reader that holds one batch at a time."""
        with pa.OSFile(self._file.name, "rb") as file, pa.ipc.open_stream(file) as reader:
            yield reader

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
