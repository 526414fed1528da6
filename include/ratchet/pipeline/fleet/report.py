"""The run's table: every key of a fleet's training accounted for."""

from __future__ import annotations

from collections.abc import Iterator

from include.ratchet.pipeline.fleet.batches import Costs
from include.ratchet.pipeline.fleet.plan import FleetPlan, batch_name, keep_costs, read_plan
from include.ratchet.pipeline.fleet.results import KeyResult
from include.ratchet.pipeline.fleet.train import RESULTS
from include.ratchet.pipeline.judge import VERDICT, read_verdict
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.train import TWIN, folder_of
from include.ratchet.pipeline.workspace import RunFolder, Workspace
from include.ratchet.registry.fleet import find_entries, record_all
from include.ratchet.registry.ledger import Entry
from include.ratchet.spec import WHOLE

TABLE = "table.json"


def conclude(workspace: Workspace, request: TrainingRequest) -> list[KeyResult]:
    """What became of every segment of a run; the run's rows that are no longer needed are removed.

    A segment whose batch never ended has failed, and says so. What the keys took is remembered for the next plan.
    """
    folder, plan = folder_of(workspace, request), read_plan(workspace, request)
    results = list(_read_batches(folder, plan))
    took = [one for one in results if one.version is not None and one.outcome != "unchanged"]
    costs = Costs.learn([one.rows for one in took], [one.seconds for one in took])
    if costs is not None and not request.trials:
        keep_costs(workspace, workspace.model(request.key.model), costs)
    few = "fewer rows than segments.min_rows"
    results += [KeyResult(segment, "pooled", few, rows) for segment, rows in sorted(plan.pooled.items())]
    results += [KeyResult(segment, "retired", "no rows for long", 0) for segment in plan.retired]
    _answer(workspace, request, results)
    keep_table(workspace, request, results)
    for number in range(len(plan.batches)):
        folder.remove(batch_name(number))
    return results


def keep_table(workspace: Workspace, request: TrainingRequest, results: list[KeyResult]) -> None:
    """Leave the run's table in its folder."""
    folder_of(workspace, request).put_json(TABLE, [one.to_dict() for one in results])


def read_table(workspace: Workspace, request: TrainingRequest) -> list[KeyResult]:
    """The run's table."""
    return [KeyResult.from_dict(one) for one in folder_of(workspace, request).need_json(TABLE)]


def find_pool_problem(workspace: Workspace, request: TrainingRequest) -> str | None:
    """What kept a run's pooled candidate from its promotion, if it was to be trained and that was an error."""
    spec, folder = workspace.model(request.key.model).spec, folder_of(workspace, request)
    if not spec.has_whole or not request.wants(WHOLE) or folder.get(TWIN):
        return None
    if not folder.get(VERDICT):
        return "the pooled model could not be trained; see its tasks"
    verdict = read_verdict(workspace, request)
    return f"the pooled candidate is rejected: {verdict.reason}" if verdict.outcome == "reject" else None


def _answer(workspace: Workspace, request: TrainingRequest, results: list[KeyResult]) -> None:
    """Requests for segments that have too few rows are answered by that; others by a verdict, now or later."""
    asked = find_entries(request.segment_answers, workspace.settings).values() if request.segment_answers else ()
    reasons = {one.segment: one.reason for one in results if one.outcome == "pooled"}
    record_all(
        [
            Entry(
                key=one.key, kind="segment", idempotency_key=f"segment:{one.key.slug}:answered:{one.id}",
                actor=request.actor, reason=f"not trained: {reasons[one.key.segment]}", as_of=request.as_of,
                recorded_at=workspace.clock(), details={"event": "pooled", "answers": [one.idempotency_key]},
            )
            for one in asked if one.key.segment in reasons
        ],
        workspace.settings,
    )  # fmt: skip


def _read_batches(folder: RunFolder, plan: FleetPlan) -> Iterator[KeyResult]:
    for number, segments in enumerate(plan.batches):
        name = f"{RESULTS}/{number}.json"
        if folder.get(name):
            yield from (KeyResult.from_dict(one) for one in folder.need_json(name))
            continue
        reason = f"batch {number} did not end; see its task"
        yield from (KeyResult(segment, "failed", reason, plan.rows[segment]) for segment in segments)
