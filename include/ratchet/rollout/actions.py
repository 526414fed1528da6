"""What is done with a hand-over: begun, looked at, moved on, paused and taken back, each by one write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from include.ratchet.errors import LedgerConflictError, RolloutError
from include.ratchet.registry import ledger
from include.ratchet.registry.aliases import follow
from include.ratchet.registry.ledger import CHAMPION, AliasState
from include.ratchet.rollout import guard, store
from include.ratchet.rollout.evidence import gather, newest_record
from include.ratchet.rollout.machine import Decision, look
from include.ratchet.rollout.orders import Order
from include.ratchet.rollout.state import RolloutState, stage_alpha, stages_of
from include.ratchet.rollout.transitions import Outcome, apply, find_done, promote_entry, start_key, write
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey

_ATTEMPTS = 5
"""Of a revert, which must win: whoever moved the hand-over meanwhile, it is taken back."""


def start(settings: Settings, model: Model, key: ModelKey, version: AliasState, order: Order, now: datetime) -> Outcome:
    """Begin the hand-over that the model's spec asks for, in place of one that is still in its first, shadowed stage.

    A deferring model is no challenger: it becomes champion at once, and people answer what it does not.

    Args:
        settings: of the installation.
        model: whose spec says how.
        key: of the model.
        version: the one to hand over to, and what it knew.
        order: who asks, and why.
        now: the records' own time, from which evidence counts.

    Raises:
        RolloutError: the spec asks for none, there is no champion, or the version is champion already.
        GuardTrippedError: too many of the model's hand-overs went back.
        LedgerConflictError: another hand-over is past its first stage, or something moved in between.
    """
    before = store.read(key, settings)
    aliases = ledger.read_aliases(key, settings)
    if order.once is not None and ledger.find_entry(start_key(key, order.once), settings) is not None:
        follow(key, aliases, settings)
        return Outcome(Decision("none", f"version {version.version} began to be handed over before"), before, False)
    champion = aliases[CHAMPION].version if CHAMPION in aliases else None
    guard.check_start(settings, model, key)
    _check_start(model, key, version, champion, before)
    spec = model.spec.rollout
    is_deferring = spec.strategy == "defer"
    state = RolloutState(
        key=key, strategy=spec.strategy, stages=stages_of(spec), stage=0, status="running", action="start",
        champion=version.version if champion is None or is_deferring else champion,
        challenger=None if is_deferring else version.version, challenger_as_of=version.as_of,
        started_at=now, stage_since=now, alpha=stage_alpha(spec), revision=(before.revision if before else 0) + 1,
        salt=f"{key.slug}:{version.version}", actor=order.actor, once=order.once, reason=order.reason,
    )  # fmt: skip
    moves = is_deferring and champion != version.version
    write(settings, before, state, order, now, promote_entry(state, order, champion) if moves else None, champion)
    return Outcome(Decision("start", order.reason), state, True)


def step(settings: Settings, model: Model, key: ModelKey, as_of: datetime, order: Order) -> Outcome:
    """Look at the evidence as of an instant and do what it asks for: advance, finish, ask, revert, or wait.

    Raises:
        LedgerConflictError: something else moved the hand-over meanwhile; nothing was changed.
    """
    state = store.read(key, settings)
    done = find_done(settings, state, order)
    if done is not None:
        return done
    if state is None:
        return Outcome(Decision("none", f"no version of {key} is being handed over"), None, False)
    if not state.is_active:
        follow(key, ledger.read_aliases(key, settings), settings)
        words = f"no version of {key} is being handed over; the last hand-over is {state.status}"
        return Outcome(Decision("none", words), state, False)
    decision = decide(settings, model, state, as_of)
    if decision.action == "wait":
        return Outcome(decision, state, False)
    return apply(settings, state, decision, as_of, order)


def decide(settings: Settings, model: Model, state: RolloutState, as_of: datetime) -> Decision:
    """What the evidence asks for, if the champion is still the one that the hand-over is about. Changes nothing."""
    void = find_void(state, ledger.read_aliases(state.key, settings).get(CHAMPION))
    return void or look(model.spec.rollout, state, gather(settings, model, state, as_of))


def find_void(state: RolloutState, champion: AliasState | None) -> Decision | None:
    """What becomes of a hand-over whose champion is another by now; None if it is the same."""
    if champion is not None and champion.version == state.champion:
        return None
    found = champion.version if champion else "none"
    reason = f"the champion is now {found}, no longer version {state.champion}"
    return Decision("revert", reason, {"is_void": True})


def read_clock(settings: Settings, model: Model, key: ModelKey, limit: datetime) -> datetime:
    """What time it is for the records of a stage: just after the newest prediction before `limit`.

    A replayed year, or a model that nobody asks, does not run out of time by the wall clock.
    """
    state = store.read(key, settings)
    newest = newest_record(settings, model, limit)
    since = state.stage_since if state is not None else limit
    return since if newest is None else max(since, newest + timedelta(microseconds=1))


def advance(settings: Settings, model: Model, key: ModelKey, as_of: datetime, order: Order) -> Outcome:
    """Go on to the next stage, or finish, because a person says so: whatever the evidence, which is recorded.

    Raises:
        RolloutError: no version is being handed over.
        LedgerConflictError: the hand-over moved meanwhile.
    """
    state = store.read(key, settings)
    done = find_done(settings, state, order)
    if done is not None:
        return done
    state = _require(key, state)
    decision = insist(state, decide(settings, model, state, as_of), order)
    return apply(settings, state, decision, as_of, order)


def insist(state: RolloutState, seen: Decision, order: Order) -> Decision:
    """The next stage, or the end, whatever was decided on the evidence, which goes with it."""
    return Decision("advance" if state.next else "finish", order.reason, seen.numbers)


def pause(settings: Settings, key: ModelKey, order: Order) -> Outcome:
    """Stay in the present stage until somebody resumes. Guards and a surely worse challenger still end it.

    Raises:
        RolloutError: no version is being handed over, or it is paused already.
        LedgerConflictError: the hand-over moved meanwhile.
    """
    return _hold(settings, key, order, is_pause=True)


def resume(settings: Settings, key: ModelKey, order: Order) -> Outcome:
    """Go on where a hand-over was paused, with all the evidence of its stage.

    Raises:
        RolloutError: no hand-over is paused.
        LedgerConflictError: the hand-over moved meanwhile.
    """
    return _hold(settings, key, order, is_pause=False)


def revert(settings: Settings, key: ModelKey, order: Order) -> Outcome:
    """End the hand-over: the champion answers all, at once. Needs no evidence, and wins over whatever moves meanwhile.

    A deferring model answers nothing any more: people do what they did.

    Raises:
        RolloutError: no version is being handed over.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _revert_once(settings, key, order)
        except LedgerConflictError:
            continue
    return _revert_once(settings, key, order)


