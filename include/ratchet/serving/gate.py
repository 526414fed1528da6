"""Who may call, how much, and how often; and errors as the protocols say them."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.requests import Request
from starlette.responses import Response

from include.ratchet.errors import (
    LedgerConflictError,
    LogUnavailableError,
    ModelNotFoundError,
    NotDeployedError,
    NothingToRevertError,
    OverloadError,
    RatchetError,
    RegistryUnavailableError,
    RolloutError,
    VersionNotFoundError,
)
from include.ratchet.serving.config import ServingConfig
from include.ratchet.serving.keys import Keyring
from include.ratchet.serving.payload import Problem

ANYBODY = "anybody"
_CALLERS = 10_000
AWAY = (OperationalError, InterfaceError, PoolTimeoutError)
"""What is raised while the database does not answer."""
_SOON = {"Retry-After": "5"}


class Refusal(Exception):  # noqa: N818 - what a caller is told, and no fault of the service
    """A request that is not answered.

    Attributes:
        status: HTTP status.
        code: one word.
        message: what is wrong and what to do.
        problems: every wrong field.
        headers: further headers.
    """

    def __init__(self, status: int, code: str, message: str, problems: Sequence[Problem] = (),
                 headers: Mapping[str, str] | None = None) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.problems, self.headers = tuple(problems), dict(headers or {})


_STATUS: tuple[tuple[type[Exception], int, str, dict[str, str]], ...] = (
    (ModelNotFoundError, 404, "unknown_model", {}),
    (VersionNotFoundError, 404, "unknown_version", {}),
    (NotDeployedError, 409, "not_deployed", {}),
    (OverloadError, 503, "overloaded", {"Retry-After": "1"}),
    (LogUnavailableError, 503, "not_recorded", _SOON),
    (RegistryUnavailableError, 503, "no_registry", {"Retry-After": "10"}),
    (NothingToRevertError, 409, "nothing_to_revert", {}),
    (RolloutError, 409, "no_such_step", {}),
    (LedgerConflictError, 409, "moved", {}),
    (RecursionError, 422, "nested_too_deep", {}),
)


def refusal_of(error: Exception) -> Refusal:
    """An error as callers hear of it; of what they have no part in, only that it happened."""
    if isinstance(error, Refusal):
        return error
    for kind, status, code, headers in _STATUS:
        if isinstance(error, kind):
            return Refusal(status, code, str(error), headers=headers)
    if isinstance(error, AWAY):
        message = "the database does not answer; what is loaded goes on predicting, the rest waits for it: try again"
        return Refusal(503, "no_database", message, headers=_SOON)
    word = str(error) if isinstance(error, RatchetError) else type(error).__name__
    return Refusal(500, "failed", f"the request failed ({word}); the service's log says more")


class Gate:
    """Checks what comes in before anything is done with it."""

    def __init__(self, config: ServingConfig, keyring: Keyring) -> None:
        self._config, self._keyring = config, keyring
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def needs_key(self) -> bool:
        """Whether callers need an API key."""
        return self._config.auth == "on"

    def open(self) -> None:
        """Begin to follow the keys, where callers need one."""
        if self.needs_key:
            self._keyring.open()

    def close(self) -> None:
        """Follow them no longer."""
        self._keyring.close()

    def admit(self, request: Request, *scopes: str) -> str:
        """The caller's name.

        Raises:
            Refusal: 401 without a key, 403 without any of the scopes, 429 over the limit, 503 if keys cannot be read.
        """
        caller = ANYBODY if self._config.auth == "off" else self._identify(request, scopes)
        if self._config.rate:
            who = caller if caller != ANYBODY or request.client is None else request.client.host
            self._count(who)
        return caller

    async def read_body(self, request: Request) -> bytes:
        """A request's body.

        Raises:
            Refusal: 413, it is too large.
        """
        limit = self._config.max_body_kb * 1024
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                message = f"the body has more than {self._config.max_body_kb} kB; send fewer rows at once"
                raise Refusal(413, "too_large", message)
            parts.append(part)
        return b"".join(parts)

    async def read_json(self, request: Request) -> dict[str, Any]:
        """A request's body as a JSON object.

        Raises:
            Refusal: 400, it is no JSON; 413, it is too large; 422, it is no object.
        """
        return read_object(await self.read_body(request))

    def _identify(self, request: Request, scopes: Sequence[str]) -> str:
        header = request.headers.get("authorization", "")
        key = request.headers.get("x-api-key") or (header[7:] if header[:7].lower() == "bearer " else "")
        if key and not self._keyring.is_read:
            message = "the database does not answer, and no API key is known yet; try again"
            raise Refusal(503, "no_database", message, headers=_SOON)
        known = self._keyring.find(key) if key else None
        if known is None:
            message = "expected an API key as `Authorization: Bearer rk_...` or `X-API-Key`; see ./ratchet key add"
            raise Refusal(401, "no_key", message, headers={"WWW-Authenticate": "Bearer"})
        name, own = known
        if scopes and not own & {*scopes, "admin"}:
            message = f"key {name!r} has scopes {', '.join(sorted(own))}; expected {' or '.join(scopes)}"
            raise Refusal(403, "no_scope", message)
        return name

    def _count(self, caller: str) -> None:
        """A bucket that holds a second's worth of requests and fills again at the rate."""
        rate, now = self._config.rate, time.monotonic()
        level, at = self._buckets.pop(caller, (max(1.0, rate), now))
        level = min(max(1.0, rate), level + (now - at) * rate)
        self._buckets[caller] = (level - 1 if level >= 1 else level, now)
        if len(self._buckets) > _CALLERS:
            self._buckets.popitem(last=False)
        if level < 1:
            wait = math.ceil((1 - level) / rate)
            message = f"more than {rate:g} requests a second; try again in {wait} s"
            raise Refusal(429, "too_many", message, headers={"Retry-After": str(wait)})


def respond(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer as JSON; what is no number is null."""
    return Response(orjson.dumps(content), status, headers, "application/json")


def read_object(body: bytes) -> dict[str, Any]:
    """JSON's object.

    Raises:
        Refusal: it is none.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = f"the body is not JSON: {error}"
        raise Refusal(400, "not_json", message) from None
    if not isinstance(content, dict):
        found = Problem((), type(content).__name__, "an object")
        raise Refusal(422, "invalid", "the body is not an object", [found])
    return content
