"""From the durable log into the tables `requests` and `feedback`: exactly once, whoever ships and whenever it dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from include.ratchet.data.erased import find_subjects, read_erased
from include.ratchet.data.records import Kind, RecordTable
from include.ratchet.data.tables import retry_commits
from include.ratchet.serving.log import RecordLog
from include.ratchet.settings import Settings
from include.ratchet.spec import get_model

_ROWS = 50_000
"""That go into one commit, and are in memory."""


def ship(log: RecordLog, settings: Settings) -> int:
    """Append everything that waits in a log to its tables.

    A commit carries the log's name and the last number in it; what is up to that number is never appended again.

    Returns:
        How many rows were appended.
    """
    with _alone(log):
        return sum(_ship_model(log, model, kind, settings) for model, kind in log.waiting_models())


def _ship_model(log: RecordLog, model: str, kind: Kind, settings: Settings) -> int:
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
def _alone(log: RecordLog) -> Iterator[None]:
    """One shipment of a log at a time; the kernel lets go of the lock when its holder dies."""
    with log.path.with_suffix(".shipping").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
