"""The hand-overs of all segments of a model at once: each by its own write, with one reading of their records."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from include.ratchet.errors import LedgerConflictError, RolloutError
from include.ratchet.registry.fleet import read_champions
from include.ratchet.rollout import actions, guard, store
from include.ratchet.rollout.evidence import newest_record, weigh
from include.ratchet.rollout.guard import Trip
from include.ratchet.rollout.machine import Decision, look
from include.ratchet.rollout.orders import Order
from include.ratchet.rollout.state import RolloutState
from include.ratchet.rollout.stretch import StageRecords, read_stages
from include.ratchet.rollout.transitions import Outcome, apply, find_done
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey

_log = logging.getLogger(__name__)
_ATTEMPTS = 3
"""Of the guard to pause one, whoever moves it meanwhile."""


class _Task(NamedTuple):
    """What is to be done with one hand-over."""

    key: ModelKey
    work: Callable[[], Outcome]


@dataclass(frozen=True)
class FleetOutcome:
    """What came of a step with many hand-overs.

    Attributes:
        earlier: what an earlier try of the same order had done.
        outcomes: of each key that was taken, moved or not.
        conflicts: what somebody else moved meanwhile, or ended, and how that was found.
        failures: what failed unexpectedly; the others went on.
        trip: how the fleet's guard stands, if it has stopped the model's hand-overs.
    """

    earlier: tuple[Outcome, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    conflicts: Mapping[ModelKey, str] = field(default_factory=dict)
    failures: Mapping[ModelKey, Exception] = field(default_factory=dict)
    trip: Trip | None = None

    @property
    def done(self) -> tuple[Outcome, ...]:
        """All that this order found or did, in earlier tries too."""
        return self.earlier + self.outcomes

    def raise_for_failure(self) -> None:
        """Raise the first failure, with how many there are, if there is one."""
        for key, error in self.failures.items():
            error.add_note(f"{len(self.failures)} of the hand-overs failed, the first one is of {key}")
            raise error

    def to_dict(self, kept: int) -> dict[str, Any]:
        """As JSON can hold it: counts of all keys, and what came of the first so many, those that moved first."""
        outcomes = sorted((one for one in self.done if one.state is not None), key=lambda one: not one.is_moved)
        counts: Counter[str] = Counter(one.decision.action for one in outcomes)
        champions = {one.state.key.segment: one.state.challenger for one in outcomes
                     if one.state and one.state.challenger and one.decision.action == "finish"}  # fmt: skip
        # What the guard has paused asks nobody any more.
        action = next((one for one in _WEIGHT if counts[one] and not (one == "ask" and self.trip)), "none")
        return {
            "action": action, "reason": self._describe(action, counts), "stage": None, "status": None, "revision": 0,
            "champion": next(iter(champions.values()), None), "is_champion_moved": bool(champions),
            "champions": dict(islice(champions.items(), kept)), "counts": dict(counts),
            "keys": [_summary(one) for one in outcomes[:kept]],
            "conflicts": {key.segment: words for key, words in islice(self.conflicts.items(), kept)},
            "trip": self.trip.reason if self.trip else None,
        }  # fmt: skip

    def _describe(self, action: str, counts: Mapping[str, int]) -> str:
        told = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        words = f"{sum(counts.values())} hand-overs: {told or 'none'}"
        if self.conflicts:
            words = f"{words}; {len(self.conflicts)} moved meanwhile"
        if self.trip is not None:
            words = f"{words}; all are stopped: {self.trip.reason}"
        if action != "ask":
            return words
        asking = [one.state for one in self.done if one.state is not None and one.decision.action == "ask"]
        named = [f"{state.key.segment[:60]} (version {state.challenger})" for state in asking[: guard.NAMED]]
        more = f" and {len(asking) - guard.NAMED} more" if len(asking) > guard.NAMED else ""
        return f"a person's word is wanted before {len(asking)} challengers answer everything: {', '.join(named)}{more}"


_WEIGHT = ("ask", "finish", "revert", "advance", "pause", "resume", "wait")
"""What is said first of many hand-overs that did different things."""


def _summary(outcome: Outcome) -> dict[str, Any]:
    state = outcome.state
    told = {"action": outcome.decision.action, "reason": outcome.decision.reason[:200], "is_moved": outcome.is_moved}
    if state is None:
        return told
    own = {"segment": state.key.segment, "version": state.challenger or state.champion}
    return {**own, **told, "stage": state.at.name, "status": state.status, "revision": state.revision}


def read_clock(settings: Settings, model: Model, limit: datetime) -> datetime:
    """What time it is for the records of a model: just after the newest prediction before `limit`.

    Without one it is when the newest stage of its hand-overs began, as time stands still while nobody asks.
    """
    newest = newest_record(settings, model, limit)
    if newest is not None:
        return newest + timedelta(microseconds=1)
    return max((state.stage_since for state in store.read_fleet(model.name, settings)), default=limit)


def carry_out(
    action: str, settings: Settings, model: Model, now: Callable[[], datetime], order: Order
) -> FleetOutcome:  # fmt: skip
    """Do what is called by a name, one of `actions.MOVES`, with every hand-over of a model that it fits.

    A look also lets the fleet's guard look, which pauses every hand-over when it trips; `resume` lifts it, and lets
    go on what it had paused, or, where it has not tripped, all that is paused.

    Args:
        action: its name.
        settings: of the installation.
        model: divided into segments.
        now: says what time it is for the records; asked only where evidence is looked at.
        order: who asks, and why. The same order finds what it has done before.

    Raises:
        RolloutError: nothing is being handed over, or there is nothing to resume. A look finds nothing then.
    """
    states = store.read_fleet(model.name, settings, order.once)
    earlier = _find_earlier(settings, states, order)
    known = {done.state.key for done in earlier if done.state is not None}
    others = [state for state in states if state.key not in known]
    if action == "resume":
        return _resume(settings, model, earlier, others, order)
    if not states and action != "look":
        message = f"no version of {model.name} is being handed over; see ./ratchet rollout {model.name}"
        raise RolloutError(message)
    if action in ("pause", "revert"):
        fitting = [state for state in others if action == "revert" or state.status != "paused"]
        return _run(earlier, _by_name(action, settings, model, fitting, order))
    present = now()
    found = _run(earlier, _by_evidence(action, settings, model, others, present, order))
    if action != "look":
        return found
    trip = guard.watch(settings, model, present, order.recorded_at)
    return replace(
        found, trip=trip, failures={**found.failures, **(_stop(settings, model, trip, order) if trip else {})}
    )


def answer(
    settings: Settings, model: Model, asked_by: str, now: datetime, order: Order, *, is_approved: bool
) -> FleetOutcome:  # fmt: skip
    """Do what a person said of the hand-overs that the order of a name asked about: on with them, or back.

    Those that have moved since are left alone.
    """
    states = store.read_fleet(model.name, settings, order.once)
    earlier = _find_earlier(settings, states, order)
    asked = [state for state in states if state.once == asked_by and state.status == "waiting_approval"]
    if is_approved:
        return _run(earlier, _by_evidence("advance", settings, model, asked, now, order))
    return _run(earlier, _by_name("revert", settings, model, asked, order))


def _find_earlier(settings: Settings, states: Iterable[RolloutState], order: Order) -> tuple[Outcome, ...]:
    return tuple(done for state in states if (done := find_done(settings, state, order)) is not None)


def _by_evidence(
    action: str, settings: Settings, model: Model, states: Iterable[RolloutState], now: datetime, order: Order
) -> Iterator[_Task]:
    """A look, or the next stage whatever it finds, with each hand-over."""
    champions, looks = read_champions(model.name, settings), []
    for state in states:
        as_of = max(state.stage_since, now)
        void = actions.find_void(state, champions.get(state.key.segment))
        if void is None:
            looks.append((state, as_of))
        else:
            yield _Task(state.key, partial(_move, settings, state, void, as_of, action, order))
    for records in read_stages(settings, model, looks):
        yield _Task(records.state.key, partial(_look, settings, model, records, action, order))


def _look(settings: Settings, model: Model, records: StageRecords, action: str, order: Order) -> Outcome:
    seen = look(model.spec.rollout, records.state, weigh(model, records))
    return _move(settings, records.state, seen, records.as_of, action, order)


def _move(
    settings: Settings, state: RolloutState, decision: Decision, as_of: datetime, action: str, order: Order
) -> Outcome:  # fmt: skip
    if action == "advance":
        decision = actions.insist(state, decision, order)
    if decision.action == "wait":
        return Outcome(decision, state, False)
    return apply(settings, state, decision, as_of, order)


def _by_name(
    action: str, settings: Settings, model: Model, states: Iterable[RolloutState], order: Order
) -> Iterator[_Task]:
    """What needs no evidence, with each hand-over."""
    for state in states:
        yield _Task(state.key, partial(actions.carry_out, action, settings, model, state.key, _no_time, order))


def _no_time() -> datetime:
    message = "what time it is was asked for by what needs no evidence"
    raise ValueError(message)


def _resume(
    settings: Settings, model: Model, earlier: tuple[Outcome, ...], states: Iterable[RolloutState], order: Order
) -> FleetOutcome:
    if guard.is_lifted_by(settings, model.name, order):
        return FleetOutcome(earlier)
    trip = guard.find_trip(settings, model.name)
    paused = [state for state in states
              if state.status == "paused" and (trip is None or state.actor == guard.ACTOR)]  # fmt: skip
    if not paused and not earlier and trip is None:
        message = f"no hand-over of {model.name} is paused; there is nothing to resume"
        raise RolloutError(message)
    found = _run(earlier, _by_name("resume", settings, model, paused, order))
    if trip is not None and not found.failures:
        # Last: until all of them go on, the same order finds the guard as it was.
        guard.lift(settings, trip, order)
    return found


def _stop(settings: Settings, model: Model, trip: Trip, order: Order) -> Mapping[ModelKey, Exception]:
    """Pause every hand-over but those that a person has let go on since; what failed."""
    own = Order(guard.ACTOR, trip.reason, order.recorded_at, once=trip.name)
    running = [state for state in store.read_fleet(model.name, settings)
               if state.status != "paused" and state.action != "resume"]  # fmt: skip
    tasks = (_Task(state.key, partial(_pause, settings, state.key, own)) for state in running)
    return _run((), tasks).failures


def _pause(settings: Settings, key: ModelKey, order: Order) -> Outcome:
    for _ in range(_ATTEMPTS - 1):
        try:
            return actions.pause(settings, key, order)
        except LedgerConflictError:
            continue
    return actions.pause(settings, key, order)


def _run(earlier: tuple[Outcome, ...], tasks: Iterable[_Task]) -> FleetOutcome:
    """One after the other; none stops the others."""
    outcomes: list[Outcome] = []
    conflicts: dict[ModelKey, str] = {}
    failures: dict[ModelKey, Exception] = {}
    for key, work in tasks:
        try:
            outcomes.append(work())
        except (LedgerConflictError, RolloutError) as error:
            _log.warning("%s: %s", key, error)
            conflicts[key] = str(error)
        except Exception as error:
            _log.exception("%s: its hand-over could not be looked at or moved", key)
            failures[key] = error
    return FleetOutcome(earlier, tuple(outcomes), conflicts, failures)
