"""The hand-over of each model key as one row: read, and swapped by its revision together with what follows from it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select
from sqlalchemy.exc import IntegrityError

from include.ratchet.errors import LedgerConflictError
from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of, rollouts
from include.ratchet.registry.ledger import CHALLENGER, AliasState, Entry
from include.ratchet.rollout.state import ACTIVE, RolloutState
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey

BY_HAND = "cli:"
"""How the name of an order begins that a person gives at the command line for many keys; for one it has none."""


def read(key: ModelKey, settings: Settings) -> RolloutState | None:
    """The newest hand-over of a model key, over or not; None if there never was one."""
    query = select(rollouts.c.state).where(rollouts.c.model == key.model, rollouts.c.segment == key.segment)
    with engine_of(settings.database_url).connect() as connection:
        content = connection.execute(query).scalar_one_or_none()
    return RolloutState.from_dict(content) if content else None


def read_active(key: ModelKey, settings: Settings) -> RolloutState | None:
    """The hand-over that a model key is in, if it is in one."""
    state = read(key, settings)
    return state if state is not None and state.is_active else None


def read_fleet(model: str, settings: Settings, once: str | None = None) -> tuple[RolloutState, ...]:
    """Every hand-over that keys of a model are in, by segment; with those that the order of that name moved last."""
    wanted = _STATUS.in_(ACTIVE)
    return _read_states(model, settings, wanted if once is None else wanted | (once == _ONCE))


def read_by_hand(model: str, settings: Settings, since: datetime) -> tuple[RolloutState, ...]:
    """Hand-overs of a model's keys that a person at the command line was the last to move, since some time."""
    is_by_hand = _ONCE.is_(None) | _ONCE.startswith(BY_HAND)
    return _read_states(model, settings, is_by_hand & (rollouts.c.updated_at >= since))


def count_statuses(model: str, settings: Settings) -> dict[str, int]:
    """How many of a model's keys have a newest hand-over of each status."""
    query = select(_STATUS, func.count()).where(rollouts.c.model == model).group_by(_STATUS).order_by(_STATUS)
    with engine_of(settings.database_url).connect() as connection:
        return {str(status): int(number) for status, number in connection.execute(query)}


_STATUS, _ONCE = (rollouts.c.state[name].as_string() for name in ("status", "once"))


def _read_states(model: str, settings: Settings, wanted: ColumnElement[bool]) -> tuple[RolloutState, ...]:
    query = select(rollouts.c.state).where(rollouts.c.model == model, wanted).order_by(rollouts.c.segment)
    with engine_of(settings.database_url).connect() as connection:
        return tuple(RolloutState.from_dict(content) for content in connection.execute(query).scalars())


def swap(
    state: RolloutState, expected_revision: int, entry: Entry, settings: Settings, *, promotion: Entry | None = None,
    expected_champion: int | None = None,
) -> dict[str, AliasState]:  # fmt: skip
    """Write a state in place of the one that it was made from, in one transaction with all that follows from it.

    Args:
        state: the new one; its revision is one more than expected.
        expected_revision: of the row that was read; 0 if there was none.
        entry: the ledger's row of the transition.
        settings: of the installation.
        promotion: the ledger's row of the champion's move, if the champion moves with it.
        expected_champion: the champion that it moves from.

    Returns:
        The key's aliases afterwards, which the registry is to follow.

    Raises:
        LedgerConflictError: the hand-over or the champion moved since it was read; nothing was written.
    """
    try:
        with engine_of(settings.database_url).begin() as connection:
            _write(connection, state, expected_revision, entry)
            row = ledger.append(connection, entry)
            if promotion is not None:
                ledger.move(connection, promotion, expected_champion)
            if state.is_active and state.challenger is not None:
                challenger = AliasState(state.challenger, state.challenger_as_of)
                ledger.set_alias(connection, state.key, CHALLENGER, challenger, row)
            else:
                ledger.remove_alias(connection, state.key, CHALLENGER)
    except (IntegrityError, ledger.MovedError):
        raise _conflict(state, expected_revision) from None
    return ledger.read_aliases(state.key, settings)


def _write(connection: Connection, state: RolloutState, expected: int, entry: Entry) -> None:
    values = {"revision": state.revision, "state": state.to_dict(), "updated_at": entry.recorded_at}
    model, segment = state.key
    if expected == 0:
        # Never an update: of two that begin at once the slower one must fail on the key.
        connection.execute(rollouts.insert().values(model=model, segment=segment, **values))
        return
    same = (rollouts.c.model == model, rollouts.c.segment == segment, rollouts.c.revision == expected)
    if connection.execute(rollouts.update().where(*same).values(values)).rowcount == 0:
        raise _conflict(state, expected)


def _conflict(state: RolloutState, expected: int) -> LedgerConflictError:
    message = (
        f"{state.key}: the hand-over was at revision {expected} when it was read and has moved since; nothing was "
        f"changed. Look again: ./ratchet rollout {state.key}"
    )
    return LedgerConflictError(message)
