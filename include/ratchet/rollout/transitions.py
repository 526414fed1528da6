"""One write of a hand-over: the new state with its ledger row, the champion's move if it ends well, and the registry.

The database decides, as with every alias: state, ledger and champion move in one transaction, and the registry
follows afterwards. A process killed in between leaves the registry behind by one `follow`; the same order again, or
the next look, makes up for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from include.ratchet.registry import ledger
from include.ratchet.registry.aliases import follow
from include.ratchet.registry.ledger import Entry
from include.ratchet.rollout import store
from include.ratchet.rollout.machine import Decision
from include.ratchet.rollout.orders import Order
from include.ratchet.rollout.state import RolloutState
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey


@dataclass(frozen=True)
class Outcome:
    """What came of a step.

    Attributes:
        decision: what was decided, why, on which numbers.
        state: the hand-over afterwards; None if the model never had one.
        is_moved: whether this order changed it.
    """

    decision: Decision
    state: RolloutState | None
    is_moved: bool


def find_done(settings: Settings, state: RolloutState | None, order: Order) -> Outcome | None:
    """What this order did before, if it did; the registry is made to follow, as it may not have come to that."""
    if state is None or order.once is None or state.once != order.once:
        return None
    follow(state.key, ledger.read_aliases(state.key, settings), settings)
    return Outcome(Decision(state.action, state.reason, state.numbers), state, True)


def apply(settings: Settings, state: RolloutState, decision: Decision, as_of: datetime, order: Order) -> Outcome:
    """Do what was decided: the next stage, the end, a question, a pause, or back.

    Raises:
        LedgerConflictError: the hand-over or the champion moved meanwhile; nothing was changed.
    """
    changed = replace(
        state, revision=state.revision + 1, action=decision.action, actor=order.actor, once=order.once,
        reason=decision.reason, numbers=dict(decision.numbers), asked_at=as_of if decision.action == "ask" else None,
    )  # fmt: skip
    promotion = None
    match decision.action:
        case "advance":
            changed = replace(changed, stage=state.stage + 1, stage_since=as_of, status="running")
        case "finish":
            changed = replace(changed, status="finished")
            if state.challenger is not None:
                promotion = promote_entry(changed, order, state.champion)
        case "revert":
            changed = replace(changed, status="reverted")
        case "ask":
            changed = replace(changed, status="waiting_approval")
        case "pause":
            changed = replace(changed, status="paused")
        case "resume":
            changed = replace(changed, status="running")
    write(settings, state, changed, order, as_of, promotion, state.champion)
    return Outcome(decision, changed, True)


def write(
    settings: Settings, before: RolloutState | None, after: RolloutState, order: Order, at: datetime,
    promotion: Entry | None, champion: int | None,
) -> None:  # fmt: skip
    """Swap the state, with the champion's move if there is one, and let the registry's aliases follow.

    `at` is when it happens in the records' time, or since when the stage had lasted where nobody looked at them.

    Raises:
        LedgerConflictError: the hand-over or the champion moved meanwhile; nothing was changed.
    """
    key = after.key
    is_named = after.action == "start" and order.once is not None
    entry = Entry(
        key=key, kind="rollout", actor=order.actor, reason=f"{after.action} ({after.at.name}): {after.reason}",
        idempotency_key=start_key(key, order.once or "") if is_named else f"rollout:{key.slug}:{after.revision}",
        recorded_at=order.recorded_at, version=after.challenger or after.champion, as_of=after.challenger_as_of,
        details={
            "action": after.action, "strategy": after.strategy, "stage": after.at.name, "status": after.status,
            "from": before.at.name if before is not None and before.is_active else None, "champion": after.champion,
            "challenger": after.challenger, "revision": after.revision, "spent_alpha": after.spent,
            "at": at.isoformat(), "numbers": after.to_dict()["numbers"],
        },
    )  # fmt: skip
    expected = before.revision if before is not None else 0
    aliases = store.swap(after, expected, entry, settings, promotion=promotion, expected_champion=champion)
    follow(key, aliases, settings)


def promote_entry(state: RolloutState, order: Order, champion: int | None) -> Entry:
    """The ledger's row of the champion's move at the end of a hand-over."""
    return Entry(
        key=state.key, kind="promotion", idempotency_key=f"promotion:{state.key.slug}:rollout:{state.revision}",
        actor=order.actor, reason=f"handed over by {state.strategy}: {state.reason}", recorded_at=order.recorded_at,
        version=state.challenger or state.champion, as_of=state.challenger_as_of,
        details={"from": champion, "revision": state.revision},
    )  # fmt: skip


def start_key(key: ModelKey, once: str) -> str:
    """The ledger's key of a beginning: the same order begins one hand-over, even after that has ended."""
    return f"rollout:{key.slug}:start:{once}"
