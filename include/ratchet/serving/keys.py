"""API keys: shown once, hashed at rest, each with the scopes that its owner needs."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from include.ratchet.errors import ServingError
from include.ratchet.registry.database import api_keys, engine_of
from include.ratchet.settings import Settings

Scope = Literal["predict", "feedback", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_PREFIX = "rk_"
_FRESH_S = 2.0
"""For so long a key that was taken away may still be taken."""


@dataclass(frozen=True)
class ApiKey:
    """A key as the service knows it: by name and scopes, not by what it is."""

    name: str
    scopes: tuple[str, ...]
    created_at: datetime


def add_key(name: str, scopes: Sequence[str], now: datetime, settings: Settings) -> str:
    """Make a key; it is returned here and can never be read again.

    Raises:
        ServingError: there is a key of that name, or no such scope.
    """
    unknown = set(scopes) - set(SCOPES)
    if unknown or not scopes:
        message = f"scopes: found {', '.join(scopes) or 'none'}; expected some of {', '.join(SCOPES)}"
        raise ServingError(message)
    key = _PREFIX + secrets.token_urlsafe(32)
    values = {"name": name, "digest": _digest(key), "scopes": list(scopes), "created_at": now}
    try:
        with engine_of(settings.database_url).begin() as connection:
            connection.execute(api_keys.insert().values(values))
    except IntegrityError:
        message = f"there is a key {name!r} already; take it back first (./ratchet key remove {name}), or name another"
        raise ServingError(message) from None
    return key


def remove_key(name: str, settings: Settings) -> None:
    """Take a key back.

    Raises:
        ServingError: there is none of that name.
    """
    with engine_of(settings.database_url).begin() as connection:
        if connection.execute(api_keys.delete().where(api_keys.c.name == name)).rowcount == 0:
            message = f"no key {name!r}; see ./ratchet key list"
            raise ServingError(message)


def list_keys(settings: Settings) -> list[ApiKey]:
    """Every key, by name."""
    with engine_of(settings.database_url).connect() as connection:
        rows = connection.execute(select(api_keys).order_by(api_keys.c.name)).mappings()
        return [ApiKey(row["name"], tuple(row["scopes"]), row["created_at"]) for row in rows]


class Keyring:
    """Looks keys up, from memory for two seconds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[str, tuple[str, frozenset[str]]] = {}
        self._read_at = -_FRESH_S

    def find(self, key: str) -> tuple[str, frozenset[str]] | None:
        """The name and scopes of a key; None if it is none."""
        if time.monotonic() - self._read_at > _FRESH_S:
            query = select(api_keys.c.digest, api_keys.c.name, api_keys.c.scopes)
            with engine_of(self._settings.database_url).connect() as connection:
                self._known = {digest: (name, frozenset(scopes)) for digest, name, scopes in connection.execute(query)}
            self._read_at = time.monotonic()
        return self._known.get(_digest(key))


def _digest(key: str) -> str:
    # Keys are 256 random bits: a slow hash would protect nothing more, and cost every request.
    return hashlib.sha256(key.encode()).hexdigest()
