"""Going back: the hand-over that is under way ends, or the previous champion serves again."""

from __future__ import annotations

from dataclasses import dataclass

from include.ratchet.registry import ledger
from include.ratchet.registry.aliases import follow
from include.ratchet.registry.fleet import retire
from include.ratchet.registry.ledger import CHAMPION, PREVIOUS, Entry
from include.ratchet.rollout import actions, store
from include.ratchet.rollout.orders import Order
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey


@dataclass(frozen=True)
class Reversal:
    """What was taken back.

    Attributes:
        before: the version that no longer answers, or no longer as champion.
        after: the champion now.
        is_rollout: whether a hand-over was ended; the champion stays the same then.
        words: all of it in a sentence.
    """

    before: int
    after: int
    is_rollout: bool
    words: str


def revert(settings: Settings, key: ModelKey, order: Order) -> Reversal:
    """End the hand-over that is under way; without one, make the previous version the champion.

    A segment whose champion is its first one goes back to the pooled model, which answers for it then.

    Args:
        settings: of the installation.
        key: of the model.
        order: who goes back, and why; the same order goes back once.

    Raises:
        NothingToRevertError: there is no previous version, and no pooled one to stand in.
        LedgerConflictError: the champion moved at the same moment.
        RegistryUnavailableError: it is done, but MLflow could not be told.
    """
    done = find_reversal(settings, key, order)
    if done is not None:
        follow(key, ledger.read_aliases(key, settings), settings)
        return done
    state = store.read(key, settings)
    if state is not None and (state.is_active or (order.once is not None and state.once == order.once)):
        return _end_rollout(settings, key, order)
    pooled = _return_to_pool(settings, key, order)
    if pooled is not None:
        return pooled
    champion, previous = ledger.plan_revert(key, settings)
    unnamed = f"revert:{key.slug}:{champion.version}:{order.recorded_at.isoformat()}"
    entry = Entry(
        key=key, kind="revert", actor=order.actor, reason=order.reason, recorded_at=order.recorded_at,
        version=previous.version, idempotency_key=_order_key(key, order) if order.once else unnamed,
        as_of=previous.as_of, details={"from": champion.version},
    )  # fmt: skip
    follow(key, ledger.move_champion(entry, champion.version, settings), settings)
    return _champion_words(key, champion.version, previous.version)


def find_reversal(settings: Settings, key: ModelKey, order: Order) -> Reversal | None:
    """What an order took back of champions before; None if it did not, or has no name."""
    entry = ledger.find_entry(_order_key(key, order), settings) if order.once else None
    if entry is None or entry.version is None:
        return None
    words = _pool_words if entry.kind == "segment" else _champion_words
    return words(key, entry.details["from"], entry.version)


def _return_to_pool(settings: Settings, key: ModelKey, order: Order) -> Reversal | None:
    """Let the pooled model answer for a segment that has nothing of its own to go back to; None if that is not so."""
    aliases = ledger.read_aliases(key, settings)
    pool = None if key.is_pool else ledger.read_aliases(key.pool, settings).get(CHAMPION)
    champion = aliases.get(CHAMPION)
    if pool is None or champion is None or PREVIOUS in aliases:
        return None
    unnamed = f"revert:{key.slug}:{champion.version}:{order.recorded_at.isoformat()}"
    entry = Entry(
        key=key, kind="segment", idempotency_key=_order_key(key, order) if order.once else unnamed, actor=order.actor,
        reason=f"pooled: {order.reason}", recorded_at=order.recorded_at, version=pool.version, as_of=pool.as_of,
        details={"event": "pooled", "from": champion.version},
    )  # fmt: skip
    follow(key, retire(entry, settings, champion.version), settings)
    return _pool_words(key, champion.version, pool.version)


def _order_key(key: ModelKey, order: Order) -> str:
    return f"revert:{key.slug}:order:{order.once}"


def _end_rollout(settings: Settings, key: ModelKey, order: Order) -> Reversal:
    state = actions.revert(settings, key, order).state
    if state is None or state.challenger is None:
        number = state.champion if state is not None else 0
        return Reversal(number, number, True, f"version {number} of {key} answers nothing any more; people do")
    words = f"the hand-over of {key} to version {state.challenger} ended in stage {state.at.name}"
    return Reversal(state.challenger, state.champion, True, f"{words}; version {state.champion} stays champion")


def _champion_words(key: ModelKey, before: int, after: int) -> Reversal:
    words = f"champion of {key} is version {after} again; version {before} is the previous one"
    return Reversal(before, after, False, words)


def _pool_words(key: ModelKey, before: int, after: int) -> Reversal:
    words = f"{key} has no champion of its own any more, it was version {before}; version {after} of the pooled model"
    return Reversal(before, after, False, f"{words} answers for it")
