"""What people say of alarms: that somebody is at it, and that nobody should be called for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from include.ratchet.errors import IncidentNotFoundError
from include.ratchet.monitoring import store
from include.ratchet.registry.fleet import read_newest
from include.ratchet.registry.ledger import Entry, record
from include.ratchet.rollout.orders import Order
from include.ratchet.settings import Settings
from include.ratchet.spec import WHOLE, ModelKey


@dataclass(frozen=True)
class Silence:
    """Nobody is called about a model key until then; of a pooled model, about any segment of it.

    Attributes:
        key: about which.
        until: from then on people are called again, of what then lasts too.
        actor: who wants it.
        reason: why.
        since: when it was said.
    """

    key: ModelKey
    until: datetime
    actor: str
    reason: str
    since: datetime


def acknowledge(settings: Settings, key: ModelKey, number: int, order: Order) -> Entry:
    """Enter that a person knows of an incident: its further messages mention nobody.

    Args:
        settings: of the installation.
        key: whose incident.
        number: of the incident.
        order: who, when, and a note.

    Raises:
        IncidentNotFoundError: the key has no open incident of that number.
    """
    open_ones = [one for one in store.read_incidents(key, settings) if one.is_open]
    if all(one.number != number for one in open_ones):
        found = ", ".join(str(one.number) for one in open_ones) or "none"
        message = f"{key}: incident {number} is not open; open: {found}. Load the page again"
        raise IncidentNotFoundError(message)
    entry = Entry(
        key=key, kind="acknowledgement", idempotency_key=f"acknowledgement:{key.slug}:{number}:{order.once}",
        actor=order.actor, reason=order.reason, recorded_at=order.recorded_at, details={"incident": number},
    )  # fmt: skip
    record(entry, settings)
    return entry


def silence(settings: Settings, key: ModelKey, until: datetime, order: Order) -> Silence:
    """Enter that nobody is to be called about a key until then; one that has passed ends the silence that is.

    What is decided goes on as before: incidents open, retrainings are asked for, champions go back.
    """
    entry = Entry(
        key=key, kind="silence", idempotency_key=f"silence:{key.slug}:{order.once}", actor=order.actor,
        reason=order.reason, recorded_at=order.recorded_at, details={"until": until.isoformat()},
    )  # fmt: skip
    record(entry, settings)
    return _silence_of(entry)


def read_silences(model: str, settings: Settings, now: datetime) -> dict[str, Silence]:
    """The silences that last, by segment; that of `all` is of every segment."""
    newest = {segment: _silence_of(entry) for segment, entry in read_newest(model, "silence", settings).items()}
    return {segment: one for segment, one in newest.items() if one.until > now}


def find_silence(silences: Mapping[str, Silence], key: ModelKey) -> Silence | None:
    """The silence that a key is under, its own or the whole model's; the longer one of two."""
    found = [silences[segment] for segment in {key.segment, WHOLE} if segment in silences]
    return max(found, key=lambda one: one.until, default=None)


def read_acknowledged(model: str, settings: Settings) -> dict[ModelKey, Entry]:
    """The newest acknowledgement of each segment's incidents, whose number stands in its details."""
    newest = read_newest(model, "acknowledgement", settings)
    return {ModelKey(model, segment): entry for segment, entry in newest.items()}


def _silence_of(entry: Entry) -> Silence:
    until = datetime.fromisoformat(entry.details["until"])
    return Silence(entry.key, until, entry.actor, entry.reason, entry.recorded_at)
