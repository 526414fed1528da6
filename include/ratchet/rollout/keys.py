"""Which keys a model has, and the one that somebody means by a segment's name."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from sqlalchemy import select, union

from include.ratchet.errors import ModelNotFoundError
from include.ratchet.registry.database import aliases, engine_of, ledger
from include.ratchet.registry.fleet import read_champions, read_newest
from include.ratchet.registry.ledger import Entry, entry_of
from include.ratchet.settings import Settings
from include.ratchet.spec import WHOLE, Model, ModelKey

_NAMED = 5


def find_key(settings: Settings, model: Model, segment: str | None) -> ModelKey:
    """The key of a segment of a model, by its name; of the whole model, or the pooled one, without a name.

    Args:
        settings: of the installation.
        model: whose.
        segment: its name, as ledger and records have it.

    Raises:
        ModelNotFoundError: the model is not divided into segments, or nothing is known of one of that name.
    """
    key = ModelKey(model.name, segment or WHOLE)
    if key.is_pool:
        return key
    if model.spec.segments is None:
        message = (
            f"{key}: found segment {segment!r}, but {model.name} is not divided into segments; expected its name "
            "alone, or `segments` in its spec"
        )
        raise ModelNotFoundError(message)
    known = segments_of(settings, model.name)
    if key.segment not in known:
        near = get_close_matches(key.segment, known, n=_NAMED)
        named = f"did you mean {' or '.join(repr(name) for name in near)}?" if near else _list(sorted(known))
        message = f"{model.name} has no segment {segment!r}: no champion, and nothing in the ledger; {named}"
        raise ModelNotFoundError(message)
    return key


def segments_of(settings: Settings, model: str) -> set[str]:
    """Names of the segments of a model of which anything is known, without the pooled one's."""
    known = union(*(select(table.c.segment).where(table.c.model == model) for table in (aliases, ledger)))
    with engine_of(settings.database_url).connect() as connection:
        return {*connection.execute(known).scalars()} - {WHOLE}


@dataclass(frozen=True)
class SegmentCounts:
    """How a model's segments are answered.

    Attributes:
        own: by a champion of their own.
        pooled: by the pooled model, or not at all where there is none.
        retired: of those without a champion, the ones that had no rows for long.
    """

    own: int
    pooled: int
    retired: int


def count_segments(settings: Settings, model: str) -> SegmentCounts:
    """How many segments of a model have a champion of their own, and what became of the others."""
    own = read_champions(model, settings).keys() - {WHOLE}
    others = segments_of(settings, model) - own
    newest = read_newest(model, "segment", settings)
    retired = [name for name in others if name in newest and newest[name].details.get("event") == "retired"]
    return SegmentCounts(len(own), len(others) - len(retired), len(retired))


def read_rows(settings: Settings, model: str, limit: int, skipped: int = 0) -> tuple[Entry, ...]:
    """Rows of the ledger about any key of a model, the newest first: so many, after those that are skipped."""
    query = select(ledger).where(ledger.c.model == model).order_by(ledger.c.id.desc()).limit(limit).offset(skipped)
    with engine_of(settings.database_url).connect() as connection:
        return tuple(entry_of(row) for row in connection.execute(query).mappings())


def _list(names: list[str]) -> str:
    if not names:
        return "none of its segments has been trained yet"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"it has {', '.join(repr(name) for name in names[:_NAMED])}{more}"
