"""Durations and partition sizes as users write them: `30m`, `2h`, `28d`, `4w`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PATTERN = r"^\d+(m|h|d|w)$"


def parse_duration(value: Any) -> timedelta:
    """Read `"28d"` as 28 days; a timedelta passes through.

    Raises:
        ValueError: the text is not a whole number followed by m, h, d or w.
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str) and re.match(_PATTERN, value):
        return timedelta(**{_UNITS[value[-1]]: int(value[:-1])})
    message = "expected a whole number and a unit (m, h, d or w), such as 28d"
    raise ValueError(message)


def format_duration(value: timedelta) -> str:
    """Write 28 days as `"4w"`: the largest unit that divides the duration."""
    minutes = int(value.total_seconds()) // 60
    for unit, size in (("w", 10080), ("d", 1440), ("h", 60)):
        if minutes and minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}m"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _PATTERN, "examples": ["30m", "2h", "28d", "4w"]}),
]
