"""What a source hands over: the rows of one partition, with the place where each of them stood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import pyarrow as pa

from include.ratchet.errors import PartitionUnavailableError
from include.ratchet.spec import STATIC_KEY, Partition


@dataclass(frozen=True)
class Span:
    """Rows of one file, query or function call.

    Attributes:
        name: what a person would look up: an address, or `query` and the connection.
        rows: int64, the number of each row there; the first row of data is 1.
    """

    name: str
    rows: pa.Array


@dataclass(frozen=True)
class UnreadableRow:
    """A row that could not even be taken apart into columns."""

    source: str
    row: int
    raw: str
    reason: str

    @property
    def position(self) -> str:
        """Where it stood."""
        return f"{self.source}, row {self.row}"


@dataclass(frozen=True)
class SourceBatch:
    """The rows of one partition as a source knew them.

    Attributes:
        table: the rows; any column types.
        spans: where they stood, in the order of `table`.
        unreadable: rows that are not in `table`.
        is_text: whether every value is text that has yet to be read as its type.
    """

    table: pa.Table
    spans: tuple[Span, ...]
    unreadable: tuple[UnreadableRow, ...] = ()
    is_text: bool = False

    @property
    def rows(self) -> int:
        """Rows that the source gave, readable or not."""
        return int(self.table.num_rows) + len(self.unreadable)

    def position(self, row: int) -> str:
        """Where row number `row` (from 0) of `table` stood in the source."""
        for span in self.spans:
            if row < len(span.rows):
                return f"{span.name}, row {span.rows[row]}"
            row -= len(span.rows)
        message = f"row {row} beyond the batch's end"
        raise IndexError(message)


class Source(Protocol):
    """One table's source."""

    def read(self, partition: Partition, as_of: datetime) -> SourceBatch:
        """The rows of a partition, as they could be known at `as_of`.

        A source without knowledge of times gives what it has; landing hides outcomes that were not yet known.

        Raises:
            PartitionUnavailableError: there is nothing for the partition.
            SourceError: the source could not be read.
        """
        ...


def number_rows(count: int) -> pa.Array:
    """The row numbers 1 to `count`, int64."""
    import numpy as np

    return pa.array(np.arange(1, count + 1, dtype=np.int64))


def fill_placeholders(template: str, partition: Partition) -> str:
    """Put a partition into `{partition}`, `{start}` and `{end}`."""
    for name, value in (("partition", partition.key), ("start", stamp(partition.start)), ("end", stamp(partition.end))):
        template = template.replace(f"{{{name}}}", value)
    return template


def has_placeholders(template: str) -> bool:
    """Whether an address depends on the partition."""
    return any(f"{{{name}}}" in template for name in ("partition", "start", "end"))


def stamp(instant: datetime) -> str:
    """An instant in UTC, as addresses spell it: `2013-01-01T05:00:00Z`."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def explain_absence(table: str, partition: Partition, looked: str) -> PartitionUnavailableError:
    """The error for a partition that a source does not have."""
    which = "rows" if partition.key == STATIC_KEY else f"rows for {partition.key}"
    return PartitionUnavailableError(f"{table}: the source has no {which}; looked at {looked}")


def concat_batches(batches: Sequence[SourceBatch]) -> SourceBatch:
    """Several files' rows as one batch; a column that one of them lacks is null there."""
    return SourceBatch(
        table=pa.concat_tables([batch.table for batch in batches], promote_options="permissive"),
        spans=tuple(span for batch in batches for span in batch.spans),
        unreadable=tuple(row for batch in batches for row in batch.unreadable),
        is_text=all(batch.is_text for batch in batches),
    )
