"""Which keys a model has, and the one that somebody means by a segment's name."""

from __future__ import annotations

from difflib import get_close_matches

from sqlalchemy import select, union

from include.ratchet.errors import ModelNotFoundError
from include.ratchet.registry.database import aliases, engine_of, ledger
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


def _list(names: list[str]) -> str:
    if not names:
        return "none of its segments has been trained yet"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"it has {', '.join(repr(name) for name in names[:_NAMED])}{more}"
