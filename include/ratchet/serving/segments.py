"""The segments of a model as the service sees them: whose each row is, and which have a model of their own."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from sqlalchemy import case, func, select

from include.ratchet.data.segments import segments_of
from include.ratchet.registry.database import aliases, engine_of
from include.ratchet.registry.ledger import CHALLENGER, CHAMPION
from include.ratchet.serving.payload import Rows
from include.ratchet.settings import Settings
from include.ratchet.spec import WHOLE, ModelKey, ModelSpec, segment_name
from include.ratchet.spec.segments import MAX_NAME

_SHOWN = 20


def name_segments(spec: ModelSpec, rows: Rows) -> list[str]:
    """The segment of each row, as it was read; WHOLE for all rows of a model that is not divided."""
    if spec.segments is None:
        return [WHOLE] * len(rows)
    by = spec.segments.by
    if isinstance(rows, pa.Table):
        return list(segments_of(rows, by).to_pylist())
    return [segment_name([row.get(name) for name in by]) for row in rows]


def explain_unknown(key: ModelKey, known: Iterable[str]) -> str:
    """That a model has no such segment, with the near name."""
    asked, names = key.segment[:MAX_NAME], sorted(set(known) - {WHOLE})
    near = difflib.get_close_matches(asked, names, 1, 0.5)
    more = ", ..." if len(names) > _SHOWN else ""
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names[:_SHOWN]) or 'none'}{more}"
    return f"no segment {asked!r} of {key.model} has a model of its own; {hint}"


def has_segment(settings: Settings, key: ModelKey) -> bool:
    """Whether a segment has, or once had, a version in hand."""
    if "\0" in key.segment:  # no database takes it as text
        return False
    query = select(aliases.c.alias).where(aliases.c.model == key.model, aliases.c.segment == key.segment).limit(1)
    with engine_of(settings.database_url).connect() as connection:
        return connection.execute(query).first() is not None


def list_segments(settings: Settings, model: str, after: str, limit: int) -> list[dict[str, Any]]:
    """Segments with a version in hand, in the database's order: name, champion and challenger.

    Args:
        settings: where the database is.
        model: whose.
        after: only those behind this name.
        limit: at most so many.
    """
    named = {alias: func.max(case((aliases.c.alias == alias, aliases.c.version))) for alias in (CHAMPION, CHALLENGER)}
    query = (
        select(aliases.c.segment, *(one.label(alias) for alias, one in named.items()))
        .where(aliases.c.model == model, aliases.c.segment != WHOLE, aliases.c.segment > after)
        .where(aliases.c.alias.in_(list(named)))
        .group_by(aliases.c.segment)
        .order_by(aliases.c.segment)
        .limit(limit)
    )
    with engine_of(settings.database_url).connect() as connection:
        rows = connection.execute(query).all()
    return [{"segment": segment, CHAMPION: champion, CHALLENGER: challenger} for segment, champion, challenger in rows]