def carry_out(
    action: str, settings: Settings, model: Model, key: ModelKey, now: Callable[[], datetime], order: Order
) -> Outcome:  # fmt: skip
    """Do what is called by a name, one of `MOVES`, with the hand-over of one key.

    Args:
        action: its name.
        settings: of the installation.
        model: whose.
        key: of the model.
        now: says what time it is for the records; asked only where evidence is looked at.
        order: who asks, and why.

    Raises:
        RolloutError: no such step can be taken.
        LedgerConflictError: the hand-over moved meanwhile.
    """
    if action in _WITH_EVIDENCE:
        return _WITH_EVIDENCE[action](settings, model, key, now(), order)
    return _WITHOUT[action](settings, key, order)


_WITH_EVIDENCE = {"look": step, "advance": advance}
_WITHOUT = {"pause": pause, "resume": resume, "revert": revert}
MOVES = (*_WITH_EVIDENCE, *_WITHOUT)
"""What a hand-over that is under way can be told to do, by name."""


def _revert_once(settings: Settings, key: ModelKey, order: Order) -> Outcome:
    state = store.read(key, settings)
    done = find_done(settings, state, order)
    if done is not None:
        return done
    state = _require(key, state)
    return apply(settings, state, Decision("revert", order.reason), state.stage_since, order)


def _hold(settings: Settings, key: ModelKey, order: Order, *, is_pause: bool) -> Outcome:
    state = store.read(key, settings)
    done = find_done(settings, state, order)
    if done is not None:
        return done
    state = _require(key, state)
    if (state.status == "paused") is is_pause:
        message = f"{key}: the hand-over is {state.status}; there is nothing to {'pause' if is_pause else 'resume'}"
        raise RolloutError(message)
    decision = Decision("pause" if is_pause else "resume", order.reason)
    return apply(settings, state, decision, state.stage_since, order)


def _check_start(
    model: Model, key: ModelKey, version: AliasState, champion: int | None, before: RolloutState | None
) -> None:  # fmt: skip
    strategy = model.spec.rollout.strategy
    if strategy == "direct":
        message = (
            f"{key}: rollout.strategy is direct, which hands nothing over; expected shadow, canary, ab, blue_green or "
            "defer in its spec"
        )
        raise RolloutError(message)
    if strategy == "defer":
        return
    if champion is None:
        message = f"{key} has no champion to hand over from; its first version is promoted by its verdict"
        raise RolloutError(message)
    if champion == version.version:
        message = f"{key}: version {version.version} is the champion already; name another one"
        raise RolloutError(message)
    # One whose champion has moved meanwhile is void.
    is_in_hand = before is not None and before.is_active and before.champion == champion
    if before is not None and is_in_hand and (before.stage > 0 or before.at.share > 0):
        message = (
            f"{key}: version {before.challenger} is being handed over (stage {before.at.name}), so version "
            f"{version.version} waits; end that one first: ./ratchet rollout {key} revert"
        )
        raise LedgerConflictError(message)


def _require(key: ModelKey, state: RolloutState | None) -> RolloutState:
    if state is None or not state.is_active:
        message = f"no version of {key} is being handed over; see ./ratchet rollout {key}"
        raise RolloutError(message)
    return state
