"""What follows a look: incidents, requests to retrain, reverts; of all keys of a run at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.ratchet.monitoring import causes, store
from include.ratchet.monitoring.incidents import Incident, follow, hush, release, speak_up
from include.ratchet.monitoring.notes import find_silence, read_silences
from include.ratchet.monitoring.policy import Decision
from include.ratchet.monitoring.signals import Look
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.fleet import read_champions, record_all
from include.ratchet.registry.ledger import CHAMPION, Entry
from include.ratchet.rollout.orders import Order
from include.ratchet.rollout.revert import revert
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey, ModelSpec, Partition, partition_of

HISTORY = "nothing: this is history"


@dataclass(frozen=True)
class Judgement:
    """What a look led to.

    Attributes:
        look: at the newest partition.
        decision: of the policy.
        incident: as this look wrote it, now or before; None if it changed nothing.
        done: what was done about it, in words; empty if nothing.
        request: idempotency key of the retraining request, if one was made.
    """

    look: Look
    decision: Decision
    incident: Incident | None
    done: str
    request: str | None = None


def act_all(
    workspace: Workspace, model: str, partition: str, judged: Sequence[tuple[Look, Decision]], *, actor: str,
    report: str = "", is_backfill: bool = False,
) -> tuple[list[Judgement], tuple[Incident, ...]]:  # fmt: skip
    """Do what was decided of all keys of a model, once, and close incidents of keys that are watched no more.

    Args:
        workspace: the installation.
        model: whose.
        partition: that was looked at.
        judged: the look and the decision of each key.
        actor: who acts.
        report: address of the run, for the ledger.
        is_backfill: asks for nothing, as does a look that a later one has overtaken.

    Returns:
        What each look led to, and the incidents that were closed as nobody watches their keys.
    """
    settings, spec = workspace.settings, workspace.model(model).spec
    day = partition_of(spec, partition)
    silences = read_silences(model, settings, workspace.clock())
    known, overtaken = store.read_last_incidents(model, settings), store.find_overtaken(model, day.start, settings)
    live = [(look, decision) for look, decision in judged if not is_backfill and look.key.segment not in overtaken]
    is_news = spec.segments is not None and not is_backfill and not overtaken
    gone = _release(settings, spec, known, [look.key for look, _ in judged], day) if is_news else {}
    written, findings = dict(gone), {}
    for look, decision in live:
        before, is_silent = known.get(look.key), find_silence(silences, look.key) is not None
        incident = follow(before, look, decision, spec.monitoring.policy.streak)
        if not is_silent and (incident is None or incident.event == "kept"):
            incident = speak_up(before, look, decision) or incident
        if incident is not None:
            written[look.key] = incident
            findings[look.key] = [signal for signal in look.fired if signal.kind in decision.cause]
    written = {
        key: hush(one, known.get(key), is_silent=find_silence(silences, key) is not None)
        for key, one in causes.group(written, findings, known, len(judged)).items()
    }
    store.write_incidents(written.values(), settings)
    asked = {look.key: _request(workspace, look, one, actor, report) for look, one in live if one.outcome == "retrain"}
    record_all(list(asked.values()), settings)
    now = {**known, **written}
    alive = {look.key for look, _ in live}
    found = []
    for look, decision in judged:
        done = _done(workspace, look, decision, actor) if look.key in alive else HISTORY
        incident, request = now.get(look.key), asked.get(look.key)
        # Written by this look now, or before by one that may have been cut off before it could say so.
        is_own = look.key in alive and incident is not None and incident.partition == look.partition
        found.append(Judgement(look, decision, incident if is_own else None, done,
                               request.idempotency_key if request else None))  # fmt: skip
    return found, tuple(written[key] for key in gone)


def _release(
    settings: Settings, spec: ModelSpec, known: Mapping[ModelKey, Incident], looked_at: Sequence[ModelKey],
    day: Partition,
) -> dict[ModelKey, Incident]:  # fmt: skip
    """The open incidents of keys that nobody watches any more, closed."""
    watched = {*looked_at, *(ModelKey(spec.name, one) for one in read_champions(spec.name, settings))}
    reason = "the pooled model answers for it now" if spec.has_whole else "no model answers for it any more"
    lost = {key: one for key, one in known.items() if one.is_open and key not in watched}
    return {key: release(one, day.key, day.end, reason) for key, one in lost.items()}


def _done(workspace: Workspace, look: Look, decision: Decision, actor: str) -> str:
    """Go back, if that was decided; in words, what was done."""
    if decision.outcome == "revert":
        return _go_back(workspace, look, decision, actor)
    return "a retraining was asked for" if decision.outcome == "retrain" else ""


def _request(workspace: Workspace, look: Look, decision: Decision, actor: str, report: str) -> Entry:
    start, cause = decision.start or look.start, "+".join(sorted(decision.cause))
    details: dict[str, Any] = {
        "window": [start.isoformat(), look.end.isoformat()], "cause": sorted(decision.cause),
        "signals": [signal.words for signal in look.fired if signal.kind in decision.cause], "report": report,
    }  # fmt: skip
    return Entry(
        key=look.key, kind="request", actor=actor, reason=decision.reason, recorded_at=workspace.clock(),
        idempotency_key=f"request:{look.key.slug}:{start:%Y%m%dT%H%M}:{cause}:{look.version}:{decision.attempt}",
        version=look.version, as_of=look.as_of, details=details,
    )  # fmt: skip


def _go_back(workspace: Workspace, look: Look, decision: Decision, actor: str) -> str:
    """Bring the previous champion back, if the one that was watched is still the champion."""
    from include.ratchet.errors import NothingToRevertError

    state = ledger.read_aliases(look.key, workspace.settings).get(CHAMPION)
    if state is None or state.version != look.version:
        return "nothing: the champion has changed since"
    order = Order(actor, decision.reason, workspace.clock(), once=f"monitor/{look.key.slug}/{look.partition}")
    try:
        return revert(workspace.settings, look.key, order).words
    except NothingToRevertError as error:
        return f"nothing: {error}"
