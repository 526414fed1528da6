"""The tasks of request records: references in, references out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from airflow.sdk import Metadata, get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from include.ratchet.orchestration.assets import requests_asset
from include.ratchet.orchestration.steps import open_workspace

Json = dict[str, Any]


def ship(model: str) -> Json:
    """Bring into their tables what a prediction service of this machine has left in its log."""
    from include.ratchet.serving.config import read_config
    from include.ratchet.serving.log import RecordLog
    from include.ratchet.serving.shipping import ship as ship_log

    folder = read_config(os.environ).log_dir
    if not (folder / "records.sqlite").exists():
        return {"shipped": 0}
    log = RecordLog(folder)
    try:
        return {"shipped": ship_log(log, open_workspace().settings)}
    finally:
        log.close()


def compact(model: str) -> Json:
    """Make few files of the many that a service's commits leave."""
    from include.ratchet.data.records import RecordTable

    workspace = open_workspace()
    found = workspace.model(model)
    return {kind: RecordTable(workspace.settings, found, kind).compact() for kind in ("requests", "feedback")}


def expire(model: str) -> Json:
    """Remove records that were made longer ago than the spec keeps them."""
    from include.ratchet.data.records import RecordTable

    workspace = open_workspace()
    found = workspace.model(model)
    before = get_current_context()["dag_run"].run_after - found.spec.serving.records.retention
    return {kind: RecordTable(workspace.settings, found, kind).expire(before) for kind in ("requests", "feedback")}


def publish(model: str) -> Iterator[Metadata]:
    """Say on the asset of request records that the partition is there. One without records is skipped."""
    from include.ratchet.data.records import RecordTable
    from include.ratchet.pipeline.ingest import last_ended

    workspace, run = open_workspace(), get_current_context()["dag_run"]
    found = workspace.model(model)
    key = run.partition_key or last_ended(found.spec, run.run_after)
    rows = RecordTable(workspace.settings, found, "requests").row_counts().get(key, 0)
    if not rows:
        message = f"{model} has answered nothing with an event time in {key}"
        raise AirflowSkipException(message)
    yield Metadata(requests_asset(model), extra={"partition": key, "rows": rows})
