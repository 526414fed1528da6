"""From looks to an action: what is asked for, and why nothing more is.

Pure: the same looks, requests and instant give the same decision, in production and in a backtest. Streaks are counted
from the looks themselves, so that a restart or a look that is taken again changes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from include.ratchet.monitoring.signals import Look
from include.ratchet.spec.monitoring import PolicySpec, SignalKind

BUDGET_PERIOD = timedelta(days=28)
Outcome = Literal["none", "alert", "wait", "retrain", "revert", "escalate"]


@dataclass(frozen=True)
class PastRequest:
    """A retraining that was asked for before.

    Attributes:
        at: the instant that its look knew of.
        version: the champion at the time.
        cause: kinds of signals that asked.
        is_open: whether no verdict has answered it yet.
        start: where its streak began.
    """

    at: datetime
    version: int | None
    cause: frozenset[SignalKind]
    is_open: bool
    start: datetime


@dataclass(frozen=True)
class Decision:
    """What a policy makes of the looks so far.

    Attributes:
        outcome: none; alert; wait (a retraining is wanted and may not be asked for yet); retrain; revert; escalate
            (retraining did not help: people are needed).
        cause: kinds of signals behind it.
        start: where the streak began.
        end: end of the newest look's partition.
        reason: the same in a sentence.
        attempt: number of the request for this cause, from 1.
    """

    outcome: Outcome
    cause: frozenset[SignalKind]
    start: datetime | None
    end: datetime | None
    reason: str
    attempt: int = 1


def decide(policy: PolicySpec, looks: Sequence[Look], past: Sequence[PastRequest], now: datetime) -> Decision:
    """What to do after the newest look.

    Args:
        policy: the spec's.
        looks: one for each partition, oldest first; the newest is decided on.
        past: earlier requests, of this model key.
        now: as of when.
    """
    if not looks:
        return Decision("none", frozenset(), None, None, "nothing has been looked at yet")
    newest = looks[-1]
    streaks = {kind: _streak(looks, kind) for kind in newest.kinds if policy.action(kind) != "none"}
    if not streaks:
        return Decision("none", frozenset(), newest.start, newest.end, "no signal")
    for action in ("revert", "retrain"):
        lasting = frozenset(
            kind for kind, streak in streaks.items()
            if policy.action(kind) == action and len(streak) >= policy.streak
        )  # fmt: skip
        if lasting:
            start = min(streaks[kind][0].start for kind in lasting)
            return _act(policy, action, lasting, start, newest, past, now)
    begun = ", ".join(f"{kind} ({len(streak)} of {_needed(policy, kind)})" for kind, streak in sorted(streaks.items()))
    start = min(streak[0].start for streak in streaks.values())
    return Decision("alert", frozenset(streaks), start, newest.end, f"signals: {begun}")


def _act(
    policy: PolicySpec, action: Literal["revert", "retrain"], cause: frozenset[SignalKind], start: datetime,
    newest: Look, past: Sequence[PastRequest], now: datetime,
) -> Decision:  # fmt: skip
    words = ", ".join(sorted(cause))

    def decision(outcome: Outcome, reason: str, attempt: int = 1) -> Decision:
        return Decision(outcome, cause, start, newest.end, reason, attempt)

    if action == "revert":
        return decision("revert", f"{words} for {policy.streak} looks or more")
    same = [one for one in past if one.version == newest.version and one.cause & cause and one.start >= start]
    before = [one for one in past if one.at <= now]
    if any(one.is_open for one in before):
        return decision("wait", f"{words}: a retraining that was asked for is not judged yet", len(same))
    if len(same) >= policy.attempts:
        return decision("escalate", f"{words} went on after {len(same)} retraining(s) that did not help", len(same))
    recent = [one for one in before if one.at > now - policy.cooldown]
    if recent:
        until = max(one.at for one in recent) + policy.cooldown
        return decision("wait", f"{words}: cooling down until {until:%Y-%m-%d %H:%M}", len(same) + 1)
    if sum(one.at > now - BUDGET_PERIOD for one in before) >= policy.budget:
        return decision("wait", f"{words}: {policy.budget} retrainings in 28 days are used up", len(same) + 1)
    return decision("retrain", f"{words} for {policy.streak} looks or more", len(same) + 1)


def _streak(looks: Sequence[Look], kind: SignalKind) -> list[Look]:
    """The newest looks in a row at the same champion in which a kind fired, oldest first.

    A look that could not judge it neither ends a streak nor counts.
    """
    found: list[Look] = []
    for look in reversed(looks):
        if look.version != looks[-1].version:
            break
        if kind in look.kinds:
            found.append(look)
        elif kind in look.judged:
            break
    return found[::-1]


def _needed(policy: PolicySpec, kind: SignalKind) -> int:
    return 1 if policy.action(kind) == "alert" else policy.streak
