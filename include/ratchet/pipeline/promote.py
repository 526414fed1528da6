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
from include.ratchet.spec import ModelKey


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
    moved = carry_out(workspace, request, entry)
    return replace(_outcome(workspace, request, version, moved.reason), is_started=moved.is_started)


@dataclass(frozen=True)
class Moved:
    """What a verdict to promote led to: a champion, a hand-over, or, for the reason given, neither."""

    is_promoted: bool
    is_started: bool
    reason: str


def carry_out(workspace: Workspace, request: TrainingRequest, verdict: Entry) -> Moved:
    """Promote what a verdict of the ledger lets pass, or begin its hand-over, if nothing moved since it was judged.

    The same verdict again changes nothing more.
    """
    expected, state = verdict.details["judged_against"], AliasState(int(verdict.version or 0), verdict.as_of)
    try:
        _check_pool(workspace, request.key, verdict)
        if is_wanted(workspace.model(request.key.model).spec.rollout, expected):
            begun = begin(workspace, request, state, expected)
            return Moved(False, begun.is_started, begun.reason)
        aliases = ledger.move_champion(promotion_of(workspace, request, verdict), expected, workspace.settings)
    except LedgerConflictError as error:
        _record_conflict(workspace, request, state, str(error))
        return Moved(False, False, str(error))
    # A segment's first version has no alias that could have to go, and there may be thousands.
    follow(request.key, aliases, workspace.settings, is_first=expected is None and not request.key.is_pool)
    return Moved(True, False, verdict.reason.partition(": ")[2])


def promotion_of(workspace: Workspace, request: TrainingRequest, verdict: Entry) -> Entry:
    """The promotion that follows from a verdict."""
    return Entry(
        key=request.key, kind="promotion", idempotency_key=f"promotion:{request.key.slug}:{request.training_id}",
        actor=request.actor, reason=verdict.reason.partition(": ")[2], recorded_at=workspace.clock(),
        version=verdict.version, as_of=verdict.as_of,
        details={"from": verdict.details["judged_against"], "metrics": verdict.details["metrics"],
                 "asked": request.reason},
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


def _check_pool(workspace: Workspace, key: ModelKey, verdict: Entry) -> None:
    """A candidate that beat one pooled version need not beat another.

    Raises:
        LedgerConflictError: another is champion now.
    """
    wanted = verdict.details.get("pool")
    if wanted is None:
        return
    champion = read_champion(workspace, key.pool)
    found = champion.version if champion else None
    if wanted != found:
        message = (
            f"{key}: version {verdict.version} was judged against the pooled version {wanted}, and {found} is champion "
            "now; it is not promoted. Train again to have it judged against that one"
        )
        raise LedgerConflictError(message)


def _record_conflict(workspace: Workspace, request: TrainingRequest, version: AliasState, reason: str) -> None:
    ledger.record(
        Entry(
            key=request.key, kind="conflict", idempotency_key=f"conflict:{request.key.slug}:{request.training_id}",
            actor=request.actor, reason=reason, recorded_at=workspace.clock(), version=version.version,
            as_of=version.as_of,
        ),
        workspace.settings,
    )  # fmt: skip


def _outcome(workspace: Workspace, request: TrainingRequest, version: Version, reason: str) -> Promotion:
    champion = read_champion(workspace, request.key)
    number = champion.version if champion else None
    return Promotion(version.number, number == version.number, reason, number)
