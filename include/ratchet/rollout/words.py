"""A hand-over in words: for alerts, the command line and the interface."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from include.ratchet.alerts.messages import Message, fleet_message, reversal_message, rollout_message
from include.ratchet.rollout.guard import Trip
from include.ratchet.rollout.orders import Order
from include.ratchet.rollout.revert import Reversal
from include.ratchet.rollout.sequential import Bounds
from include.ratchet.rollout.state import RolloutState
from include.ratchet.spec import ModelKey, ModelSpec

_TITLES = {
    "start": "hand-over to {version} has begun ({stage})",
    "advance": "hand-over to {version} goes on: {stage}",
    "finish": "{version} is the new champion, handed over by {strategy}",
    "ask": "hand-over to {version} waits for a person's word ({stage})",
    "pause": "hand-over to {version} is paused ({stage})",
    "resume": "hand-over to {version} goes on after a pause ({stage})",
    "revert": "hand-over to {version} was taken back in {stage}, production stays as it was",
}
_DEFER_TITLES = {
    "finish": "{version} answers everything now",
    "revert": "{version} answers nothing any more, people do",
}
_FLEET_TITLES = {
    "start": "{count} hand-overs have begun",
    "advance": "{count} hand-overs go on",
    "finish": "{count} keys have new champions",
    "ask": "{count} hand-overs wait for a person's word",
    "pause": "{count} hand-overs are paused",
    "resume": "{count} hand-overs go on after a pause",
    "revert": "{count} hand-overs were taken back",
}
TOGETHER = 3
"""More hand-overs of one model that an order moved alike are told together."""


def title_of(state: RolloutState) -> str:
    """What moved a hand-over last."""
    own = _DEFER_TITLES if state.strategy == "defer" else {}
    template = own.get(state.action) or _TITLES.get(state.action, "hand-over to {version}: {stage}")
    version = f"version {state.challenger or state.champion}"
    return template.format(version=version, stage=state.at.name, strategy=state.strategy)


def facts_of(state: RolloutState) -> dict[str, Any]:
    """The numbers on which it was moved last, as people read them."""
    numbers = state.numbers
    facts: dict[str, Any] = {"champion": state.champion}
    for name in ("champion", "challenger"):
        arm = numbers.get(name)
        if arm:
            facts[f"{name}, version {arm['version']}"] = f"{arm['rows']} rows, {arm['loss']['rows']} labelled"
    worth = numbers.get("worth")
    if worth:
        for name in ("champion", "challenger"):
            if worth[name] and worth[name]["rows"]:
                facts[f"{worth['name']}, {name}"] = f"{worth[name]['mean']:.4g} {worth['unit']} a prediction"
    difference = numbers.get("difference")
    if difference:
        facts["challenger's loss less champion's"] = Bounds.from_dict(difference)
    return facts


def describe(state: RolloutState, url: str) -> Message:
    """The alert of a hand-over's last move."""
    return rollout_message(state.key, state.revision, title_of(state), state.reason, facts_of(state), url)


def describe_all(
    spec: ModelSpec, states: Sequence[RolloutState], url: str, *, name: str | None = None
) -> list[Message]:  # fmt: skip
    """The alerts of what one order has moved of a model's hand-overs: one each, or one of many that moved alike.

    That of many is said once for each `name`, or without one for the same moves of the same keys.
    """
    alike: dict[str, list[RolloutState]] = {}
    for state in states:
        alike.setdefault(state.action, []).append(state)
    found = []
    for action, some in alike.items():
        if len(some) <= TOGETHER:
            found += [describe(state, url) for state in some]
            continue
        moves = "\n".join(sorted(f"{state.key.slug}:{state.revision}" for state in some))
        order = name or hashlib.sha256(moves.encode()).hexdigest()[:16]
        title = _FLEET_TITLES.get(action, "{count} hand-overs: " + action).format(count=len(some))
        keys = [(state.key, f"{title_of(state)}. {state.reason}") for state in some]
        group = {"champions" if action == "finish" else "hand-overs": keys}
        found.append(fleet_message(spec, f"rollout:{action}:{order}", title, group, {"hand-overs": url}))
    return found


def describe_trip(spec: ModelSpec, trip: Trip, url: str) -> Message:
    """The alert of a fleet's guard that has stopped a model's hand-overs, one each time that it trips."""
    remedy = f'./ratchet rollout {spec.name} resume --reason "...", or resume in the form without a segment'
    groups = {f"{trip.reason}. No other begins until a person lets them go on: {remedy}": [],
              "went back, the newest first": [(key, "") for key in trip.reverted]}  # fmt: skip
    return fleet_message(spec, trip.name, "its hand-overs are stopped", groups, {"hand-overs": url}, is_grave=True)


def describe_reversal(key: ModelKey, reversal: Reversal, order: Order, url: str) -> Message:
    """The alert of a champion that is back; the same order has the same one."""
    return reversal_message(key, order.once or order.recorded_at.isoformat(), reversal.words, order.reason, url)
