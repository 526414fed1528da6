"""The append-only record of requests, verdicts, promotions and reverts, and the aliases that follow from it.

The database decides: an alias moves by compare-and-swap in one transaction with its ledger row, and MLflow's alias is
set to match afterwards. A process killed in between leaves MLflow behind by one `follow`, never ahead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Update, select
from sqlalchemy.exc import IntegrityError

from include.ratchet.errors import LedgerConflictError, NothingToRevertError
from include.ratchet.registry.database import aliases, engine_of, ledger
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
Kind = Literal[
    "request", "verdict", "promotion", "revert", "approval", "conflict", "rollout", "segment", "failure",
    "acknowledgement", "silence", "action", "erasure",
]  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One row of the ledger.

    Attributes:
        key: of the model.
        kind: what happened.
        idempotency_key: the same thing recorded twice is one row.
        actor: who or what did it.
        reason: why, in a sentence.
        version: the version that it is about.
        as_of: what that version knew.
        details: the numbers.
        recorded_at: when.
        id: given by the database, in order.
    """

    key: ModelKey
    kind: Kind
    idempotency_key: str
    actor: str
    reason: str
    recorded_at: datetime
    version: int | None = None
    as_of: datetime | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    id: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        times = {name: getattr(self, name).isoformat() if getattr(self, name) else None
                 for name in ("as_of", "recorded_at")}  # fmt: skip
        return {**asdict(self), "key": str(self.key), "details": dict(self.details), **times}


@dataclass(frozen=True)
class AliasState:
    """Which version an alias names, and what that version knew."""

    version: int
    as_of: datetime | None


class MovedError(Exception):
    """The champion moved between reading and writing it."""


def record(entry: Entry, settings: Settings) -> int:
    """Append a row, unless it is there already; returns its id."""
    with engine_of(settings.database_url).begin() as connection:
        return append(connection, entry)


def history(key: ModelKey, settings: Settings) -> tuple[Entry, ...]:
    """Every row about a model key, oldest first."""
    query = select(ledger).where(ledger.c.model == key.model, ledger.c.segment == key.segment).order_by(ledger.c.id)
    with engine_of(settings.database_url).connect() as connection:
        return tuple(entry_of(row) for row in connection.execute(query).mappings())


def find_entry(idempotency_key: str, settings: Settings) -> Entry | None:
    """The row with that key, if there is one."""
    query = select(ledger).where(ledger.c.idempotency_key == idempotency_key)
    with engine_of(settings.database_url).connect() as connection:
        row = connection.execute(query).mappings().first()
    return entry_of(row) if row else None


def read_requests(keys: Sequence[str], settings: Settings) -> list[dict[str, Any]]:
    """What some requests to retrain asked for, and why; those that the ledger does not know are left out."""
    found = [entry for key in keys if (entry := find_entry(key, settings)) is not None]
    return [{"request": entry.idempotency_key, "reason": entry.reason, **entry.details} for entry in found]


def pending_requests(key: ModelKey, settings: Settings) -> tuple[Entry, ...]:
    """Requests to retrain that no verdict has answered yet, oldest first, whether or not their event arrived."""
    rows = history(key, settings)
    answered = answered_requests(rows)
    return tuple(row for row in rows if row.kind == "request" and row.idempotency_key not in answered)


def answered_requests(rows: Sequence[Entry]) -> set[str]:
    """Idempotency keys of the requests to retrain that some rows have answered: verdicts, or a segment's retirement."""
    return {answer for row in rows if row.kind in ("verdict", "segment") for answer in row.details.get("answers", ())}


def read_aliases(key: ModelKey, settings: Settings) -> dict[str, AliasState]:
    """The aliases of a model key."""
    with engine_of(settings.database_url).connect() as connection:
        return aliases_of(connection, key)


def move_champion(entry: Entry, expected: int | None, settings: Settings) -> dict[str, AliasState]:
    """Make a version the champion and the present champion the previous one, if nothing moved in between.

    Args:
        entry: a promotion or a revert; its version becomes champion. Recorded in the same transaction.
        expected: the champion against which the decision was made.
        settings: of the installation.

    Returns:
        The aliases afterwards. Doing the same thing twice changes nothing the second time.

    Raises:
        LedgerConflictError: the champion is another than expected, or knew more than the new version.
    """
    if entry.version is None:
        message = f"{entry.key}: a {entry.kind} names no version; expected one"
        raise ValueError(message)
    engine = engine_of(settings.database_url)
    for attempt in (1, 2):
        try:
            with engine.begin() as connection:
                return move(connection, entry, expected)
        except (IntegrityError, MovedError):
            # Another move came in between; looking again, this one sees it and says so.
            if attempt == 2:
                raise
    return {}


def plan_revert(key: ModelKey, settings: Settings) -> tuple[AliasState, AliasState]:
    """The champion and the version to go back to.

    Raises:
        NothingToRevertError: there is no previous version.
    """
    found = read_aliases(key, settings)
    if CHAMPION not in found or PREVIOUS not in found:
        missing = CHAMPION if CHAMPION not in found else PREVIOUS
        message = (
            f"{key} has no {missing} version, so there is nothing to go back to; see ./ratchet history {key.model}"
        )
        raise NothingToRevertError(message)
    return found[CHAMPION], found[PREVIOUS]


