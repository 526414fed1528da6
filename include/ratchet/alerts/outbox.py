"""Alerts as they are kept: said once, even by a task that is run again, and not lost if nobody could be told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime

from include.ratchet.alerts.messages import Message
from include.ratchet.data.blobs import open_blobs
from include.ratchet.settings import Settings

Send = Callable[[Message], str]
"""Delivers a message and says in a word what came of it; never raises."""


def tell(message: Message, send: Send, settings: Settings, now: datetime) -> str:
    """Keep a message and deliver it, unless one of the same key has been dealt with before.

    Returns:
        `sent`, `told before`, or why it was not sent. A process killed between keeping and sending tells again.
    """
    blobs, path = open_blobs(settings), _path(message.model, message.key)
    known = blobs.get(path)
    if known is not None and json.loads(known)["outcome"] is not None:
        return "told before"
    kept = {**asdict(message), "kept_at": now.isoformat(), "outcome": None}
    blobs.put(path, json.dumps(kept, indent=1).encode())
    outcome = send(message)
    blobs.put(path, json.dumps({**kept, "outcome": outcome}, indent=1).encode())
    return outcome


def is_told(model: str, key: str, settings: Settings) -> bool:
    """Whether an alert of that key has been dealt with."""
    known = open_blobs(settings).get(_path(model, key))
    return known is not None and json.loads(known)["outcome"] is not None


def _path(model: str, key: str) -> str:
    return f"alerts/{model}/{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
