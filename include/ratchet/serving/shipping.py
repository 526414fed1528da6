"""From the durable log into the tables `requests` and `feedback`: exactly once, whoever ships and whenever it dies."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from include.ratchet.data.erased import find_subjects, read_erased
from include.ratchet.data.records import Kind, RecordTable
from include.ratchet.data.tables import retry_commits
from include.ratchet.processes import end_with_parent
from include.ratchet.serving.log import LogFile
from include.ratchet.settings import Settings
from include.ratchet.spec import get_model

_ROWS = 50_000
"""That go into one commit, and are in memory."""
_NICE = 10


class Shipper:
    """Ships a log in a process of its own, which takes neither the interpreter nor the processors from who answers.

    Args:
        log: what to ship.
        settings: where its tables are.
    """

    def __init__(self, log: LogFile, settings: Settings) -> None:
        self._folder, self._settings = log.path.parent, settings
        self._pool: ProcessPoolExecutor | None = None

    def ship(self) -> int:
        """Append everything that waits; see `ship`.

        Raises:
            BrokenProcessPool: its process was ended; the next call has another one.
        """
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _give_way)
        try:
            return self._pool.submit(_ship_folder, self._folder, self._settings).result()
        except BrokenProcessPool:
            self.close()
            raise

    def close(self) -> None:
        """End the process, after what it ships."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def _give_way() -> None:
    """Rank behind who answers, leave Ctrl-C to them, and end with them, however they end."""
    os.nice(_NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)


def _ship_folder(folder: Path, settings: Settings) -> int:
    return ship(LogFile(folder), settings)


def ship(log: LogFile, settings: Settings) -> int:
    """Append everything that waits in a log to its tables.

    A commit carries the log's name and the last number in it; what is up to that number is never appended again.

    Returns:
        How many rows were appended.
    """
    with _alone(log):
        return sum(_ship_model(log, model, kind, settings) for model, kind in log.waiting_models())


def _ship_model(log: LogFile, model: str, kind: Kind, settings: Settings) -> int:
    own = get_model(settings.models_dir, model)
    table, erased = RecordTable(settings, own, kind), read_erased(settings, own.spec)
    # What is up to here was committed by a shipment that may have died before it could say so. What comes while this
    # one is at work waits for the next: a busy service must not ship without end.
    known, end, appended = table.last_of(log.name), log.last(), 0
    while batches := list(_take(log.read_after(model, kind, known, end), _ROWS)):
        known = batches[-1][0]
        rows = _join([rows for _, rows in batches])
        if erased is not None and "payload" in rows.column_names and own.spec.privacy is not None:
            named = find_subjects(rows["payload"].to_pylist(), own.spec.privacy.subject)
            rows = rows.filter(pa.array([not erased.holds(one) for one in named]))
        retry_commits(lambda rows=rows, last=known: table.append_table(rows, log.name, last), table.name)  # type: ignore[misc]
        appended += rows.num_rows
    log.forget(model, kind, known)
    return appended


def _take(batches: Iterator[tuple[int, pa.Table]], most: int) -> Iterator[tuple[int, pa.Table]]:
    """The first batches, until they have so many rows."""
    rows = 0
    for number, table in batches:
        yield number, table
        rows += table.num_rows
        if rows >= most:
            return


def _join(tables: Sequence[pa.Table]) -> pa.Table:
    """As one table in one piece, which a writer takes many times faster than as many."""
    is_same = all(table.schema.equals(tables[0].schema) for table in tables)
    return pa.concat_tables(tables, promote_options="none" if is_same else "permissive").combine_chunks()


@contextmanager
def _alone(log: LogFile) -> Iterator[None]:
    """One shipment of a log at a time; the kernel lets go of the lock when its holder dies."""
    with log.path.with_suffix(".shipping").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
