"""How a model is, in a word, why, and what is to be done next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from include.ratchet.monitoring.incidents import Incident
from include.ratchet.rollout.state import RolloutState

Health = Literal["broken", "failing", "warning", "waiting", "untrained", "unwatched", "healthy"]
ORDER: tuple[Health, ...] = ("broken", "failing", "warning", "waiting", "untrained", "unwatched", "healthy")
"""The worst first."""
_GRAVE = ("escalate", "revert")
_WANTED = {
    "alert": "look at the incident", "wait": "a retraining is wanted and waits its turn",
    "retrain": "a retraining was asked for", "revert": "the previous champion is to come back",
    "escalate": "retraining did not help: find out why",
}  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """How a model key is.

    Attributes:
        health: in a word.
        why: in a sentence.
        next: what is to be done, or will be.
        next_at: when, if that is known.
    """

    health: Health
    why: str
    next: str
    next_at: datetime | None = None


@dataclass(frozen=True)
class Known:
    """What is known of a model key, as far as its health follows from it.

    Attributes:
        has_dags: whether Airflow has the model's DAGs.
        is_paused: whether its training is paused in Airflow.
        is_asked: whether a run waits for a person's word.
        champion: its version.
        has_look: whether anybody has watched it.
        incident: the open one.
        rollout: the active one.
        next_training: when its schedule trains it.
    """

    has_dags: bool
    is_paused: bool
    is_asked: bool
    champion: int | None
    has_look: bool
    incident: Incident | None
    rollout: RolloutState | None
    next_training: datetime | None


def judge(known: Known) -> Condition:
    """The worst that is known decides."""
    if not known.has_dags:
        return Condition("broken", "Airflow has no DAGs of it: its spec is broken, or was not read yet",
                         "see what is wrong with the spec")  # fmt: skip
    trouble, state = known.incident, known.rollout
    if trouble is not None:
        health: Health = "failing" if trouble.worst in _GRAVE else "warning"
        return Condition(health, f"incident {trouble.number}: {trouble.words}", _WANTED[trouble.worst])
    if known.is_asked or (state is not None and state.status == "waiting_approval"):
        subject = f"version {state.challenger}" if state is not None and state.challenger else "the new version"
        return Condition("waiting", f"a person's word is wanted on {subject}", "approve or decline")
    if state is not None and state.status == "paused":
        return Condition("waiting", f"its hand-over is paused: {state.reason}", "resume or revert")
    if known.champion is None:
        return Condition("untrained", "no version of it has passed its gates yet", *_training(known, "train it"))
    if state is not None:
        why = f"version {state.challenger or state.champion} is being handed over, {state.at.name}"
        return Condition("healthy", why, "its evidence is looked at every hour")
    if not known.has_look:
        return Condition("unwatched", "nothing that it answered has been looked at yet", *_training(known, "serve it"))
    return Condition("healthy", "no signal lasts", *_training(known, "train it on request"))


def _training(known: Known, otherwise: str) -> tuple[str, datetime | None]:
    """What comes next of a model that nothing is wrong with."""
    if known.is_paused:
        return "unpause its training in Airflow", None
    return ("train by schedule", known.next_training) if known.next_training is not None else (otherwise, None)
