"""A person's rows out of Delta tables, and out of their past: old files, old versions, the log that describes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.data.blobs import open_blobs
from include.ratchet.data.tables import PARTITION_COLUMN, Table, count_rows, read_partitions, retry_commits
from include.ratchet.settings import Settings

Mask = Callable[[pa.Table], npt.NDArray[np.bool_]]
"""Rows of one partition to whether each is to go, (n_rows,)."""


@dataclass(frozen=True)
class Purged:
    """What became of one table.

    Attributes:
        rows: that went.
        version: the oldest that can still be read.
    """

    rows: int
    version: int


def scan_table(table: Table, find: Mask, see: Callable[[pa.Table], None]) -> None:
    """Show the rows that a mask finds, partition by partition; none of a table that is not there."""
    delta = table.open()
    for key in _parts(delta) if delta is not None else ():
        rows = _read(delta, key)
        goes = find(rows)
        if goes.any():
            see(rows.filter(pa.array(goes)))


def purge_table(settings: Settings, table: Table, find: Mask) -> Purged:
    """Remove rows, whatever partition they are in, and every earlier version of the table; None that holds them stays.

    Whoever reads the table meanwhile at an old version fails; whoever writes to it is waited for.

    Args:
        settings: of the installation.
        table: that has a version.
        find: which rows of a partition go.
    """
    gone = 0
    for key in _parts(table.open()):
        gone += retry_commits(lambda key=key: _rewrite(table, key, find), table.name)  # type: ignore[misc]
    return Purged(gone, _forget_past(settings, table))


def _parts(delta: Any) -> list[str | None]:
    """What is read at once: partition by partition, or a table without any as a whole."""
    return list(count_rows(delta)) if PARTITION_COLUMN in delta.metadata().partition_columns else [None]


def _read(delta: Any, key: str | None) -> pa.Table:
    return read_partitions(delta, None if key is None else [key])


def _rewrite(table: Table, key: str | None, find: Mask) -> int:
    from deltalake import write_deltalake

    delta: Any = table.open()
    rows = _read(delta, key)
    goes = find(rows)
    if goes.any() and key is None:
        write_deltalake(delta, rows.filter(pa.array(~goes)), mode="overwrite")
    elif goes.any() and key is not None:
        table.commit(delta, rows.filter(pa.array(~goes)), [key], {}, {})
    return int(goes.sum())


def _forget_past(settings: Settings, table: Table) -> int:
    """Remove files that the newest version does not need, and the log before it, whose statistics quote values."""
    delta: Any = table.open()
    delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    delta = table.open()
    delta.create_checkpoint()
    version = int(delta.version())
    blobs, folder = open_blobs(settings), f"{table.location.removeprefix(f'{settings.store}/')}/_delta_log"
    for name in blobs.names(folder):
        if name[:20].isdigit() and int(name[:20]) < version:
            blobs.remove(f"{folder}/{name}")
    return version
