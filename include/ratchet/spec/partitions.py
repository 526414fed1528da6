"""Partitions: one day or hour of event time, the unit of ingestion and of a backfill."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from include.ratchet.spec.model import ModelSpec

STATIC_KEY = "static"
"""The only partition of a table without history."""


class Partition(NamedTuple):
    """A half-open interval of event time, `[start, end)`, both in UTC."""

    key: str
    start: datetime
    end: datetime


def partition_of(spec: ModelSpec, instant: datetime | date | str) -> Partition:
    """The partition that holds an instant, a local date, or that a key (`2013-01-05`, `2013-01-05T07`) names.

    Raises:
        ValueError: the text is neither a partition key nor an ISO 8601 instant, or the instant has no time zone.
    """
    if isinstance(instant, str):
        instant = _parse(spec, instant)
    if isinstance(instant, datetime):
        if instant.tzinfo is None:
            message = f"{instant.isoformat()} has no time zone; expected one, such as {instant.isoformat()}+00:00"
            raise ValueError(message)
        local = instant.astimezone(spec.zone)
    else:
        local = datetime(instant.year, instant.month, instant.day, tzinfo=spec.zone)
    if spec.partition == "hour":
        start = local.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
        return Partition(local.strftime("%Y-%m-%dT%H%z") if _is_folded(local) else local.strftime("%Y-%m-%dT%H"),
                         start, start + timedelta(hours=1))  # fmt: skip
    day = local.date()
    return Partition(day.isoformat(), _midnight(spec, day), _midnight(spec, day + timedelta(days=1)))


def partitions_between(spec: ModelSpec, first: Partition, last: Partition) -> Iterator[Partition]:
    """Every partition from the first to the last, both included, in order."""
    current = first
    while current.start <= last.start:
        yield current
        current = partition_of(spec, current.end)


def _parse(spec: ModelSpec, text: str) -> datetime | date:
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
        if len(text) == 13:
            return datetime.strptime(text, "%Y-%m-%dT%H").replace(tzinfo=spec.zone)
        if len(text) == 18:
            return datetime.strptime(text, "%Y-%m-%dT%H%z")
        parsed = datetime.fromisoformat(text)
    except ValueError:
        message = (
            f"{text!r} is no partition; expected a date (2013-01-05), an hour (2013-01-05T07) or an ISO 8601 instant"
        )
        raise ValueError(message) from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=spec.zone)


def _midnight(spec: ModelSpec, day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=spec.zone).astimezone(UTC)


def _is_folded(local: datetime) -> bool:
    """Whether a wall-clock hour happens twice, at the end of daylight saving."""
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset() and local.fold == 1
