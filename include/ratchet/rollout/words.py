"""A hand-over in words: for alerts, the command line and the interface."""

from __future__ import annotations

from typing import Any

from include.ratchet.alerts.messages import Message, reversal_message, rollout_message
from include.ratchet.rollout.revert import Reversal
from include.ratchet.rollout.sequential import Bounds
from include.ratchet.rollout.state import RolloutState
from include.ratchet.rollout.transitions import Order
from include.ratchet.spec import ModelKey

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
    difference = numbers.get("difference")
    if difference:
        facts["challenger's loss less champion's"] = Bounds.from_dict(difference)
    return facts


def describe(state: RolloutState, url: str) -> Message:
    """The alert of a hand-over's last move."""
    return rollout_message(state.key, state.revision, title_of(state), state.reason, facts_of(state), url)


def describe_reversal(key: ModelKey, reversal: Reversal, order: Order, url: str) -> Message:
    """The alert of a champion that is back; the same order has the same one."""
    return reversal_message(key, order.once or order.recorded_at.isoformat(), reversal.words, order.reason, url)
