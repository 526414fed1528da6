"""API keys: shown once, hashed at rest, each with the scopes that its owner needs."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from include.ratchet.errors import ServingError
from include.ratchet.registry.database import api_keys, engine_of
from include.ratchet.settings import Settings

Scope = Literal["predict", "feedback", "metrics", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_PREFIX = "rk_"
_READ_EVERY_S = 1.0
"""So that a key that was taken back stops being taken within two seconds."""
_log = logging.getLogger(__name__)


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
    try:
        with engine_of(settings.database_url).begin() as connection:
            connection.execute(api_keys.insert().values(_row(name, key, scopes, now)))
    except IntegrityError:
        message = f"there is a key {name!r} already; take it back first (./ratchet key remove {name}), or name another"
        raise ServingError(message) from None
    return key


def ensure_key(name: str, key: str, scopes: Sequence[Scope], now: datetime, settings: Settings) -> None:
    """Make a key that was chosen elsewhere, in place of one of that name that was another."""
    row = _row(name, key, scopes, now)
    with engine_of(settings.database_url).begin() as connection:
        of_name = api_keys.c.name == name
        if connection.scalar(select(api_keys.c.digest).where(of_name)) != row["digest"]:
            connection.execute(api_keys.delete().where(of_name))
            connection.execute(api_keys.insert().values(row))


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
    """Knows all keys, and reads them again every second; while the database is away, the last ones go on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[str, tuple[str, frozenset[str]]] | None = None
        self._is_failing = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="keys", daemon=True)

    def open(self) -> None:
        """Read the keys, and follow them from now on."""
        self._read()
        self._thread.start()

    def close(self) -> None:
        """Follow them no longer."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(30)

    @property
    def is_read(self) -> bool:
        """Whether they could be read at all, yet."""
        return self._known is not None

    def find(self, key: str) -> tuple[str, frozenset[str]] | None:
        """The name and scopes of a key; None if it is none."""
        return (self._known or {}).get(_digest(key))

    def _follow(self) -> None:
        while not self._stopping.wait(_READ_EVERY_S):
            self._read()

    def _read(self) -> None:
        query = select(api_keys.c.digest, api_keys.c.name, api_keys.c.scopes)
        try:
            with engine_of(self._settings.database_url).connect() as connection:
                self._known = {digest: (name, frozenset(scopes)) for digest, name, scopes in connection.execute(query)}
            self._is_failing = False
        except Exception:  # whatever it is, callers who were known stay so
            if not self._is_failing:
                _log.exception("API keys cannot be read; the last known ones go on, and it is tried again every second")
            self._is_failing = True


def _row(name: str, key: str, scopes: Sequence[str], now: datetime) -> dict[str, Any]:
    return {"name": name, "digest": _digest(key), "scopes": list(scopes), "created_at": now}


def _digest(key: str) -> str:
    # Keys are 256 random bits: a slow hash would protect nothing more, and cost every request.
    return hashlib.sha256(key.encode()).hexdigest()
