"""One problem of many model keys: incidents of the same cause are one group, and told together.

A column that broke upstream opens an incident in every segment that reads it. Each key keeps its incident; few that
share a cause are told one by one, more of them in one message, which is said again only when much is new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from include.ratchet.monitoring.incidents import GRAVITY, OWN, Event, Incident
from include.ratchet.monitoring.signals import Signal
from include.ratchet.spec import ModelKey
from include.ratchet.spec.monitoring import SignalKind

FEW = 3
"""Keys of one cause that are told one by one."""
GROWTH = 0.5
"""Share of those told of that must be new for a group to be told again."""
_ORDER: tuple[SignalKind, ...] = (
    "quality", "service", "drift", "multivariate", "prediction", "label", "estimate", "performance", "slice",
    "fairness",
)  # fmt: skip
"""What explains what: a column that broke moves scores and metrics too."""
Incidents = dict[ModelKey, Incident]


@dataclass(frozen=True)
class Group:
    """Incidents of one cause, as people read them.

    Attributes:
        cause: what they have in common.
        keys: whose.
        is_open: of how many it lasts.
        since: when the first one began.
        until: when the last one ended; None while one lasts.
        worst: the gravest outcome.
        words: what was found in the gravest of them.
    """

    cause: str
    keys: tuple[ModelKey, ...]
    is_open: int
    since: datetime
    until: datetime | None
    worst: str
    words: str

    def __str__(self) -> str:
        end = "open" if self.is_open else f"until {self.until:%Y-%m-%d}"
        some = f"{self.is_open} of {len(self.keys)} keys" if self.is_open < len(self.keys) else f"{len(self.keys)} keys"
        size = str(self.keys[0]) if len(self.keys) == 1 else some
        return f"incident, {self.cause}, in {size}, since {self.since:%Y-%m-%d}, {end}: {self.words}"


def summarise(incidents: Iterable[Incident]) -> list[Group]:
    """The groups of some incidents: those that last first, then the larger, then the newer ones."""
    by_name: dict[str, list[Incident]] = {}
    for one in incidents:
        by_name.setdefault(one.group or f"{one.key.slug}#{one.number}", []).append(one)
    found = []
    for own in by_name.values():
        own.sort(key=lambda one: (-GRAVITY.index(one.worst), one.key))
        lasting = sum(one.is_open for one in own)
        ends = [one.closed_at for one in own if one.closed_at is not None]
        found.append(Group(
            own[0].cause or ", ".join(own[0].kinds), tuple(one.key for one in own), lasting,
            min(one.opened_at for one in own), None if lasting else max(ends), own[0].worst, own[0].words,
        ))  # fmt: skip
    return sorted(found, key=lambda one: (-one.is_open, -one.since.timestamp(), one.cause))


def group(
    written: Mapping[ModelKey, Incident], findings: Mapping[ModelKey, Sequence[Signal]],
    known: Mapping[ModelKey, Incident], keys: int,
) -> Incidents:  # fmt: skip
    """Incidents that one run writes, each with its cause, its group and how it is told.

    Args:
        written: as `follow` left them.
        findings: signals that opened those that opened.
        known: the last incident of each key of the model, before the run.
        keys: that were looked at.

    Returns:
        All that is to be written: those, and others of which people are told now.
    """
    found = _join(written, findings, known)
    for name in sorted({one.group for one in found.values()}):
        members = {key: one for key, one in {**known, **found}.items() if one.group == name}
        own = {key: one for key, one in found.items() if one.group == name}
        if len(members) <= FEW:
            found |= {key: replace(one, message=OWN, told=one.worst) for key, one in own.items() if one.event != "kept"}
            continue
        # One after the other: who was just told of an opening is not told of a change too.
        for tell in (_tell_opened, _tell_changed, _tell_closed):
            own = {key: one for key, one in found.items() if key in members}
            found |= tell({**members, **own}, own, keys)
    return found


def find_causes(findings: Mapping[ModelKey, Sequence[Signal]], open_causes: Iterable[str] = ()) -> dict[ModelKey, str]:
    """Of each key the signal that it shares with most others, among those of the kind that explains the others.

    Args:
        findings: signals that fired, by key.
        open_causes: of incidents that last, one for each key.
    """
    names = {key: _names(signals) for key, signals in findings.items()}
    shared = Counter(open_causes) + Counter(name for own in names.values() for name in own)
    return {key: max(sorted(own), key=shared.__getitem__) for key, own in names.items()}


def _names(signals: Sequence[Signal]) -> set[str]:
    kind = min((signal.kind for signal in signals), key=_ORDER.index)
    return {
        f"{kind}: {signal.subject}" + (f", {signal.statistic}" if kind == "quality" else "")
        for signal in signals if signal.kind == kind
    }  # fmt: skip


def _join(
    written: Mapping[ModelKey, Incident], findings: Mapping[ModelKey, Sequence[Signal]],
    known: Mapping[ModelKey, Incident],
) -> Incidents:  # fmt: skip
    """Those that open join the group of their cause that lasts, or begin one, named after its first key."""
    lasting = {one.cause: one.group for one in known.values() if one.is_open and one.cause}
    opened = {key: findings[key] for key, one in written.items() if one.event == "opened"}
    causes = find_causes(opened, (one.cause for one in known.values() if one.is_open and one.cause))
    found = {}
    for key in sorted(written):
        one = replace(written[key], message="")
        if key in causes:
            one = replace(one, cause=causes[key], told="")
        # Of an incident from before there were causes, its own.
        name = one.group if key not in causes and one.group else lasting.get(one.cause, f"{key.slug}#{one.number}")
        if one.cause:
            lasting.setdefault(one.cause, name)
        found[key] = replace(one, group=name)
    return found


def _tell_opened(members: Incidents, own: Incidents, keys: int) -> Incidents:
    """One message of those that nobody was told of, if they are many beside the others."""
    if not any(one.event == "opened" for one in own.values()):
        return {}
    lasting = {key: one for key, one in members.items() if one.is_open}
    fresh = {key: one for key, one in lasting.items() if not one.told}
    before = len(lasting) - len(fresh)
    if len(fresh) <= GROWTH * before:
        return {}
    cause = next(iter(own.values())).cause
    size = f"grew from {before} to {len(lasting)}" if before else f"opened in {len(fresh)}"
    return _mark(fresh, own, "opened", f"{cause}: {size} of {keys} keys")


def _tell_changed(members: Incidents, own: Incidents, keys: int) -> Incidents:
    """One message of those that became as grave, if they are many beside those that are known to be."""
    told: Incidents = {}
    words = []
    outcomes = {one.worst for one in own.values() if one.event == "changed"}
    for outcome in sorted(outcomes, key=GRAVITY.index, reverse=True):
        alike = {key: one for key, one in members.items() if one.is_open and one.worst == outcome}
        fresh = {key: one for key, one in alike.items() if one.told != outcome}
        if len(fresh) > GROWTH * (len(alike) - len(fresh)):
            told |= fresh
            words.append(f"{outcome} in {len(alike)}")
    if not told:
        return {}
    return _mark(told, own, "changed", f"{next(iter(own.values())).cause}: {', '.join(words)} of {keys} keys")


def _tell_closed(members: Incidents, own: Incidents, keys: int) -> Incidents:
    """One message when the last one has closed."""
    closed = {key: one for key, one in own.items() if one.event == "closed"}
    if not closed or any(one.is_open for one in members.values()):
        return {}
    since = min(one.opened_at for one in members.values())
    title = f"{next(iter(own.values())).cause}: closed in all of {len(members)} keys, since {since:%Y-%m-%d}"
    return {key: replace(one, message=title) for key, one in closed.items()}


def _mark(fresh: Incidents, own: Incidents, event: Event, title: str) -> Incidents:
    """Incidents as told now; those that this run does not write otherwise are written for it."""
    partition = next(iter(own.values())).partition
    found = {key: replace(one, told=one.worst, message=title) for key, one in fresh.items()}
    return {
        key: one if key in own else replace(one, revision=one.revision + 1, event=event, partition=partition)
        for key, one in found.items()
    }
