"""What one prediction service is set to, read from the environment once."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from include.ratchet.errors import ServingError
from include.ratchet.settings import read_settings

_LIMITS = ("max_body_kb", "max_queue_rows", "rate", "memory_mb", "poll_s", "ship_s")
_MAY_BE_ZERO = ("rate",)
_LAST_PORT = 65_535


@dataclass(frozen=True)
class ServingConfig:
    """One service's limits.

    Attributes:
        host: address or host name that it listens on.
        port: port that it listens on.
        auth: whether callers need an API key; `off` only on the loopback.
        log_dir: folder of the durable log.
        max_body_kb: larger requests are refused (413).
        max_queue_rows: rows that may wait for a prediction; more are shed (503).
        rate: requests a second that one caller may send (429); 0: any number.
        memory_mb: of loaded models and histories together; the least recently used are let go.
        poll_s: how often routes and histories are looked at.
        ship_s: how often records go from the log into their tables: each time is a commit and some files.
    """

    host: str = "127.0.0.1"
    port: int = 8090
    auth: Literal["on", "off"] = "off"
    log_dir: Path = Path("serving")
    max_body_kb: int = 4096
    max_queue_rows: int = 20_000
    rate: float = 0.0
    memory_mb: float = 1024.0
    poll_s: float = 0.5
    ship_s: float = 30.0


def read_config(environ: Mapping[str, str]) -> ServingConfig:
    """Limits from `RATCHET_SERVING_*` variables.

    Raises:
        ServingError: one of them cannot be read, or callers would need no key on an address that others can reach.
    """
    host = environ.get("RATCHET_SERVING_HOST", "127.0.0.1")
    is_local = _is_loopback(host)
    auth = environ.get("RATCHET_SERVING_AUTH", "off" if is_local else "on")
    if auth not in ("on", "off") or (auth == "off" and not is_local):
        message = (
            f"RATCHET_SERVING_AUTH: found {auth!r} for address {host}; expected `on`, as without API keys the service "
            "listens on 127.0.0.1 only. Make a key: ./ratchet key add NAME"
        )
        raise ServingError(message)
    numbers = {
        name: _read_number(environ, variable, may_be_zero=name in _MAY_BE_ZERO)
        for name in _LIMITS
        if (variable := f"RATCHET_SERVING_{name.upper()}") in environ
    }
    return ServingConfig(
        host=host,
        port=_read_port(environ.get("RATCHET_SERVING_PORT", "8090")),
        auth="on" if auth == "on" else "off",
        log_dir=Path(environ.get("RATCHET_SERVING_LOG", str(read_settings(environ).home / "serving"))),
        **{name: int(value) if name.startswith("max_") else value for name, value in numbers.items()},  # type: ignore[arg-type]
    )


def _is_loopback(host: str) -> bool:
    """Whether nobody else can reach it; a name may stand for any address, but for `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", host):
            message = f"RATCHET_SERVING_HOST: found {host!r}; expected an address or a host name, such as 127.0.0.1"
            raise ServingError(message) from None
        return host == "localhost"


def _read_port(found: str) -> int:
    if not found.isascii() or not found.isdigit() or int(found) > _LAST_PORT:
        message = f"RATCHET_SERVING_PORT: found {found!r}; expected a port's number, such as 8090"
        raise ServingError(message)
    return int(found)


def _read_number(environ: Mapping[str, str], variable: str, *, may_be_zero: bool) -> float:
    found = environ[variable]
    try:
        number = float(found)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0 or (number == 0 and not may_be_zero):
        expected = "a number, 0 for no limit" if may_be_zero else "a number above 0"
        message = f"{variable}: found {found!r}; expected {expected}. Correct it, or leave it out for the default"
        raise ServingError(message)
    return number
