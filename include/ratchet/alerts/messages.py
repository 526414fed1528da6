"""The messages: a verdict, a step of a hand-over, an incident, a failed run, a missed deadline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.ratchet.alerts.blocks import (
    BLOCKS,
    TEXT_CHARACTERS,
    Block,
    code,
    collect,
    cut,
    escape,
    fields,
    header,
    links,
    section,
)
from include.ratchet.evaluation.report import EvaluationReport
from include.ratchet.evaluation.verdict import Verdict
from include.ratchet.spec import ModelKey, ModelSpec
from include.ratchet.validation import ValidationReport

_HEADS = {
    "promote": "{key}: version {version} is the new champion",
    "started": "{key}: version {version} passed its gates, its hand-over has begun",
    "hold": "{key}: version {version} is held, production stays as it is",
    "reject": "{key}: version {version} was refused by the gates, production stays as it is",
    "declined": "{key}: version {version} was not approved, production stays as it is",
}
FLEET_KEYS = 20
"""That a message about many lists of each group."""


@dataclass(frozen=True)
class Message:
    """One alert.

    Attributes:
        key: what it is about; the same key is said once.
        model: whose.
        text: the whole in plain words, for notifications and logs.
        blocks: the same for Slack.
    """

    key: str
    model: str
    text: str
    blocks: tuple[Block, ...]


def verdict_key(key: ModelKey, training_id: str) -> str:
    """What identifies the alert of one training."""
    return f"verdict:{key.slug}:{training_id}"


def verdict_message(
    spec: ModelSpec, key: ModelKey, training_id: str, outcome: str, version: int, verdict: Verdict,
    report: EvaluationReport, targets: Mapping[str, str],
) -> Message:  # fmt: skip
    """What came of a candidate: gates, candidate against champion, and where to look."""
    title = _HEADS[outcome].format(key=key, version=version)
    metric = report.metrics[report.metric]
    facts: dict[str, Any] = {f"candidate {report.metric}": metric}
    if report.champion is not None:
        facts[f"champion (version {report.champion.version})"] = report.champion.metric
        facts["gain over champion"] = report.champion.gain
    mention = f"{spec.alerts.mention} " if spec.alerts.mention and outcome == "reject" else ""
    blocks = collect(
        [header(title), section(mention + escape(verdict.reason)), fields(facts), code(verdict.table()), links(targets)]
    )
    text = f"{title}. {verdict.reason}"
    return Message(verdict_key(key, training_id), key.model, cut(text, TEXT_CHARACTERS), blocks)


def failure_message(spec: ModelSpec, dag_id: str, run_id: str, task: str, reason: str, url: str) -> Message:
    """A run that failed for another reason than its gates."""
    title = f"{spec.name}: a run of {dag_id} failed"
    mention = f"{spec.alerts.mention} " if spec.alerts.mention else ""
    blocks = collect(
        [header(title), section(f"{mention}task *{escape(task)}*"), code(reason), links({f"run {run_id}": url})]
    )
    return Message(
        f"failure:{dag_id}:{run_id}", spec.name, cut(f"{title} in {task}: {reason}", TEXT_CHARACTERS), blocks
    )


def warning_message(spec: ModelSpec, run_id: str, reports: Sequence[ValidationReport], url: str) -> Message:
    """Expectations of severity `warn` that did not hold; the data goes on."""
    subjects = ", ".join(f"{report.table} {report.subject}" for report in reports)
    title = f"{spec.name}: data is not as expected"
    words = "\n".join(str(finding) for report in reports for finding in report.warned)
    blocks = collect([header(title), section(escape(subjects)), code(words), links({f"run {run_id}": url})])
    return Message(f"warning:{run_id}:{subjects}", spec.name, cut(f"{title}: {words}", TEXT_CHARACTERS), blocks)


def rollout_message(
    key: ModelKey, revision: int, title: str, reason: str, facts: Mapping[str, Any], url: str
) -> Message:  # fmt: skip
    """A hand-over that has moved on, back, or waits for a person."""
    head = f"{key}: {title}"
    blocks = collect(
        [header(head), section(escape(reason)), *([fields(facts)] if facts else []), links({"hand-over": url})]
    )
    return Message(f"rollout:{key.slug}:{revision}", key.model, cut(f"{head}. {reason}", TEXT_CHARACTERS), blocks)


def reversal_message(key: ModelKey, name: str, words: str, reason: str, url: str) -> Message:
    """The previous champion is back, by an order of that name."""
    blocks = collect([header(words), section(escape(reason)), links({"hand-over": url})])
    return Message(f"reversal:{key.slug}:{name}", key.model, cut(f"{words}. {reason}", TEXT_CHARACTERS), blocks)


def deadline_message(spec: ModelSpec, dag_id: str, run_id: str, limit: str, url: str) -> Message:
    """A run that has not ended in time."""
    title = f"{spec.name}: a run of {dag_id} is late"
    words = f"it has not ended within {limit} of being queued"
    blocks = collect([header(title), section(escape(words)), links({f"run {run_id}": url})])
    return Message(f"deadline:{dag_id}:{run_id}", spec.name, f"{title}: {words}", blocks)


def serving_message(spec: ModelSpec, key: ModelKey, version: int, reason: str) -> Message:
    """A version that cannot serve, while what answered before goes on: another version, or the pooled model."""
    title = f"{key}: version {version} cannot serve, what answered before goes on"
    mention = f"{spec.alerts.mention} " if spec.alerts.mention else ""
    blocks = collect([header(title), section(f"{mention}the prediction service refused it"), code(reason)])
    return Message(
        f"serving:{key.slug}:{version}:{reason}", spec.name, cut(f"{title}: {reason}", TEXT_CHARACTERS), blocks
    )


def incident_message(
    spec: ModelSpec, key: ModelKey, number: int, revision: int, title: str, words: str, facts: Mapping[str, Any],
    targets: Mapping[str, str], *, is_grave: bool,
) -> Message:  # fmt: skip
    """An incident that has opened, changed or closed; a grave one calls for people."""
    head = f"{key}: {title}"
    mention = f"{spec.alerts.mention} " if spec.alerts.mention and is_grave else ""
    blocks = collect([header(head), section(mention + escape(words)), fields(facts), links(targets)])
    return Message(
        f"incident:{key.slug}:{number}:{revision}", key.model, cut(f"{head}. {words}", TEXT_CHARACTERS), blocks
    )


def fleet_message(
    spec: ModelSpec, name: str, title: str, groups: Mapping[str, Sequence[tuple[ModelKey, str]]],
    targets: Mapping[str, str], *, is_grave: bool = False,
) -> Message:  # fmt: skip
    """What happened to many keys of one model, in one message.

    Args:
        spec: of the model.
        name: of what happened; the same one is said once.
        title: after the model's name.
        groups: by heading, each key with its words; the first `FLEET_KEYS` of each are listed, the others counted.
        targets: where to look, by name.
        is_grave: whether it calls for people.
    """
    head = f"{spec.name}: {title}"
    mention = f"{spec.alerts.mention} " if spec.alerts.mention and is_grave else ""
    parts: list[Block] = []
    lines: list[str] = []
    for heading, keys in groups.items():
        shown = [f"{cut(key.segment, 60)}: {cut(words, 140)}" if words else cut(key.segment, 60)
                 for key, words in keys[:FLEET_KEYS]]  # fmt: skip
        if len(keys) > FLEET_KEYS:
            shown.append(f"and {len(keys) - FLEET_KEYS} more")
        parts += [section(f"{mention}*{escape(heading)}*"), *([code("\n".join(shown))] if shown else [])]
        lines += [f"{heading}: {'; '.join(shown)}" if shown else heading]
        mention = ""
    blocks = collect([header(head), *parts[: BLOCKS - 2], *([links(targets)] if targets else [])])
    return Message(f"fleet:{spec.name}:{name}", spec.name, cut(f"{head}. {'. '.join(lines)}", TEXT_CHARACTERS), blocks)
