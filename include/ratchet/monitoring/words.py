"""Incidents and judgements in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.ratchet.alerts.messages import Message, incident_message
from include.ratchet.monitoring.incidents import Incident
from include.ratchet.monitoring.policy import Decision
from include.ratchet.monitoring.signals import Look
from include.ratchet.spec import ModelSpec

_OUTCOMES = {
    "alert": "somebody should look", "wait": "a retraining is wanted and has to wait",
    "retrain": "a retraining was asked for", "revert": "the previous champion is to come back",
    "escalate": "retraining did not help, people are needed", "none": "",
}  # fmt: skip


def describe(
    spec: ModelSpec, incident: Incident, look: Look, decision: Decision, targets: Mapping[str, str]
) -> Message:  # fmt: skip
    """The message of an incident that has just been written."""
    kinds = ", ".join(incident.kinds)
    title = f"incident {incident.number} {incident.event}: {kinds}"
    if incident.event != "closed":
        title += f"; {_OUTCOMES[incident.worst]}"
    words = f"{incident.words}. {decision.reason}" if incident.event != "closed" else incident.words
    return incident_message(
        spec, incident.key, incident.number, incident.revision, title, words, facts_of(look), targets,
        is_grave=incident.worst in ("escalate", "revert") and incident.event != "closed",
    )  # fmt: skip


def facts_of(look: Look) -> dict[str, Any]:
    """A look's numbers as people read them."""
    numbers = look.numbers
    found: dict[str, Any] = {"partition": look.partition, "champion": look.version or "none", "rows": f"{look.rows:,}"}
    if "metric_window" in numbers:
        found["metric"] = _interval(numbers, "metric")
    if "estimate_window" in numbers:
        found["estimated"] = _interval(numbers, "estimate")
    if look.rows:
        found["labels"] = f"{look.maturity:.0%}"
    return found


def _interval(numbers: Mapping[str, Any], name: str) -> str:
    low, high = numbers.get(f"{name}_low"), numbers.get(f"{name}_high")
    usual = f", usually [{low:.4f}, {high:.4f}]" if low is not None and high is not None else ""
    return f"{numbers[f'{name}_window']:.4f}{usual}"