def move(connection: Connection, entry: Entry, expected: int | None) -> dict[str, AliasState]:
    """What `move_champion` does, within a transaction that has more to write.

    Raises:
        LedgerConflictError: as `move_champion`.
        MovedError: another move came in between; look again in a new transaction.
    """
    known = connection.execute(
        select(ledger.c.id).where(ledger.c.idempotency_key == entry.idempotency_key)
    ).scalar_one_or_none()
    before = aliases_of(connection, entry.key, lock=True)
    if known is not None:
        return before
    champion = before.get(CHAMPION)
    _check_move(entry, champion, expected)
    row = append(connection, entry)
    values = {"version": entry.version, "as_of": entry.as_of, "ledger_id": row}
    if champion is None:
        # Never an update: of two first promotions the slower one must fail on the key, look again and lose.
        connection.execute(aliases.insert().values(**_identity(entry.key, CHAMPION), **values))
    else:
        swap = _update(entry.key, CHAMPION).where(aliases.c.version == champion.version)
        if connection.execute(swap.values(values)).rowcount == 0:
            raise MovedError
        if champion.version != entry.version:
            # Only after the champion's row was swapped: the key's aliases are this transaction's until it ends.
            set_alias(connection, entry.key, PREVIOUS, champion, row)
    return aliases_of(connection, entry.key)


def _check_move(entry: Entry, champion: AliasState | None, expected: int | None) -> None:
    found = champion.version if champion else None
    if found != expected:
        message = (
            f"{entry.key}: version {entry.version} was judged against champion {expected}, but the champion is now "
            f"{found}; it is not promoted. Train again to have it judged against that one"
        )
        raise LedgerConflictError(message)
    is_older = champion and champion.as_of and entry.as_of and entry.as_of < champion.as_of
    if entry.kind == "promotion" and is_older and champion:
        message = (
            f"{entry.key}: version {entry.version} knew the world as of {entry.as_of}, the champion "
            f"{champion.version} as of {champion.as_of}; an older one is never promoted"
        )
        raise LedgerConflictError(message)


def append(connection: Connection, entry: Entry) -> int:
    """What `record` does, within a transaction that has more to write."""
    known = connection.execute(
        select(ledger.c.id).where(ledger.c.idempotency_key == entry.idempotency_key)
    ).scalar_one_or_none()
    if known is not None:
        return int(known)
    values = {
        "idempotency_key": entry.idempotency_key,
        "recorded_at": entry.recorded_at,
        "model": entry.key.model,
        "segment": entry.key.segment,
        "kind": entry.kind,
        "version": entry.version,
        "actor": entry.actor,
        "reason": entry.reason,
        "as_of": entry.as_of,
        "details": dict(entry.details),
    }
    inserted = connection.execute(ledger.insert().values(values)).inserted_primary_key
    return int(inserted[0]) if inserted else 0


def aliases_of(connection: Connection, key: ModelKey, *, lock: bool = False) -> dict[str, AliasState]:
    """The aliases of a model key, held until the transaction ends if they are locked."""
    query = select(aliases).where(aliases.c.model == key.model, aliases.c.segment == key.segment)
    rows = connection.execute(query.with_for_update() if lock else query).mappings()
    return {row["alias"]: state_of(row) for row in rows}


def state_of(row: Mapping[Any, Any]) -> AliasState:
    """An alias as the database holds it."""
    return AliasState(row["version"], utc(row["as_of"]))


def set_alias(connection: Connection, key: ModelKey, alias: str, state: AliasState, row: int) -> None:
    """Let an alias other than the champion's name a version, as of a row of the ledger."""
    values = {"version": state.version, "as_of": state.as_of, "ledger_id": row}
    if connection.execute(_update(key, alias).values(values)).rowcount == 0:
        connection.execute(aliases.insert().values(**_identity(key, alias), **values))


def remove_alias(connection: Connection, key: ModelKey, alias: str) -> None:
    """Let an alias name nothing any more."""
    connection.execute(
        aliases.delete().where(*(aliases.c[name] == value for name, value in _identity(key, alias).items()))
    )


def _identity(key: ModelKey, alias: str) -> dict[str, str]:
    return {"model": key.model, "segment": key.segment, "alias": alias}


def _update(key: ModelKey, alias: str) -> Update:
    return aliases.update().where(*(aliases.c[name] == value for name, value in _identity(key, alias).items()))


def entry_of(row: Mapping[Any, Any]) -> Entry:
    """An entry as the database holds it."""
    return Entry(
        key=ModelKey(row["model"], row["segment"]),
        kind=row["kind"],
        idempotency_key=row["idempotency_key"],
        actor=row["actor"],
        reason=row["reason"],
        recorded_at=utc(row["recorded_at"]) or datetime.min.replace(tzinfo=UTC),
        version=row["version"],
        as_of=utc(row["as_of"]),
        details=row["details"],
        id=row["id"],
    )


def utc(moment: datetime | None) -> datetime | None:
    """A time of the database in UTC: SQLite forgets the zone."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
