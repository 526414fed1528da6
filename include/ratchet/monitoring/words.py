"""Incidents and judgements in words."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from include.ratchet.alerts.messages import Message, fleet_message, incident_message
from include.ratchet.monitoring.act import Judgement
from include.ratchet.monitoring.incidents import GRAVITY, OWN, Incident
from include.ratchet.monitoring.policy import Decision
from include.ratchet.monitoring.signals import Look
from include.ratchet.spec import ModelKey, ModelSpec

_OUTCOMES = {
    "alert": "somebody should look", "wait": "a retraining is wanted and has to wait",
    "retrain": "a retraining was asked for", "revert": "the previous champion is to come back",
    "escalate": "retraining did not help, people are needed", "none": "",
}  # fmt: skip


def describe(
    spec: ModelSpec, incident: Incident, look: Look, decision: Decision, targets: Mapping[str, str], *,
    is_acknowledged: bool = False,
) -> Message:  # fmt: skip
    """The message of an incident that has just been written; of one that is acknowledged it calls for nobody."""
    kinds = ", ".join(incident.kinds)
    title = f"incident {incident.number} {incident.event}: {kinds}"
    if incident.event != "closed":
        title += f"; {_OUTCOMES[incident.worst]}"
    words = f"{incident.words}. {decision.reason}" if incident.event != "closed" else incident.words
    return incident_message(
        spec, incident.key, incident.number, incident.revision, title, words, facts_of(look), targets,
        is_grave=incident.worst in ("escalate", "revert") and incident.event != "closed" and not is_acknowledged,
    )  # fmt: skip


def announce(
    spec: ModelSpec, partition: str, judged: Sequence[Judgement], gone: Sequence[Incident], targets: Mapping[str, str],
    acknowledged: Container[tuple[ModelKey, int]] = (),
) -> list[Message]:  # fmt: skip
    """The messages of what one run wrote: one of each incident that is told by itself, one of each group.

    Args:
        spec: of the model.
        partition: that was looked at.
        judged: what each look led to.
        gone: incidents of keys that are watched no more.
        targets: where to look, by name.
        acknowledged: keys and numbers of the incidents that a person knows of.
    """
    looked = {one.look.key: one for one in judged}
    told = [one.incident for one in judged if one.incident is not None and one.incident.message]
    told += [one for one in gone if one.message]
    messages = [
        _describe_own(spec, one, looked.get(one.key), targets, is_acknowledged=(one.key, one.number) in acknowledged)
        for one in told if one.message == OWN
    ]  # fmt: skip
    for title in sorted({one.message for one in told} - {OWN}):
        members = [one for one in told if one.message == title]
        messages.append(_describe_group(spec, partition, title, members, looked, targets))
    return messages


def _describe_own(
    spec: ModelSpec, incident: Incident, found: Judgement | None, targets: Mapping[str, str], *, is_acknowledged: bool
) -> Message:  # fmt: skip
    if found is not None:
        return describe(spec, incident, found.look, found.decision, targets, is_acknowledged=is_acknowledged)
    title = f"incident {incident.number} {incident.event}: {', '.join(incident.kinds)}"
    return incident_message(
        spec, incident.key, incident.number, incident.revision, title, incident.words,
        {"partition": incident.partition}, targets, is_grave=False,
    )  # fmt: skip


def _describe_group(
    spec: ModelSpec, partition: str, title: str, members: Sequence[Incident], looked: Mapping[ModelKey, Judgement],
    targets: Mapping[str, str],
) -> Message:  # fmt: skip
    """One message of many keys, those with the strongest signals first."""
    strength = {key: max((signal.strength for signal in one.look.fired), default=0.0) for key, one in looked.items()}
    ordered = sorted(members, key=lambda one: (-strength.get(one.key, 0.0), one.key))
    groups: dict[str, list[tuple[ModelKey, str]]] = {}
    for outcome in sorted({one.worst for one in members}, key=GRAVITY.index, reverse=True):
        alike = [one for one in ordered if one.worst == outcome]
        is_over = members[0].event == "closed"
        heading = f"{'the last of them' if is_over else _OUTCOMES[outcome]}: {len(alike)}"
        groups.setdefault(heading, []).extend((one.key, one.words) for one in alike)
    name = f"incidents:{partition}:{title.rpartition(': ')[0]}:{members[0].event}"
    is_grave = members[0].event != "closed" and any(one.worst in ("escalate", "revert") for one in members)
    return fleet_message(spec, name, title, groups, targets, is_grave=is_grave)


def facts_of(look: Look) -> dict[str, Any]:
    """A look's numbers as people read them."""
    numbers = look.numbers
    found: dict[str, Any] = {"partition": look.partition, "champion": look.version or "none", "rows": f"{look.rows:,}"}
    if "metric_window" in numbers:
        found["metric"] = _interval(numbers, "metric")
    if "estimate_window" in numbers:
        found["estimated"] = _interval(numbers, "estimate")
    worth = next((value for name, value in numbers.items() if name.startswith("business.")), None)
    if worth is not None:
        found["worth"] = f"{worth:.4g}"
    if look.rows:
        found["labels"] = f"{look.maturity:.0%}"
    return found


def _interval(numbers: Mapping[str, Any], name: str) -> str:
    low, high = numbers.get(f"{name}_low"), numbers.get(f"{name}_high")
    usual = f", usually [{low:.4f}, {high:.4f}]" if low is not None and high is not None else ""
    return f"{numbers[f'{name}_window']:.4f}{usual}"
