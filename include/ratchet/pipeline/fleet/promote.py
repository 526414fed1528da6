"""From a segment's verdict to its champion: by itself, or all segments of a run together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from include.ratchet.errors import LedgerConflictError
from include.ratchet.pipeline.fleet.results import KeyResult, Outcome
from include.ratchet.pipeline.judge import verdict_name
from include.ratchet.pipeline.promote import carry_out, promotion_of
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.rivals import read_champion
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.aliases import follow
from include.ratchet.registry.fleet import find_entries, move_champions, retire
from include.ratchet.registry.ledger import Entry, read_aliases
from include.ratchet.spec import WHOLE, ModelKey, ModelSpec


@dataclass(frozen=True)
class Settled:
    """What became of a verdict."""

    outcome: Outcome
    reason: str


def settle(workspace: Workspace, request: TrainingRequest, verdict: Entry) -> Settled:
    """Do what a verdict says: promote, begin a hand-over, go back to the pooled model, or leave things as they are.

    Args:
        workspace: the installation.
        request: the key's.
        verdict: the key's row of the ledger. The same one again changes nothing more.
    """
    if verdict.details["outcome"] != "promote":
        return _leave(workspace, request, verdict)
    moved = carry_out(workspace, request, verdict)
    return Settled("promoted" if moved.is_promoted else "started" if moved.is_started else "kept", moved.reason)


def promote_together(
    workspace: Workspace, request: TrainingRequest, results: Sequence[KeyResult], actor: str
) -> list[KeyResult]:
    """Make all candidates of a run that passed champions: in one transaction if the spec wants that.

    Args:
        workspace: the installation.
        request: of the whole training.
        results: of the segments.
        actor: the person who agreed, or who or what asked for the training.

    Returns:
        The results, those that waited with what became of them, and the pooled model's.

    Raises:
        LedgerConflictError: all are to move together, and another champion came in between; nothing has moved.
    """
    model, settings = request.key.model, workspace.settings
    waiting = [one for one in results if one.outcome == "waiting"]
    keys = [request.key, *(ModelKey(model, one.segment) for one in waiting)]
    requests = {key.segment: replace(request, key=key, actor=actor) for key in keys}
    known = find_entries([verdict_name(one) for one in requests.values()], settings)
    verdicts = {entry.key.segment: entry for entry in known.values()}
    spec = workspace.model(model).spec
    is_joint = spec.segments is not None and spec.segments.together
    behind = _find_behind(verdicts.get(WHOLE), results) if is_joint else None
    if behind is not None:
        settled = {name: Settled("kept", behind) for name in verdicts}
    elif is_joint:
        settled = _move(workspace, requests, verdicts)
    else:
        settled = {name: settle(workspace, requests[name], verdicts[name]) for name in verdicts}
    whole = [KeyResult(WHOLE, "waiting", "", 0, one.version, **gain_of(spec, one))
             for name, one in verdicts.items() if name == WHOLE]  # fmt: skip
    return [
        replace(one, outcome=settled[one.segment].outcome, reason=settled[one.segment].reason)
        if one.outcome == "waiting" else one for one in (*whole, *results)
    ]  # fmt: skip


def _move(
    workspace: Workspace, requests: Mapping[str, TrainingRequest], verdicts: Mapping[str, Entry]
) -> dict[str, Settled]:
    """Move every champion in one transaction."""
    moves = [(promotion_of(workspace, requests[name], one), one.details["judged_against"])
             for name, one in verdicts.items()]  # fmt: skip
    move_champions(moves, workspace.settings)
    for name in verdicts:
        follow(requests[name].key, read_aliases(requests[name].key, workspace.settings), workspace.settings)
    return dict.fromkeys(verdicts, Settled("promoted", "together with the others"))


def gain_of(spec: ModelSpec, verdict: Entry) -> dict[str, Any]:
    """The numbers of a verdict that the run's table shows."""
    rival = verdict.details.get("rival")
    gain = (rival["value"], rival["low"], rival["high"]) if rival else None
    name = rival["name"] if rival else None
    return {"metric": verdict.details["metrics"].get(spec.metric), "rival": name, "gain": gain}


def _leave(workspace: Workspace, request: TrainingRequest, verdict: Entry) -> Settled:
    """Production stays, unless the pooled model is surely better than the segment's own champion."""
    gain, champion = verdict.details.get("pool_gain"), verdict.details["judged_against"]
    outcome: Outcome = "kept" if verdict.details["outcome"] == "hold" else "refused"
    stays = Settled(outcome, verdict.reason.partition(": ")[2])
    found = read_champion(workspace, request.key)
    if request.is_backfill or gain is None or gain["low"] <= 0 or found is None or found.version != champion:
        return stays
    words = f"the pooled version {verdict.details['pool']} is better on its rows by {gain['value']:.4f} " \
            f"[{gain['low']:.4f}, {gain['high']:.4f}]"  # fmt: skip
    entry = Entry(
        key=request.key, kind="segment", idempotency_key=f"segment:{request.key.slug}:pooled:{request.training_id}",
        actor=request.actor, reason=f"pooled: {words}", recorded_at=workspace.clock(), version=verdict.details["pool"],
        as_of=request.as_of, details={"event": "pooled", "gain": gain, "from": champion},
    )  # fmt: skip
    try:
        follow(request.key, retire(entry, workspace.settings, champion), workspace.settings)
    except LedgerConflictError:  # another came in between, and was judged as well
        return stays
    return Settled("returned", words)


def _find_behind(pool: Entry | None, results: Sequence[KeyResult]) -> str | None:
    """What keeps all where they are: a pooled candidate that did not pass, or a segment that was refused or failed."""
    behind = [
        f"{one.segment} ({one.outcome}: {one.reason[:100]})" for one in results
        if one.outcome in ("failed", "refused")
    ]  # fmt: skip
    if pool is not None and pool.details["outcome"] != "promote":
        behind.insert(0, f"the pooled model ({pool.reason[:100]})")
    if not behind:
        return None
    return f"segments.together is set, and {len(behind)} cannot move: {'; '.join(behind[:5])}; none is promoted"
