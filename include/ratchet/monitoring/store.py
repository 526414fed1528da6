"""Looks and incidents in the database: written again and again, read by key and time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, select
from sqlalchemy.exc import IntegrityError

from include.ratchet.errors import LedgerConflictError
from include.ratchet.monitoring.incidents import Incident
from include.ratchet.monitoring.signals import Look
from include.ratchet.registry.database import engine_of, incidents, looks
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey


def write_looks(found: Sequence[Look], settings: Settings) -> None:
    """Write looks over earlier ones at the same partitions; one that knew more stays."""
    with engine_of(settings.database_url).begin() as connection:
        for look in found:
            _write(connection, look)


def read_looks(key: ModelKey, until: datetime, count: int, settings: Settings) -> tuple[Look, ...]:
    """The newest looks at partitions that began before an instant, oldest first."""
    query = _of(key).where(looks.c.started_at < until.astimezone(UTC)).order_by(looks.c.started_at.desc()).limit(count)
    with engine_of(settings.database_url).connect() as connection:
        rows = connection.execute(query).scalars().all()
    return tuple(Look.from_dict(content) for content in reversed(rows))


def read_look(key: ModelKey, partition: str, settings: Settings) -> Look | None:
    """The look at one partition."""
    with engine_of(settings.database_url).connect() as connection:
        content = connection.execute(_of(key).where(looks.c.partition == partition)).scalar_one_or_none()
    return Look.from_dict(content) if content else None


def read_incidents(key: ModelKey, settings: Settings) -> tuple[Incident, ...]:
    """Every incident of a model key, oldest first."""
    query = (
        select(incidents.c.state)
        .where(incidents.c.model == key.model, incidents.c.segment == key.segment)
        .order_by(incidents.c.number)
    )
    with engine_of(settings.database_url).connect() as connection:
        return tuple(Incident.from_dict(content) for content in connection.execute(query).scalars())


def write_incident(incident: Incident, settings: Settings) -> None:
    """Write an incident in place of its revision before.

    Raises:
        LedgerConflictError: another look was faster; nothing was written.
    """
    values = {
        "revision": incident.revision, "opened_at": incident.opened_at, "closed_at": incident.closed_at,
        "state": incident.to_dict(),
    }  # fmt: skip
    identity = {"model": incident.key.model, "segment": incident.key.segment, "number": incident.number}
    same = [incidents.c[name] == value for name, value in identity.items()]
    try:
        with engine_of(settings.database_url).begin() as connection:
            if incident.revision == 1:
                connection.execute(incidents.insert().values(**identity, **values))
                return
            before = incidents.update().where(*same, incidents.c.revision == incident.revision - 1)
            if connection.execute(before.values(values)).rowcount == 1:
                return
    except IntegrityError:
        pass
    message = f"{incident.key}: incident {incident.number} moved on since it was read; look again"
    raise LedgerConflictError(message)


def _of(key: ModelKey) -> Select[Any]:
    return select(looks.c.content).where(looks.c.model == key.model, looks.c.segment == key.segment)


def _write(connection: Connection, look: Look) -> None:
    identity = {"model": look.key.model, "segment": look.key.segment, "partition": look.partition}
    same = [looks.c[name] == value for name, value in identity.items()]
    values = {
        "started_at": look.start, "as_of": look.as_of, "version": look.version, "rows": look.rows,
        "content": look.to_dict(),
    }  # fmt: skip
    known = connection.execute(select(looks.c.as_of).where(*same)).scalar_one_or_none()
    if known is None:
        connection.execute(looks.insert().values(**identity, **values))
    elif known.replace(tzinfo=known.tzinfo or UTC) <= look.as_of:
        connection.execute(looks.update().where(*same).values(values))
