"""The durable log: records are on the disk before their answers leave, many requests in one commit.

SQLite in WAL mode with `synchronous=FULL` syncs the disk at every commit; a process or machine that dies loses no row
whose `submit` has ended. A batch is one Arrow table, so that every value keeps its bits.
"""

from __future__ import annotations

import functools
import io
import queue
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from include.ratchet.data.records import Kind
from include.ratchet.errors import LogUnavailableError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS batches (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, kind TEXT NOT NULL, size INTEGER NOT NULL,
    content BLOB NOT NULL, written_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS by_model ON batches (model, kind, seq);
CREATE TABLE IF NOT EXISTS answers (
    model TEXT NOT NULL, request_id TEXT NOT NULL, answer BLOB NOT NULL, written_at REAL NOT NULL,
    PRIMARY KEY (model, request_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_age ON answers (written_at);
"""
_STOP = None
_MANY = 64
_CHECKPOINT_S = 1.0
_JOURNAL_PAGES = 4096
"""Of 4 KB each: 16 MB."""
ANSWERS_S = 86_400.0
"""For so long a request that is sent again gets the answer that was recorded."""


@dataclass(frozen=True)
class Batch:
    """Rows that are recorded together.

    Attributes:
        model: whose.
        kind: request records or feedback.
        rows: in the columns of `data.records`.
        answers: by request id that a caller gave, what it was answered.
    """

    model: str
    kind: Kind
    rows: pa.Table
    answers: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True)
class Waiting:
    """What the log still has to ship: rows, and the age of the oldest in seconds."""

    rows: int = 0
    age_s: float = 0.0


@dataclass
class _Entry:
    batch: Batch | None
    done: Future[None] = field(default_factory=Future)


class LogFile:
    """A log as it lies on the disk, for whoever reads it or ships it.

    Args:
        folder: where a service has written it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "records.sqlite"
        self._local = threading.local()

    @functools.cached_property
    def name(self) -> str:
        """Of the log, wherever it lies: its commits carry it."""
        name: str = self._reader().execute("SELECT value FROM about WHERE name = 'name'").fetchone()[0]
        return name

    def find_answer(self, model: str, request_id: str) -> bytes | None:
        """What a request was answered before, if it was."""
        query = "SELECT answer FROM answers WHERE model = ? AND request_id = ?"
        row = self._reader().execute(query, (model, request_id)).fetchone()
        return None if row is None else bytes(row[0])

    def waiting(self) -> Waiting:
        """What has not been shipped yet."""
        query = "SELECT coalesce(sum(size), 0), min(written_at) FROM batches"
        rows, oldest = self._reader().execute(query).fetchone()
        return Waiting(rows, max(0.0, time.time() - oldest) if oldest else 0.0)

    def waiting_models(self) -> list[tuple[str, Kind]]:
        """Models and kinds with rows to ship."""
        return list(self._reader().execute("SELECT DISTINCT model, kind FROM batches"))

    def last(self) -> int:
        """The number of the newest batch; 0 if none waits."""
        number: int = self._reader().execute("SELECT coalesce(max(seq), 0) FROM batches").fetchone()[0]
        return number

    def read_after(self, model: str, kind: Kind, seq: int, end: int) -> Iterator[tuple[int, pa.Table]]:
        """Batches of a model with a higher number than one, up to another, in order."""
        query = "SELECT seq, content FROM batches WHERE model = ? AND kind = ? AND seq > ? AND seq <= ? ORDER BY seq"
        for number, content in self._reader().execute(query, (model, kind, seq, end)):
            yield number, pa.ipc.open_stream(content).read_all()

    def forget(self, model: str, kind: Kind, seq: int) -> None:
        """Let go of batches up to a number, as they are in their table, and of answers that are too old to repeat."""
        connection = self._reader()
        with connection:
            connection.execute("DELETE FROM batches WHERE model = ? AND kind = ? AND seq <= ?", (model, kind, seq))
            connection.execute("DELETE FROM answers WHERE written_at < ?", (time.time() - ANSWERS_S,))

    def _reader(self) -> sqlite3.Connection:
        """A connection of this thread's own."""
        if not hasattr(self._local, "connection"):
            self._local.connection = self._connect()
        connection: sqlite3.Connection = self._local.connection
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=30, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection


class RecordLog(LogFile):
    """One service's log. Rows are committed by a thread of its own, all that have gathered in one transaction.

    Args:
        folder: where the log lies; one service at a time.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.is_writable = True
        connection = self._connect()
        connection.executescript(_SCHEMA)
        connection.execute("INSERT OR IGNORE INTO about VALUES ('name', ?)", (uuid.uuid4().hex,))
        connection.commit()
        connection.close()
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._write_all, name="record-log", daemon=True),
            threading.Thread(target=self._checkpoint_all, name="checkpoint", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: Batch) -> Future[None]:
        """Record a batch; the future ends when it is on the disk.

        The future raises LogUnavailableError if it cannot be.
        """
        entry = _Entry(batch)
        self._queue.put(entry)
        return entry.done

    def probe(self) -> None:
        """See whether a log that could not be written can be written again."""
        if not self.is_writable:
            self._queue.put(_Entry(None))

    def close(self) -> None:
        """Commit what has gathered and stop."""
        self._queue.put(_STOP)
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _write_all(self) -> None:
        connection: sqlite3.Connection | None = None
        while True:
            entries = self._gather()
            if not entries:
                return
            try:
                connection = connection or self._connect_writer()
                with connection:
                    self._insert(connection, [entry.batch for entry in entries if entry.batch])
            except (sqlite3.Error, OSError) as error:
                message = (
                    f"{self.path} cannot be written: {error}; expected room and the right to write there. Predictions "
                    "are refused until it can be, as none is given that is not recorded"
                )
                self.is_writable = False
                for entry in entries:
                    entry.done.set_exception(LogUnavailableError(message))
                connection = None
            else:
                self.is_writable = True
                for entry in entries:
                    entry.done.set_result(None)

    def _connect_writer(self) -> sqlite3.Connection:
        connection = self._connect()
        # Moving the journal's content into the file is left to `_checkpoint_all`, unless it cannot keep up: a commit
        # that does it, and all who wait for that commit, wait for another sync.
        connection.execute(f"PRAGMA wal_autocheckpoint = {_JOURNAL_PAGES}")
        return connection

    def _checkpoint_all(self) -> None:
        """Move what has been committed from the journal into the file, beside the commits, until the log is closed."""
        with closing(self._connect()) as connection:
            while not self._closing.wait(_CHECKPOINT_S):
                with suppress(sqlite3.Error):  # a log that cannot be written is told of by who writes it
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _gather(self) -> list[_Entry]:
        """Everything that waits; at least one entry, or nothing at the end."""
        entries = []
        entry = self._queue.get()
        while entry is not _STOP:
            entries.append(entry)
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                return entries
        if entries:
            self._queue.put(_STOP)
        return entries

    def _insert(self, connection: sqlite3.Connection, batches: Sequence[Batch]) -> None:
        now = time.time()
        connection.execute("INSERT OR REPLACE INTO about VALUES ('written_at', ?)", (str(now),))
        connection.executemany(
            "INSERT INTO batches (model, kind, size, content, written_at) VALUES (?, ?, ?, ?, ?)",
            [(one.model, one.kind, one.rows.num_rows, pack(one.rows), now) for one in batches],
        )
        connection.executemany(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)",
            [(one.model, request, answer, now) for one in batches for request, answer in one.answers],
        )


def pack(rows: pa.Table) -> bytes:
    """A table as bytes that keep every bit; many rows repeat much, and few are not worth the while."""
    options = pa.ipc.IpcWriteOptions(compression="lz4" if rows.num_rows >= _MANY else None)
    content = io.BytesIO()
    with pa.ipc.new_stream(content, rows.schema, options=options) as writer:
        writer.write_table(rows)
    return content.getvalue()
