"""Which DAGs a file builds: all of them when it is parsed, only the running one when a task starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import get_parsing_context

from include.ratchet.errors import SpecError
from include.ratchet.orchestration.assets import dag_id
from include.ratchet.orchestration.callbacks import report_failed_run
from include.ratchet.orchestration.retries import TRANSIENT
from include.ratchet.settings import read_settings
from include.ratchet.spec import Model, ModelSpec, load_model, load_models

FIRST_DAY = datetime(2010, 1, 1, tzinfo=UTC)


def models_to_build(kind: str) -> Iterator[Model]:
    """The models whose DAG of this kind is wanted now; a broken spec is `dags/specs.py`'s to report."""
    models_dir = read_settings(os.environ).models_dir
    wanted = get_parsing_context().dag_id
    if wanted is not None and wanted.startswith(f"{kind}_"):
        yield load_model(models_dir / wanted.removeprefix(f"{kind}_"))
        return
    if wanted is None:
        yield from (model for model in load_models(models_dir).values() if isinstance(model, Model))


def broken_specs() -> list[SpecError]:
    """The errors of every spec that cannot be built."""
    found = load_models(read_settings(os.environ).models_dir).values()
    return [error for error in found if isinstance(error, SpecError)]


def first_day(spec: ModelSpec) -> datetime:
    """The fixed start date of a model's DAGs."""
    return datetime.fromisoformat(spec.start).replace(tzinfo=spec.zone) if spec.start else FIRST_DAY


def defaults(spec: ModelSpec) -> dict[str, Any]:
    """What every task of a model has: its owner, a time limit, and retries with growing pauses for transient faults."""
    return {
        "owner": spec.owner,
        "retries": 3,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=5),
        "retry_policy": TRANSIENT,
        "execution_timeout": spec.schedule.execution_timeout,
        # Of the task and not of the run: only here is the error's own word known.
        "on_failure_callback": report_failed_run,
    }


__all__ = ["broken_specs", "dag_id", "defaults", "first_day", "models_to_build"]
