"""Looks and incidents in the database: written again and again, read by model, key and time.

Everything is read and written for many model keys at once; what is of one key is the same of a list of one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, func, select
from sqlalchemy.exc import IntegrityError

from include.ratchet.errors import LedgerConflictError
from include.ratchet.monitoring.incidents import Incident
from include.ratchet.monitoring.signals import Look
from include.ratchet.registry.database import engine_of, incidents, looks
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey

_CHUNK = 500
"""Keys of one query."""


def write_looks(found: Sequence[Look], settings: Settings) -> None:
    """Write looks over earlier ones at the same partitions; one that knew more stays."""
    with engine_of(settings.database_url).begin() as connection:
        for model, partition in sorted({(look.key.model, look.partition) for look in found}):
            same = [look for look in found if (look.key.model, look.partition) == (model, partition)]
            for start in range(0, len(same), _CHUNK):
                _write(connection, model, partition, same[start : start + _CHUNK])


def read_histories(
    model: str, segments: Sequence[str], until: datetime, count: int, settings: Settings
) -> dict[ModelKey, tuple[Look, ...]]:
    """Of each segment the newest looks at partitions that began before an instant, oldest first; none of some."""
    found: dict[ModelKey, list[Look]] = {}
    with engine_of(settings.database_url).connect() as connection:
        for start in range(0, len(segments), _CHUNK):
            query = _newest(model, segments[start : start + _CHUNK], until, count)
            for content in connection.execute(query).scalars():
                look = Look.from_dict(content)
                found.setdefault(look.key, []).append(look)
    return {key: tuple(own) for key, own in found.items()}


def read_looks(key: ModelKey, until: datetime, count: int, settings: Settings) -> tuple[Look, ...]:
    """The newest looks at partitions that began before an instant, oldest first."""
    return read_histories(key.model, [key.segment], until, count, settings).get(key, ())


def read_looks_at(model: str, start: datetime, settings: Settings) -> tuple[Look, ...]:
    """The looks of all segments at the partition that began at an instant, by segment."""
    query = (
        select(looks.c.content)
        .where(looks.c.model == model, looks.c.started_at == start.astimezone(UTC))
        .order_by(looks.c.segment)
    )
    with engine_of(settings.database_url).connect() as connection:
        return tuple(Look.from_dict(content) for content in connection.execute(query).scalars())


def read_look(key: ModelKey, partition: str, settings: Settings) -> Look | None:
    """The look at one partition."""
    query = select(looks.c.content).where(
        looks.c.model == key.model, looks.c.segment == key.segment, looks.c.partition == partition
    )
    with engine_of(settings.database_url).connect() as connection:
        content = connection.execute(query).scalar_one_or_none()
    return Look.from_dict(content) if content else None


def find_newest(model: str, settings: Settings) -> datetime | None:
    """Start of the newest partition in which any segment was looked at."""
    query = select(func.max(looks.c.started_at)).where(looks.c.model == model)
    with engine_of(settings.database_url).connect() as connection:
        found: datetime | None = connection.execute(query).scalar_one_or_none()
    return None if found is None else found.replace(tzinfo=found.tzinfo or UTC)


def find_overtaken(model: str, start: datetime, settings: Settings) -> set[str]:
    """Segments that have looks at partitions that began after an instant."""
    query = select(looks.c.segment).distinct().where(looks.c.model == model, looks.c.started_at > start.astimezone(UTC))
    with engine_of(settings.database_url).connect() as connection:
        return set(connection.execute(query).scalars())


def read_incidents(key: ModelKey, settings: Settings) -> tuple[Incident, ...]:
    """Every incident of a model key, oldest first."""
    query = (
        select(incidents.c.state)
        .where(incidents.c.model == key.model, incidents.c.segment == key.segment)
        .order_by(incidents.c.number)
    )
    with engine_of(settings.database_url).connect() as connection:
        return tuple(Incident.from_dict(content) for content in connection.execute(query).scalars())


def read_last_incidents(model: str, settings: Settings) -> dict[ModelKey, Incident]:
    """The last incident of every segment that ever had one, open or not."""
    last = select(incidents.c.segment, func.max(incidents.c.number).label("number"))
    last_of = last.where(incidents.c.model == model).group_by(incidents.c.segment).subquery()
    same = and_(incidents.c.segment == last_of.c.segment, incidents.c.number == last_of.c.number)
    query = select(incidents.c.state).join(last_of, same).where(incidents.c.model == model)
    with engine_of(settings.database_url).connect() as connection:
        found = [Incident.from_dict(content) for content in connection.execute(query).scalars()]
    return {one.key: one for one in sorted(found, key=lambda one: one.key)}


def write_incidents(found: Collection[Incident], settings: Settings) -> None:
    """Write incidents in place of their revisions before, in one transaction.

    Raises:
        LedgerConflictError: another look was faster with one of them; nothing was written.
    """
    incident = None
    try:
        with engine_of(settings.database_url).begin() as connection:
            # In one order, so that two writers wait for one another and neither waits for itself.
            for incident in sorted(found, key=lambda one: one.key):
                _write_incident(connection, incident)
    except IntegrityError as error:
        raise _conflict(incident) from error


def _write_incident(connection: Connection, incident: Incident) -> None:
    values = {
        "revision": incident.revision, "opened_at": incident.opened_at, "closed_at": incident.closed_at,
        "state": incident.to_dict(),
    }  # fmt: skip
    identity = {"model": incident.key.model, "segment": incident.key.segment, "number": incident.number}
    if incident.revision == 1:
        connection.execute(incidents.insert().values(**identity, **values))
        return
    same = [incidents.c[name] == value for name, value in identity.items()]
    before = incidents.update().where(*same, incidents.c.revision == incident.revision - 1)
    if connection.execute(before.values(values)).rowcount != 1:
        raise _conflict(incident)


def _conflict(incident: Incident | None) -> LedgerConflictError:
    words = f"{incident.key}: incident {incident.number}" if incident else "an incident"
    return LedgerConflictError(f"{words} moved on since it was read; look again")


def _newest(model: str, segments: Sequence[str], until: datetime, count: int) -> Select[Any]:
    place = func.row_number().over(partition_by=looks.c.segment, order_by=looks.c.started_at.desc()).label("place")
    ranked = (
        select(looks.c.segment, looks.c.started_at, place)
        .where(looks.c.model == model, looks.c.segment.in_(segments), looks.c.started_at < until.astimezone(UTC))
        .subquery()
    )
    same = and_(looks.c.segment == ranked.c.segment, looks.c.started_at == ranked.c.started_at)
    return (
        select(looks.c.content)
        .join(ranked, same)
        .where(looks.c.model == model, ranked.c.place <= count)
        .order_by(looks.c.segment, looks.c.started_at)
    )


def _write(connection: Connection, model: str, partition: str, found: Sequence[Look]) -> None:
    """Looks of several segments at one partition."""
    same = [looks.c.model == model, looks.c.partition == partition]
    segments = [look.key.segment for look in found]
    query = select(looks.c.segment, looks.c.as_of).where(*same, looks.c.segment.in_(segments))
    known = {
        row["segment"]: row["as_of"].replace(tzinfo=row["as_of"].tzinfo or UTC)
        for row in connection.execute(query).mappings()
    }
    fresh = [look for look in found if look.key.segment not in known]
    newer = [look for look in found if look.key.segment in known and known[look.key.segment] <= look.as_of]
    if fresh:
        identity = {"model": model, "partition": partition}
        connection.execute(
            looks.insert(), [{**identity, "segment": look.key.segment, **_values(look)} for look in fresh]
        )
    if newer:
        of_segment = looks.update().where(*same, looks.c.segment == bindparam("of_segment"))
        connection.execute(of_segment, [{"of_segment": look.key.segment, **_values(look)} for look in newer])


def _values(look: Look) -> dict[str, Any]:
    return {
        "started_at": look.start, "as_of": look.as_of, "version": look.version, "rows": look.rows,
        "content": look.to_dict(), "summary": look.summarise(),
    }  # fmt: skip
