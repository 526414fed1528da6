"""What stops every hand-over of a model divided into segments at once: too many that had to go back.

Its state is two kinds of rows in the ledger, under the key of the pooled model: one when it trips, one when a person
lifts it. What ended before it was lifted counts no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from include.ratchet.errors import GuardTrippedError, RolloutError
from include.ratchet.registry import ledger as book
from include.ratchet.registry.database import engine_of, ledger
from include.ratchet.registry.ledger import Entry
from include.ratchet.rollout.orders import Order
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey
from include.ratchet.spec.segments import FleetGuardSpec

WINDOW = timedelta(days=28)
"""Of the records' own time."""
ACTOR = "fleet guard"
NAMED = 20
"""Keys that a message lists."""


@dataclass(frozen=True)
class Ended:
    """Hand-overs of a model that have ended.

    Attributes:
        reverted: keys of those that went back, or whose champion did afterwards, the newest last.
        finished: how many ended well.
    """

    reverted: tuple[ModelKey, ...]
    finished: int

    @property
    def count(self) -> int:
        """All of them."""
        return len(self.reverted) + self.finished


@dataclass(frozen=True)
class Trip:
    """The guard as it has stopped a model's hand-overs.

    Attributes:
        key: of the pooled model.
        name: of its row in the ledger, by which it is told once.
        number: of that row.
        reason: the numbers in a sentence.
        reverted: some of the keys that went back, the newest first.
    """

    key: ModelKey
    name: str
    number: int
    reason: str
    reverted: tuple[ModelKey, ...]


def judge(spec: FleetGuardSpec, ended: Ended) -> str | None:
    """Why the hand-overs of a model must stop, with the numbers; None if they may go on."""
    if ended.count < max(1, spec.min_handovers) or len(ended.reverted) <= spec.max_reverted * ended.count:
        return None
    return (
        f"{len(ended.reverted)} of {ended.count} hand-overs of the last {WINDOW.days} days went back "
        f"({len(ended.reverted) / ended.count:.0%}), at most {spec.max_reverted:.0%} may"
    )


def watch(settings: Settings, model: Model, now: datetime, recorded_at: datetime) -> Trip | None:
    """Hold what has ended against the spec and stop the model's hand-overs if it must be; how it stands then.

    Args:
        settings: of the installation.
        model: whose; without segments nothing stops it.
        now: the records' own time.
        recorded_at: the wall clock, only for the record.
    """
    segments = model.spec.segments
    if segments is None:
        return None
    last = _find_last(model.name, settings)
    if last is not None and last.details["action"] == "guard":
        return _trip(last)
    since = (last.id or 0) if last is not None else 0
    ended = count_ended(settings, model.name, now, since)
    reason = judge(segments.guard, ended)
    if reason is None:
        return None
    newest = list(dict.fromkeys(reversed(ended.reverted)))[:NAMED]
    entry = Entry(
        key=ModelKey(model.name), kind="rollout", idempotency_key=f"guard:{model.name}:{since}:trip", actor=ACTOR,
        reason=reason, recorded_at=recorded_at,
        details={"action": "guard", "reverted": len(ended.reverted), "ended": ended.count,
                 "segments": [key.segment for key in newest]},
    )  # fmt: skip
    _record(entry, settings)
    return find_trip(settings, model.name)


