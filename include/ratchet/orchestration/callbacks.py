"""What Airflow calls when a run fails or a deadline passes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DeadlineAlert, DeadlineReference, SyncCallback  # type: ignore[attr-defined]

from include.ratchet.spec import ModelSpec, format_duration


def report_failed_run(context: Mapping[str, Any]) -> None:
    """Say that a run failed, once, at the first task that gave up; a verdict that has been told says more."""
    from include.ratchet.alerts.messages import failure_message, verdict_key
    from include.ratchet.alerts.outbox import is_told, tell
    from include.ratchet.orchestration.connections import current_settings
    from include.ratchet.orchestration.notify import SlackSender, run_url, task_words
    from include.ratchet.spec import ModelKey, get_model

    settings, run = current_settings(), context["dag_run"]
    name = run.dag_id.partition("_")[2]
    if is_told(name, verdict_key(ModelKey(name), run.run_id), settings):
        return
    spec = get_model(settings.models_dir, name).spec
    task, reason = task_words(context)
    url = run_url(settings.airflow_url, run.dag_id, run.run_id)
    message = failure_message(spec, run.dag_id, run.run_id, task, reason, url)
    tell(message, SlackSender(spec), settings, datetime.now(UTC))


def report_missed_deadline(context: Mapping[str, Any], *, model: str, limit: str) -> None:
    """Say that a run is late."""
    from include.ratchet.alerts.messages import deadline_message
    from include.ratchet.alerts.outbox import tell
    from include.ratchet.orchestration.connections import current_settings
    from include.ratchet.orchestration.notify import SlackSender, run_url
    from include.ratchet.spec import get_model

    settings = current_settings()
    spec, run = get_model(settings.models_dir, model).spec, context["dag_run"]
    dag_id, run_id = _field(run, "dag_id"), _field(run, "run_id", "dag_run_id")
    message = deadline_message(spec, dag_id, run_id, limit, run_url(settings.airflow_url, dag_id, run_id))
    tell(message, SlackSender(spec), settings, datetime.now(UTC))


def deadline(spec: ModelSpec) -> DeadlineAlert:
    """A training that has not ended in time is reported."""
    limit = spec.schedule.deadline
    callback = SyncCallback(
        f"{__name__}.{report_missed_deadline.__name__}", kwargs={"model": spec.name, "limit": format_duration(limit)}
    )
    return DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, limit, callback, name=f"{spec.name} trained in time")


def _field(run: Any, *names: str) -> str:
    """A run's field, whether Airflow hands over an object or a mapping."""
    for name in names:
        value = run.get(name) if isinstance(run, Mapping) else getattr(run, name, None)
        if value is not None:
            return str(value)
    message = f"a run without {names[0]}: {run!r}"
    raise KeyError(message)
