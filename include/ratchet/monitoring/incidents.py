"""Incidents: one problem of one model key, told when it opens, when it changes and when it closes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

from include.ratchet.monitoring.policy import Decision
from include.ratchet.monitoring.signals import Look
from include.ratchet.spec import ModelKey

Event = Literal["opened", "changed", "closed", "kept"]
OWN = "own"
GRAVITY = ("none", "alert", "wait", "retrain", "revert", "escalate")


@dataclass(frozen=True)
class Incident:
    """One problem from its first signal to its end.

    Attributes:
        key: whose.
        number: of the model key's incidents, from 1.
        revision: raised by every write.
        event: what the last write did; one that was only `kept` is not told.
        opened_at: start of the partition that first had a signal.
        closed_at: end of the look that found none any more.
        kinds: kinds of signals so far.
        worst: the gravest outcome so far.
        version: the champion that it began with.
        partition: that of the last write.
        words: what was found at the last write.
        quiet: looks without a signal since the last one.
        cause: what it has in common with others of the model, see `causes`.
        group: name of those that share it: one problem that struck many keys.
        told: the gravest outcome that people were told of, with others or by itself; empty if none yet.
        message: how the last write is told: "" not at all, `OWN` by itself, else the title of one message for many.
        is_hushed: whether it would have been told but for a silence.
    """

    key: ModelKey
    number: int
    revision: int
    event: Event
    opened_at: datetime
    closed_at: datetime | None
    kinds: tuple[str, ...]
    worst: str
    version: int | None
    partition: str
    words: str
    quiet: int = 0
    cause: str = ""
    group: str = ""
    told: str = ""
    message: str = ""
    is_hushed: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it still lasts."""
        return self.closed_at is None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            **asdict(self), "key": list(self.key), "opened_at": self.opened_at.isoformat(),
            "closed_at": self.closed_at.isoformat() if self.closed_at else None,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Incident:
        """The incident back from its JSON form."""
        closed = content["closed_at"]
        return cls(**{
            **content, "key": ModelKey(*content["key"]), "opened_at": datetime.fromisoformat(content["opened_at"]),
            "closed_at": datetime.fromisoformat(closed) if closed else None, "kinds": tuple(content["kinds"]),
        })  # fmt: skip


def hush(incident: Incident, before: Incident | None, *, is_silent: bool) -> Incident:
    """An incident as it is written: under a silence nobody is told yet of what is new in it."""
    if not incident.message:
        return incident
    if not is_silent:
        return replace(incident, is_hushed=False)
    told = before.told if before is not None and before.is_open else ""
    return replace(incident, message="", told=told, is_hushed=True)


def speak_up(before: Incident | None, look: Look, decision: Decision) -> Incident | None:
    """A lasting incident that a silence kept from people, to be told now that it is over; None if there is none."""
    if before is None or not (before.is_open and before.is_hushed) or decision.outcome == "none":
        return None
    return replace(before, revision=before.revision + 1, event="changed", partition=look.partition, quiet=0)


def release(before: Incident, partition: str, end: datetime, reason: str) -> Incident:
    """An open incident of a model key that is not watched any more, closed."""
    return replace(before, revision=before.revision + 1, event="closed", closed_at=end, words=reason,
                   partition=partition)  # fmt: skip


def follow(before: Incident | None, look: Look, decision: Decision, quiet_looks: int) -> Incident | None:
    """What a look makes of a model key's last incident; None if there is nothing to write.

    An incident closes after as many looks without a signal as a streak has, so that one that comes and goes is one.

    Args:
        before: the last incident, open or not; None if there never was one.
        look: the newest.
        decision: what the policy made of it.
        quiet_looks: looks without a signal that close an incident.
    """
    is_open = before is not None and before.is_open
    if decision.outcome == "none":
        if before is None or not is_open or look.partition == before.partition:
            return None
        quiet = before.quiet + 1
        if quiet < quiet_looks:
            return replace(before, revision=before.revision + 1, event="kept", quiet=quiet, partition=look.partition)
        words = f"no signal in {quiet} looks"
        return replace(before, revision=before.revision + 1, event="closed", closed_at=look.end, words=words,
                       partition=look.partition, quiet=quiet)  # fmt: skip
    words = "; ".join(signal.words for signal in look.fired if signal.kind in decision.cause)
    kinds = tuple(sorted(decision.cause))
    if before is None or not is_open:
        number = before.number + 1 if before else 1
        return Incident(look.key, number, 1, "opened", look.start, None, kinds, decision.outcome, look.version,
                        look.partition, words)  # fmt: skip
    more = tuple(sorted({*before.kinds, *kinds}))
    worst = max(before.worst, decision.outcome, key=GRAVITY.index)
    if more == before.kinds and worst == before.worst:
        if before.quiet == 0:
            return None
        return replace(before, revision=before.revision + 1, event="kept", quiet=0, partition=look.partition)
    return replace(before, revision=before.revision + 1, event="changed", kinds=more, worst=worst, words=words,
                   partition=look.partition, quiet=0)  # fmt: skip
