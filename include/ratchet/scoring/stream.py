"""The rows of partitions, a chunk at a time, and only what is known when they are predicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.dataset as pads

from include.ratchet.data.tables import PARTITION_COLUMN
from include.ratchet.features.schema import known_columns
from include.ratchet.spec import Model

_Item = TypeVar("_Item")
_END = object()


def ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """The items, each made by a thread of its own while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, items, _END)
        while (item := pending.result()) is not _END:
            pending = pool.submit(next, items, _END)
            yield item  # type: ignore[misc]


def group_partitions(counts: Mapping[str, int], most_rows: int) -> list[tuple[str, ...]]:
    """Partitions in groups of at most so many rows, in order; a larger one stands alone.

    Args:
        counts: rows of each partition.
        most_rows: of a group.
    """
    groups: list[tuple[str, ...]] = []
    held = 0
    for key, rows in counts.items():
        if not groups or held + rows > most_rows:
            groups.append(())
            held = 0
        groups[-1] = (*groups[-1], key)
        held += rows
    return groups


def read_chunks(model: Model, delta: Any, keys: Sequence[str], most_rows: int) -> Iterator[pa.Table]:
    """The rows of some partitions in the order in which they lie in the table, never more than a chunk in memory.

    Args:
        model: whose rows.
        delta: its own table, open at one version.
        keys: of the partitions.
        most_rows: of a chunk; every chunk but the last has as many.

    Yields:
        Columns known at prediction time, and the technical column. Label, outcomes and their time are not read.
    """
    dataset = delta.to_pyarrow_dataset(file_pruning_predicate=[(PARTITION_COLUMN, "in", list(keys))])
    columns = [name for name in known_columns(model) if name in dataset.schema.names]
    scanner = dataset.scanner(
        columns=[*columns, PARTITION_COLUMN], filter=pads.field(PARTITION_COLUMN).isin(pa.array(keys, pa.string())),
        batch_size=most_rows, batch_readahead=1, fragment_readahead=4,
    )  # fmt: skip
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in scanner.to_batches():
        held.append(batch)
        rows += batch.num_rows
        while rows >= most_rows:
            table = pa.Table.from_batches(held)
            yield table.slice(0, most_rows)
            held = table.slice(most_rows).to_batches()
            rows -= most_rows
    if rows:
        yield pa.Table.from_batches(held)
