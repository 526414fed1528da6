"""From the durable log into the tables `requests` and `feedback`: exactly once, whoever ships and whenever it dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from include.ratchet.data.records import Kind, RecordTable
from include.ratchet.data.tables import retry_commits
from include.ratchet.serving.log import RecordLog
from include.ratchet.settings import Settings
from include.ratchet.spec import get_model

_BATCHES = 4000
"""That go into one commit."""


def ship(log: RecordLog, settings: Settings) -> int:
    """Append everything that waits in a log to its tables.

    A commit carries the log's name and the last number in it; what is up to that number is never appended again.

    Returns:
        How many rows were appended.
    """
    with _alone(log):
        return sum(_ship_model(log, model, kind, settings) for model, kind in log.waiting_models())


def _ship_model(log: RecordLog, model: str, kind: Kind, settings: Settings) -> int:
    table = RecordTable(settings, get_model(settings.models_dir, model), kind)
    appended = 0
    while True:
        known = table.last_of(log.name)
        batches = list(log.read_after(model, kind, known, _BATCHES))
        if not batches:
            # What still waits was committed by a shipment that died before it could say so.
            log.forget(model, kind, known)
            return appended
        rows = pa.concat_tables([rows for _, rows in batches], promote_options="permissive")
        last = batches[-1][0]
        retry_commits(lambda rows=rows, last=last: table.append_table(rows, log.name, last), table.name)  # type: ignore[misc]
        log.forget(model, kind, last)
        appended += rows.num_rows


@contextmanager
def _alone(log: RecordLog) -> Iterator[None]:
    """One shipment of a log at a time; the kernel lets go of the lock when its holder dies."""
    with log.path.with_suffix(".shipping").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
