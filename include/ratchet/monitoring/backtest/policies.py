"""Policies of a backtest: when each fits, and a history lived through under one of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches

from include.ratchet.monitoring.backtest.folds import Folds
from include.ratchet.monitoring.backtest.looks import Looks
from include.ratchet.monitoring.backtest.work import Fit
from include.ratchet.monitoring.policy import PastRequest, decide
from include.ratchet.monitoring.signals import Look
from include.ratchet.spec import ModelSpec
from include.ratchet.spec.monitoring import PolicySpec, SignalKind
from include.ratchet.spec.training import LOWER_IS_BETTER

ADAPTIVE: dict[str, frozenset[SignalKind]] = {
    "drift": frozenset({"drift"}),
    "performance": frozenset({"performance"}),
    "both": frozenset({"drift", "performance"}),
}
SCHEDULED = ("never", "nightly", "weekly", "monthly")
DEFAULT = ("never", "weekly", "nightly", "drift", "performance", "both")


@dataclass(frozen=True)
class Run:
    """What one policy did.

    Attributes:
        policy: its name.
        champions: day of the fit that answered each day, from the first on.
        fits: days of its fits.
        refused: days of those that were not promoted.
        asked: days on whose morning it wanted a fit.
        alarms: spells of days on which a signal fired.
        escalations: days on which it asked for people, as a retraining had not helped.
    """

    policy: str
    champions: tuple[int, ...]
    fits: tuple[int, ...]
    refused: tuple[int, ...]
    asked: tuple[int, ...]
    alarms: int = 0
    escalations: int = 0


def read_policy(name: str) -> str:
    """A policy's name, if there is such a one.

    Raises:
        ValueError: there is none.
    """
    known = (*SCHEDULED, *ADAPTIVE)
    if name in known or re.fullmatch(r"[1-9]\d*d", name):
        return name
    near = get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    message = f"policies: found {name!r}; expected any of {', '.join(known)} and Nd, such as 14d{hint}"
    raise ValueError(message)


def replay(name: str, folds: Folds, looks: Looks, served: range) -> Run:
    """Live through the days under one policy."""
    spec, kinds = folds.history.spec, ADAPTIVE.get(name, frozenset())
    acting = _policy_of(spec, kinds)
    champion, is_wanted = served.start, False
    champions: list[int] = []
    fits, refused, asked = [served.start], list[int](), list[int]()
    seen: list[Look] = []
    past: list[PastRequest] = []
    fired, escalations = [], 0
    for day in served:
        local = folds.history.days[day].start.astimezone(spec.zone).date()
        if day > served.start and (is_wanted or _is_due(name, day - served.start, local)):
            asked.append(day)
            fit = folds.fit(day)
            if fit is not None:
                fits.append(day)
                if _may_follow(folds, fit, champion):
                    champion = day
                else:
                    refused.append(day)
        champions.append(champion)
        is_wanted = False
        if kinds:
            seen.append(looks.look(champion, day, kinds))
            now = seen[-1].as_of
            decision = decide(acting, seen, past, now)
            fired.append(bool(seen[-1].fired))
            escalations += decision.outcome == "escalate"
            is_wanted = decision.outcome == "retrain"
            if is_wanted:
                past.append(PastRequest(now, champion, decision.cause, is_open=False, start=decision.start or now))
    alarms = sum(now and not before for before, now in zip([False, *fired], fired, strict=False))
    return Run(name, tuple(champions), tuple(fits), tuple(refused), tuple(asked), alarms, escalations)


def _may_follow(folds: Folds, fit: Fit, champion: int) -> bool:
    """The gates that most often decide: versus the champion, above a constant, and the minimum metric."""
    spec = folds.history.spec
    gates, least, gain = spec.gates, spec.gates.min_metric, folds.compare(fit, champion)
    if gain.low <= 0 if gates.versus_champion == "superior" else gain.low < -gates.margin:
        return False
    if folds.compare(fit, None).low <= gates.beats_baseline:
        return False
    found = folds.measure(fit)
    return least is None or (found.high <= least if spec.metric in LOWER_IS_BETTER else found.low >= least)


def _policy_of(spec: ModelSpec, kinds: frozenset[SignalKind]) -> PolicySpec:
    """The model's own policy, in which only these kinds do anything."""
    others = {
        name: "none" for name in PolicySpec.model_fields if isinstance(getattr(spec.monitoring.policy, name), str)
    }
    return spec.monitoring.policy.model_copy(update={**others, **dict.fromkeys(kinds, "retrain")})


def _is_due(name: str, days: int, local: date) -> bool:
    if name == "weekly":
        return local.weekday() == 0
    if name == "monthly":
        return local.day == 1
    if name == "nightly":
        return True
    return name.endswith("d") and name[:-1].isdigit() and days % int(name[:-1]) == 0
