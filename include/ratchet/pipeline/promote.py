"""From a verdict to production: the candidate becomes champion, or its hand-over begins, if nothing moved since."""

from __future__ import annotations

from dataclasses import dataclass, replace

from include.ratchet.errors import LedgerConflictError
from include.ratchet.pipeline.handover import begin, is_wanted
from include.ratchet.pipeline.judge import read_verdict, registered, verdict_name
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.rivals import read_champion
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.aliases import follow
from include.ratchet.registry.ledger import AliasState, Entry
from include.ratchet.registry.versions import Version


@dataclass(frozen=True)
class Promotion:
    """What became of a candidate.

    Attributes:
        version: of the candidate.
        is_promoted: whether it is the champion now.
        reason: why, or why not.
        champion: the champion afterwards, if there is one.
        is_started: whether it is the challenger of a hand-over that is to make it champion.
    """

    version: int
    is_promoted: bool
    reason: str
    champion: int | None
    is_started: bool = False


def promote(workspace: Workspace, request: TrainingRequest, *, approved_by: str | None = None) -> Promotion:
    """Make the candidate champion or begin its hand-over, if that is its verdict and nothing moved since."""
    request = replace(request, actor=approved_by or request.actor)
    version, verdict = registered(workspace, request), read_verdict(workspace, request)
    if verdict.outcome != "promote":
        return _outcome(workspace, request, version, f"{verdict.outcome}: {verdict.reason}")
    entry = ledger.find_entry(verdict_name(request), workspace.settings)
    if entry is None:
        message = f"the verdict of {version} is not in the ledger; run `register` first"
        raise FileNotFoundError(message)
    judged_against, state = entry.details["judged_against"], AliasState(version.number, version.as_of)
    try:
        if is_wanted(workspace.model(request.key.model).spec.rollout, judged_against):
            begun = begin(workspace, request, state, judged_against)
            return replace(_outcome(workspace, request, version, begun.reason), is_started=begun.is_started)
        aliases = ledger.move_champion(promotion_of(workspace, request, entry), judged_against, workspace.settings)
    except LedgerConflictError as error:
        record_conflict(workspace, request, state, str(error))
        return _outcome(workspace, request, version, str(error))
    follow(request.key, aliases, workspace.settings)
    return _outcome(workspace, request, version, verdict.reason)


def promotion_of(workspace: Workspace, request: TrainingRequest, verdict: Entry) -> Entry:
    """The promotion that follows from a verdict."""
    return Entry(
        key=request.key, kind="promotion", idempotency_key=f"promotion:{request.key.slug}:{request.training_id}",
        actor=request.actor, reason=verdict.reason.partition(": ")[2], recorded_at=workspace.clock(),
        version=verdict.version, as_of=verdict.as_of,
        details={"from": verdict.details["judged_against"], "metrics": verdict.details["metrics"],
                 "asked": request.reason},
    )  # fmt: skip


def record_conflict(workspace: Workspace, request: TrainingRequest, version: AliasState, reason: str) -> None:
    """Enter that a candidate was not promoted as something moved since it was judged."""
    ledger.record(
        Entry(
            key=request.key, kind="conflict", idempotency_key=f"conflict:{request.key.slug}:{request.training_id}",
            actor=request.actor, reason=reason, recorded_at=workspace.clock(), version=version.version,
            as_of=version.as_of,
        ),
        workspace.settings,
    )  # fmt: skip


def refuse(workspace: Workspace, request: TrainingRequest, *, actor: str, reason: str) -> Promotion:
    """Enter that a person did not agree to the promotion."""
    version = registered(workspace, request)
    ledger.record(
        Entry(
            key=request.key, kind="approval", idempotency_key=f"approval:{request.key.slug}:{request.training_id}",
            actor=actor, reason=reason, recorded_at=workspace.clock(), version=version.number, as_of=version.as_of,
        ),
        workspace.settings,
    )  # fmt: skip
    return _outcome(workspace, request, version, reason)


def _outcome(workspace: Workspace, request: TrainingRequest, version: Version, reason: str) -> Promotion:
    champion = read_champion(workspace, request.key)
    number = champion.version if champion else None
    return Promotion(version.number, number == version.number, reason, number)
