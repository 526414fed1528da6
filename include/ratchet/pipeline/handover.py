"""From a verdict to a hand-over: the candidate becomes challenger, and the evidence decides what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass

from include.ratchet.errors import LedgerConflictError
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import CHAMPION, AliasState
from include.ratchet.rollout.actions import start
from include.ratchet.rollout.evidence import newest_record
from include.ratchet.rollout.orders import Order
from include.ratchet.spec.serving import RolloutSpec


@dataclass(frozen=True)
class Beginning:
    """What came of a hand-over's beginning.

    Attributes:
        is_started: whether the candidate is being handed over to.
        reason: the same in a sentence.
    """

    is_started: bool
    reason: str


def is_wanted(spec: RolloutSpec, champion: int | None) -> bool:
    """Whether a verdict begins a hand-over. A first version has nobody to take over from, but it may defer."""
    return spec.strategy == "defer" or (spec.strategy != "direct" and champion is not None)


def begin(
    workspace: Workspace, request: TrainingRequest, version: AliasState, judged_against: int | None
) -> Beginning:  # fmt: skip
    """Begin the hand-over to a candidate; the same training begins one only, even after that has ended.

    Raises:
        LedgerConflictError: the champion is another than it was judged against, or an earlier hand-over goes first.
    """
    settings, key, model = workspace.settings, request.key, workspace.model(request.key.model)
    strategy = model.spec.rollout.strategy
    order = Order(
        request.actor, f"version {version.version} passed its gates", workspace.clock(), once=request.training_id
    )
    champion = ledger.read_aliases(key, settings).get(CHAMPION)
    found = champion.version if champion else None
    if found not in (judged_against, version.version):
        message = (
            f"{key}: version {version.version} was judged against champion {judged_against}, but the champion is now "
            f"{found}; its hand-over does not begin. Train again to have it judged against that one"
        )
        raise LedgerConflictError(message)
    # Rows may be predicted well ahead of their time; those still to come say nothing of what time it is.
    newest = newest_record(settings, model, max(request.as_of, workspace.clock()))
    now = max(request.as_of, newest or request.as_of)
    outcome = start(settings, model, key, version, order, now)
    state = outcome.state
    is_started = state is not None and state.is_active and state.challenger == version.version
    if outcome.is_moved:
        return Beginning(is_started, f"hand-over by {strategy} has begun")
    return Beginning(is_started, f"hand-over by {strategy} began before" + ("" if is_started else " and has ended"))