def count_ended(settings: Settings, model: str, now: datetime, after: int = 0) -> Ended:
    """What has ended of a model's hand-overs within `WINDOW` before an instant of the records' time, by one query.

    Args:
        settings: of the installation.
        model: whose.
        now: the records' own time.
        after: rows of the ledger up to this one do not count.
    """
    action = ledger.c.details["action"].as_string()
    query = (
        select(ledger.c.segment, ledger.c.kind, action, ledger.c.details["at"].as_string())
        .where(ledger.c.model == model, ledger.c.kind.in_(("rollout", "revert")), ledger.c.id > after)
        # A row is written after what it tells of has happened.
        .where(ledger.c.recorded_at >= (now - WINDOW).astimezone(UTC))
        .where((ledger.c.kind == "revert") | action.in_(("finish", "revert")))
        # One that another champion has ended says nothing of its challenger.
        .where(ledger.c.details["numbers", "is_void"].as_string().is_(None))
        .order_by(ledger.c.id)
    )
    with engine_of(settings.database_url).connect() as connection:
        rows = connection.execute(query).all()
    ended: list[tuple[ModelKey, bool]] = []
    finished: dict[str, int] = {}
    for segment, kind, done, at in rows:
        if kind == "revert":
            # A champion that had to go back after all.
            place = finished.pop(segment, None)
            if place is not None:
                ended[place] = (ended[place][0], True)
            continue
        if datetime.fromisoformat(at) < now - WINDOW:
            continue
        if done == "finish":
            finished[segment] = len(ended)
        ended.append((ModelKey(model, segment), done == "revert"))
    reverted = tuple(key for key, is_reverted in ended if is_reverted)
    return Ended(reverted, len(ended) - len(reverted))


def find_trip(settings: Settings, model: str) -> Trip | None:
    """How the guard has stopped a model's hand-overs; None if it has not, or was lifted."""
    last = _find_last(model, settings)
    return _trip(last) if last is not None and last.details["action"] == "guard" else None


def check_start(settings: Settings, model: Model, key: ModelKey) -> None:
    """Let no hand-over begin while the guard has stopped them.

    Raises:
        GuardTrippedError: it has.
    """
    trip = find_trip(settings, model.name) if model.spec.segments is not None else None
    if trip is not None:
        message = (
            f"{key}: no hand-over begins, as the fleet's guard has stopped them: {trip.reason}. Find out why, then let "
            f'them go on: ./ratchet rollout {model.name} resume --reason "..."'
        )
        raise GuardTrippedError(message)


def check_reason(settings: Settings, model: Model, reason: str | None) -> None:
    """Let nobody lift the guard without a reason.

    Raises:
        RolloutError: it has stopped the model's hand-overs, and there is no reason.
    """
    if not reason and find_trip(settings, model.name) is not None:
        message = f"{model.name}: found no reason; expected why its hand-overs may go on, which the ledger keeps"
        raise RolloutError(message)


def lift(settings: Settings, trip: Trip, order: Order) -> None:
    """Let a model's hand-overs go on, because a person says so; what has ended counts anew from here."""
    entry = Entry(
        key=trip.key, kind="rollout", idempotency_key=f"guard:{trip.key}:{trip.number}:lift", actor=order.actor,
        reason=f"the fleet's guard is lifted: {order.reason}", recorded_at=order.recorded_at,
        details={"action": "lift", "trip": trip.number, "once": order.once},
    )  # fmt: skip
    _record(entry, settings)


def is_lifted_by(settings: Settings, model: str, order: Order) -> bool:
    """Whether an order of that name has lifted the guard before, and nothing has tripped it since."""
    last = _find_last(model, settings) if order.once is not None else None
    return last is not None and last.details.get("once") == order.once


def _record(entry: Entry, settings: Settings) -> None:
    try:
        book.record(entry, settings)
    except IntegrityError:
        # Another run was faster with the same row.
        return


def _find_last(model: str, settings: Settings) -> Entry | None:
    query = (
        select(ledger)
        .where(ledger.c.model == model, ledger.c.segment == ModelKey(model).segment)
        .where(ledger.c.kind == "rollout", ledger.c.idempotency_key.startswith(f"guard:{model}:", autoescape=True))
        .order_by(ledger.c.id.desc())
        .limit(1)
    )
    with engine_of(settings.database_url).connect() as connection:
        row = connection.execute(query).mappings().first()
    return book.entry_of(row) if row else None


def _trip(entry: Entry) -> Trip:
    keys = tuple(ModelKey(entry.key.model, segment) for segment in entry.details["segments"])
    return Trip(entry.key, entry.idempotency_key, entry.id or 0, entry.reason, keys)
