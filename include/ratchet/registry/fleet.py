"""The ledger and the aliases of all segments of a model at once: a query or a transaction, not one for each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from include.ratchet.errors import LedgerConflictError
from include.ratchet.registry.database import aliases, engine_of, ledger
from include.ratchet.registry.ledger import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    AliasState,
    Entry,
    Kind,
    MovedError,
    aliases_of,
    answered_requests,
    append,
    entry_of,
    move,
    read_aliases,
    remove_alias,
    state_of,
)
from include.ratchet.settings import Settings
from include.ratchet.spec import WHOLE

_CHUNK = 500
"""Keys of one query."""


def read_champions(model: str, settings: Settings) -> dict[str, AliasState]:
    """The champion of every segment of a model that has one, by segment; the pooled model's is among them."""
    query = select(aliases).where(aliases.c.model == model, aliases.c.alias == CHAMPION)
    with engine_of(settings.database_url).connect() as connection:
        return {row["segment"]: state_of(row) for row in connection.execute(query).mappings()}


def read_newest(
    model: str, kind: Kind, settings: Settings, segments: Collection[str] | None = None
) -> dict[str, Entry]:  # fmt: skip
    """The newest row of a kind of every segment of a model, or of some of them, by segment."""
    newest = select(func.max(ledger.c.id)).where(ledger.c.model == model, ledger.c.kind == kind)
    if segments is not None:
        newest = newest.where(ledger.c.segment.in_(segments))
    query = select(ledger).where(ledger.c.id.in_(newest.group_by(ledger.c.segment)))
    with engine_of(settings.database_url).connect() as connection:
        return {row["segment"]: entry_of(row) for row in connection.execute(query).mappings()}


def find_entries(idempotency_keys: Iterable[str], settings: Settings) -> dict[str, Entry]:
    """The rows with some keys, by key; those that the ledger does not know are left out."""
    wanted = list(idempotency_keys)
    found: dict[str, Entry] = {}
    with engine_of(settings.database_url).connect() as connection:
        for start in range(0, len(wanted), _CHUNK):
            query = select(ledger).where(ledger.c.idempotency_key.in_(wanted[start : start + _CHUNK]))
            found |= {row["idempotency_key"]: entry_of(row) for row in connection.execute(query).mappings()}
    return found


def record_all(entries: Sequence[Entry], settings: Settings) -> None:
    """Append rows in one transaction; those that are there already stay as they are."""
    if entries:
        with engine_of(settings.database_url).begin() as connection:
            for entry in entries:
                append(connection, entry)


def pending_requests(model: str, settings: Settings) -> tuple[Entry, ...]:
    """Requests to retrain any segment of a model that nothing has answered yet, oldest first."""
    asked = select(ledger).where(ledger.c.model == model, ledger.c.kind == "request").order_by(ledger.c.id)
    with engine_of(settings.database_url).connect() as connection:
        requests = [entry_of(row) for row in connection.execute(asked).mappings()]
        if not requests:
            return ()
        later = select(ledger).where(
            ledger.c.model == model, ledger.c.kind.in_(("verdict", "segment")), ledger.c.id > requests[0].id
        )
        answered = answered_requests([entry_of(row) for row in connection.execute(later).mappings()])
    return tuple(one for one in requests if one.idempotency_key not in answered)


def request_history(model: str, segments: Sequence[str], settings: Settings) -> tuple[list[Entry], set[str]]:
    """Every request to retrain some segments of a model, oldest first, and the keys of those that were answered."""
    requests: list[Entry] = []
    answered: set[str] = set()
    with engine_of(settings.database_url).connect() as connection:
        for start in range(0, len(segments), _CHUNK):
            own = [ledger.c.model == model, ledger.c.segment.in_(segments[start : start + _CHUNK])]
            asked = select(ledger).where(*own, ledger.c.kind == "request")
            found = [entry_of(row) for row in connection.execute(asked).mappings()]
            if not found:
                continue
            requests += found
            # Of verdicts, which are many and long, only what they answer, and only if they do.
            answers = ledger.c.details["answers"]
            rows = select(answers).where(
                *own, ledger.c.kind.in_(("verdict", "segment")), answers.as_string() != "[]",
                ledger.c.id > min(one.id or 0 for one in found),
            )  # fmt: skip
            answered |= {key for keys in connection.execute(rows).scalars() for key in keys or ()}
    return sorted(requests, key=lambda one: one.id or 0), answered


def count_requests(model: str, start: datetime, end: datetime, settings: Settings) -> int:
    """Requests to retrain segments of a model, not the pooled one, as of an instant in `[start, end)`."""
    query = select(func.count()).where(
        ledger.c.model == model, ledger.c.kind == "request", ledger.c.segment != WHOLE,
        ledger.c.as_of >= start.astimezone(UTC), ledger.c.as_of < end.astimezone(UTC),
    )  # fmt: skip
    with engine_of(settings.database_url).connect() as connection:
        return int(connection.execute(query).scalar_one())


def move_champions(moves: Sequence[tuple[Entry, int | None]], settings: Settings) -> None:
    """Make several versions champions in one transaction: all of them, or none.

    Args:
        moves: promotions, each with the champion that it was judged against.
        settings: of the installation.

    Raises:
        LedgerConflictError: one of the champions is another than expected; nothing has moved.
    """
    try:
        with engine_of(settings.database_url).begin() as connection:
            # In one order, so that two transactions wait for one another and neither waits for itself.
            for entry, expected in sorted(moves, key=lambda one: one[0].key):
                move(connection, entry, expected)
    except (IntegrityError, MovedError) as error:
        message = f"another champion came in between: {error}; none of {len(moves)} moved. Train again"
        raise LedgerConflictError(message) from error


def retire(entry: Entry, settings: Settings, expected: int | None = None) -> dict[str, AliasState]:
    """Let a segment have no champion any more: the pooled model answers for it, until a training gives it one again.

    Args:
        entry: of kind `segment`, why; recorded in the same transaction.
        settings: of the installation.
        expected: the champion that was decided about; None: whichever it is.

    Returns:
        The aliases afterwards. Doing the same thing twice changes nothing the second time.

    Raises:
        LedgerConflictError: the champion is another than expected; nothing has changed.
    """
    with engine_of(settings.database_url).begin() as connection:
        champion = aliases_of(connection, entry.key, lock=True).get(CHAMPION)
        if champion is not None and expected is not None and champion.version != expected:
            message = f"{entry.key}: the champion is now {champion.version}, no longer {expected}; it stays"
            raise LedgerConflictError(message)
        append(connection, entry)
        for alias in (CHAMPION, PREVIOUS, CHALLENGER):
            remove_alias(connection, entry.key, alias)
    return read_aliases(entry.key, settings)
