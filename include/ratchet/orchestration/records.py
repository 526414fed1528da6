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
    """Bring into their tables what prediction services of this machine have left in their logs.

    Those are the log that is configured and, of services by themselves, every `serving-PORT` in the home folder. One
    that is in use ships only once all the same.
    """
    from include.ratchet.serving.config import read_config
    from include.ratchet.serving.log import LogFile
    from include.ratchet.serving.shipping import ship as ship_log

    settings = open_workspace().settings
    folders = {read_config(os.environ).log_dir, *settings.home.glob("serving*")}
    logs = {folder.resolve() for folder in folders if (folder / "records.sqlite").exists()}
    return {"shipped": sum(ship_log(LogFile(folder), settings) for folder in sorted(logs))}


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

    workspace, context = open_workspace(), get_current_context()
    found = workspace.model(model)
    now = context.get("data_interval_end") or context["dag_run"].run_after
    key = context["params"].get("partition") or last_ended(found.spec, now)
    rows = RecordTable(workspace.settings, found, "requests").row_counts().get(key, 0)
    if not rows:
        message = f"{model} has answered nothing with an event time in {key}"
        raise AirflowSkipException(message)
    yield Metadata(requests_asset(model), extra={"partition": key, "rows": rows})
