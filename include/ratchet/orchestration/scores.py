"""The tasks' functions of batch scoring and of replay. A docstring here is the task's page in the UI.

Like `steps`, imported whenever DAGs are parsed: the engine is imported inside the functions.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Metadata, get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from include.ratchet.errors import NotReproducibleError, PartitionUnavailableError
from include.ratchet.orchestration import steps
from include.ratchet.orchestration.assets import scores_asset
from include.ratchet.orchestration.steps import Json, open_workspace

if TYPE_CHECKING:
    from include.ratchet.replay import Selection
    from include.ratchet.spec import ModelSpec


def plan_partitions(model: str) -> list[list[str]]:
    """Which partitions to score, and how many a task takes: the run's own, or the range that the form asks for."""
    return steps.plan_partitions(model)


def score(model: str, keys: Sequence[str]) -> Json:
    """Score the rows of some partitions with the champion, or those of their segments, and replace their records.

    A partition that was scored by the same versions from the same tables stays as it is. Skipped are partitions that
    have not landed, and all of them as long as the model has no champion.
    """
    from include.ratchet.scoring import find_champions, score_partitions
    from include.ratchet.spec import ModelKey

    workspace, key = open_workspace(), ModelKey(model)
    if not find_champions(workspace.settings, workspace.model(model)):
        message = f"{model} has no champion yet, so there is nothing to score with; train it first"
        raise AirflowSkipException(message)
    try:
        report = score_partitions(workspace, key, keys)
    except PartitionUnavailableError as error:
        message = f"nothing to score: {error}"
        raise AirflowSkipException(message) from error
    logging.getLogger(__name__).info("%s", report.summary())
    return report.to_dict()


def publish(model: str, scored: Json | Sequence[Json]) -> Iterator[Metadata]:
    """Say on the model's scores asset that the partitions are there."""
    reports = [scored] if isinstance(scored, dict) else list(scored)
    keys = [key for report in reports for key in (*report["scored"], *report["unchanged"])]
    newest = reports[-1]
    yield Metadata(scores_asset(model), extra={
        "first": min(keys), "last": max(keys), "partitions": len(keys), "rows": sum(one["rows"] for one in reports),
        "version": newest["version"], "table_version": newest["table_version"],
    })  # fmt: skip


def replay(model: str) -> Json:
    """Answer the recorded requests that the form asks for again, and compare. The tables are in the log.

    The result has every answer that differs, the features that do and why, and what another version would have said.
    """
    from include.ratchet.replay import replay as answer_again
    from include.ratchet.replay.show import as_text

    workspace, params = open_workspace(), get_current_context()["params"]
    selection = _selection(workspace.model(model).spec, params)
    report = answer_again(workspace, model, selection, params.get("with_version"))
    logging.getLogger(__name__).info("%s\n%s", report.summary(), as_text(report))
    # As JSON has it: tuples would be an XCom of Airflow's own form, which no page can read.
    return {"summary": report.summary(), **json.loads(json.dumps(report.to_dict()))}


def compare(report: Json) -> str:
    """Fail if a version did not give the same bits again."""
    if not report["is_identical"]:
        found = [one for check in report["answers"] for one in check["differences"]]
        message = (
            f"{report['summary']}; expected the recorded bits, found {found[:3]}. The log of `replay` has all. Compare "
            "lock, code and machine with those of the records"
        )
        raise NotReproducibleError(message)
    return str(report["summary"])


def _selection(spec: ModelSpec, params: Any) -> Selection:
    from include.ratchet.pipeline.requests import read_instant
    from include.ratchet.replay import Selection

    def instant(name: str) -> datetime | None:
        return read_instant(spec, params[name]) if params.get(name) else None

    origin = params.get("records") or None
    segment = params.get("segment") or None
    return Selection(params.get("request_id") or None, instant("from"), instant("to"), origin, segment)
