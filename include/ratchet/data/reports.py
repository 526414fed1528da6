"""What a landing says about itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Self


@dataclass(frozen=True)
class PartitionCounts:
    """The books of one partition: `read` = `landed` + `quarantined` + `duplicates`, always.

    Attributes:
        partition: its key.
        as_of: the instant it was read as of, ISO 8601 in UTC.
        read: rows that the source gave.
        landed: rows that are in the table now.
        quarantined: rows that broke a row-level rule.
        duplicates: rows whose keys a kept row of the same batch has.
        inserted: landed rows that were not in the table before.
        updated: landed rows that were there and differ now.
    """

    partition: str
    as_of: str
    read: int
    landed: int
    quarantined: int
    duplicates: int
    inserted: int
    updated: int

    def after(self, before: Self) -> Self:
        """These books with what an earlier reading of the same partition had already inserted and updated."""
        return replace(self, inserted=self.inserted + before.inserted, updated=self.updated + before.updated)

    @property
    def quarantined_share(self) -> float:
        """Share of the rows read that were quarantined."""
        return self.quarantined / self.read if self.read else 0.0


@dataclass(frozen=True)
class LandingReport:
    """What was landed into one table.

    Attributes:
        model: the model's name.
        table: the table's.
        run_id: the run that landed it.
        version: the table's version afterwards.
        is_changed: whether that version is new; landing the same data twice changes nothing.
        new_columns: columns that the source has begun to send.
        partitions: the books of the partitions asked for.
        late: the books of the past partitions that were merged again, for their labels.
        unavailable: partitions asked for that the source does not have.
    """

    model: str
    table: str
    run_id: str
    version: int | None
    is_changed: bool
    new_columns: tuple[str, ...]
    partitions: tuple[PartitionCounts, ...]
    late: tuple[PartitionCounts, ...]
    unavailable: tuple[str, ...]

    @property
    def read(self) -> int:
        """Rows that the source gave for the partitions asked for."""
        return sum(counts.read for counts in self.partitions)

    @property
    def landed(self) -> int:
        """Rows of them that are in the table."""
        return sum(counts.landed for counts in self.partitions)

    @property
    def quarantined(self) -> int:
        """Rows of them that broke a rule."""
        return sum(counts.quarantined for counts in self.partitions)

    @property
    def duplicates(self) -> int:
        """Rows of them that repeat another's keys."""
        return sum(counts.duplicates for counts in self.partitions)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The report of `to_dict`, also after a way through JSON."""
        return cls(
            **{
                **data,
                "new_columns": tuple(data["new_columns"]),
                "partitions": _counts(data["partitions"]),
                "late": _counts(data["late"]),
                "unavailable": tuple(data["unavailable"]),
            }
        )


def _counts(raw: Iterable[dict[str, Any]]) -> tuple[PartitionCounts, ...]:
    return tuple(PartitionCounts(**counts) for counts in raw)
