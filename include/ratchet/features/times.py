"""Local time in expressions, for features such as the hour of the day."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
from ibis.common.deferred import Call, Deferred

from include.ratchet.errors import SpecError

_ZONED = dt.Timestamp("UTC", scale=6)


def _local(zone: dt.string, at: _ZONED) -> dt.timestamp:  # type: ignore[valid-type]
    """The wall-clock time of an instant in a zone."""


def _utc(zone: dt.string, at: dt.timestamp) -> _ZONED:  # type: ignore[valid-type]
    """The instant of a wall-clock time in a zone."""


_to_local = ibis.udf.scalar.builtin(_local, name="timezone")
_to_instant = ibis.udf.scalar.builtin(_utc, name="timezone")


def local_time(at: Any, zone: str) -> Any:
    """A time's wall clock in an IANA zone: `local_time(t.rows.scheduled_departure, "America/New_York").hour()`.

    Raises:
        SpecError: there is no such zone.
    """
    if zone not in available_timezones():
        message = f"features.py: local_time: found zone {zone!r}; expected an IANA time zone, such as Europe/Paris"
        raise SpecError(message)
    return Deferred(Call(_convert, at, zone)) if isinstance(at, Deferred) else _convert(at, zone)


def _convert(at: ir.Value, zone: str) -> ir.Value:
    return _to_local(zone, _to_instant("UTC", at))
