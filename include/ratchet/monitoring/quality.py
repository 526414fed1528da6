"""What is wrong with incoming payloads by themselves: their columns, types and ranges, against the spec."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import orjson

from include.ratchet.spec import ModelSpec
from include.ratchet.spec.tables import ColumnSpec

ROWS = 1000
"""Payloads of a partition that are looked into."""


def sample(count: int, rows: int = ROWS) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Positions of an even sample of so many rows at most."""
    return np.linspace(0, count - 1, min(count, rows)).astype(np.int64)


def read_payloads(payloads: Sequence[str | None]) -> list[dict[str, Any]]:
    """The payloads that are JSON objects."""
    found = []
    for text in payloads:
        try:
            content = orjson.loads(text) if text else None
        except ValueError:
            continue
        if isinstance(content, dict):
            found.append(content)
    return found


def inspect(spec: ModelSpec, payloads: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Numbers of a day's payloads.

    Args:
        spec: names the columns with their types and bounds; masked ones are only counted.
        payloads: by row.

    Returns:
        `payload.columns`, how many columns rows have (the median), and of columns that have any, the shares of rows
        with a value of another type (`payload.type.x`) or out of bounds (`payload.range.x`).
    """
    if not payloads:
        return {}
    wrong: Counter[str] = Counter()
    known = {name: one for name, one in spec.columns.items() if name not in spec.serving.records.mask}
    for row in payloads:
        for name, one in known.items():
            value = row.get(name)
            if value is None:
                continue
            if not _FITS[one.type](value):
                wrong[f"payload.type.{name}"] += 1
            elif not _is_inside(one, value):
                wrong[f"payload.range.{name}"] += 1
    shares = {name: count / len(payloads) for name, count in wrong.items()}
    return {"payload.columns": float(np.median([len(row) for row in payloads])), **shares}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value) is not None
    except (ValueError, TypeError):
        return False


_FITS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "float": _is_number,
    "boolean": lambda value: isinstance(value, bool) or value in (0, 1),
    "timestamp": _is_time,
    "date": _is_time,
}


def _is_inside(column: ColumnSpec, value: Any) -> bool:
    if column.values is not None and str(value) not in column.values:
        return False
    size = len(value) if isinstance(value, str) else value
    is_bounded = isinstance(size, int | float)
    return not is_bounded or ((column.min is None or size >= column.min) and (column.max is None or size <= column.max))
