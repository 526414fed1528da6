"""The tasks that train a model for each segment: references in, references out. A docstring here is the task's page.

Imported whenever DAGs are parsed, so the engine is imported inside the functions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Metadata
from airflow.sdk.exceptions import AirflowSkipException

from include.ratchet.orchestration.assets import champion_asset
from include.ratchet.orchestration.steps import APPROVE, open_workspace, read_request
from include.ratchet.orchestration.tell import tell_fleet

if TYPE_CHECKING:
    from include.ratchet.pipeline.fleet import KeyResult
    from include.ratchet.pipeline.requests import TrainingRequest
    from include.ratchet.pipeline.workspace import Workspace

Json = dict[str, Any]
SHOWN = 100
"""Segments that an XCom or an event names; the run's table has all."""
_log = logging.getLogger(__name__)


def plan_segments(request: Json | None) -> list[int]:
    """Which segments are trained, against which pooled version, in how many tasks; the numbers of their batches.

    New segments and those without rows for long are entered in the ledger.
    """
    from airflow.sdk import conf

    from include.ratchet.pipeline import fleet

    workspace, asked = _open(request)
    plan = fleet.plan_fleet(workspace, asked, conf.getint("core", "max_active_tasks_per_dag"))
    _log.info("%d segments in %d batches, %d with too few rows, %d retired, against pooled version %s",
              len(plan.rows), len(plan.batches), len(plan.pooled), len(plan.retired), plan.pool)  # fmt: skip
    return list(range(len(plan.batches)))


def train_segments(request: Json, batch: int) -> Json:
    """Search, fit, judge, register and promote each segment of a batch. One that cannot be trained fails alone."""
    from include.ratchet.pipeline import fleet

    workspace, asked = _open(request)
    results = fleet.train_batch(workspace, asked, batch)
    _log.info("\n%s", fleet.table(results))
    return fleet.count(results)


def report_segments(request: Json | None) -> Json:
    """The run's table: what became of every segment, said once.

    Fails if none could be trained, or if the pooled model's own training failed.
    """
    from include.ratchet.errors import GateRefusedError, TooFewRowsError
    from include.ratchet.pipeline import fleet

    workspace, asked = _open(request)
    results = fleet.conclude(workspace, asked)
    counts = fleet.count(results)
    _log.info("\n%s", fleet.table(results, 10_000))
    tell_fleet(workspace, asked, results)
    failed = [one for one in results if one.outcome == "failed"]
    if failed and not any(one.version for one in results):
        message = f"none of {len(failed)} segments could be trained; {failed[0].segment}: {failed[0].reason}"
        raise TooFewRowsError(message)
    problem = fleet.find_pool_problem(workspace, asked)
    if problem is not None:
        raise GateRefusedError(problem)
    return {"counts": counts, "table": fleet.table(results, SHOWN)}


def promote_segments(request: Json, approval: Mapping[str, Any] | None = None) -> Iterator[Metadata]:
    """Make every candidate that passed champion: in one transaction where the spec says so. Skipped if none moves."""
    from include.ratchet.pipeline import fleet
    from include.ratchet.pipeline.fleet.report import keep_table

    workspace, asked = _open(request)
    person = ((approval or {}).get("responded_by_user") or {}).get("name")
    if approval is not None and approval["chosen_options"] != [APPROVE]:
        message = f"{person or 'nobody answered'}: promotion was not approved; {asked.key.model} stays as it is"
        raise AirflowSkipException(message)
    results = fleet.promote_together(workspace, asked, fleet.read_table(workspace, asked), person or asked.actor)
    keep_table(workspace, asked, results)
    tell_fleet(workspace, asked, results, "segments promoted")
    _log.info("\n%s", fleet.table(results, 10_000))
    yield _say_moved(asked, results)


def announce_segments(request: Json) -> Iterator[Metadata]:
    """Say on the model's champion asset which segments have a new champion; skipped if none has."""
    from include.ratchet.pipeline import fleet

    workspace, asked = _open(request)
    yield _say_moved(asked, fleet.read_table(workspace, asked))


def _say_moved(request: TrainingRequest, results: Sequence[KeyResult]) -> Metadata:
    moved = [one.segment for one in results if one.outcome in ("promoted", "returned")]
    if not moved:
        message = "the segments' champions stay as they are"
        raise AirflowSkipException(message)
    return Metadata(champion_asset(request.key.model), extra={"segments": moved[:SHOWN], "count": len(moved)})


def _open(request: Json | None) -> tuple[Workspace, TrainingRequest]:
    if request is None:
        message = "there is nothing to train"
        raise AirflowSkipException(message)
    return open_workspace(), read_request(request)
