"""What tasks say of their results, each thing once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.sdk import get_current_context

if TYPE_CHECKING:
    from include.ratchet.pipeline.fleet import KeyResult
    from include.ratchet.pipeline.requests import TrainingRequest
    from include.ratchet.pipeline.workspace import Workspace
    from include.ratchet.validation import ValidationReport


def tell_verdict(workspace: Workspace, request: TrainingRequest, outcome: str) -> None:
    """Say what came of a candidate."""
    from include.ratchet.alerts.messages import verdict_message
    from include.ratchet.alerts.outbox import tell
    from include.ratchet.orchestration.notify import SlackSender, run_url
    from include.ratchet.pipeline import judge
    from include.ratchet.registry.versions import card_url

    settings, spec = workspace.settings, workspace.model(request.key.model).spec
    version = judge.registered(workspace, request)
    targets = {
        "run": run_url(settings.airflow_url, f"train_{spec.name}", request.training_id),
        "version": version.url,
        "model card": card_url(version, settings),
    }
    message = verdict_message(
        spec, request.key, request.training_id, outcome, version.number, judge.read_verdict(workspace, request),
        judge.read_report(workspace, request), targets,
    )  # fmt: skip
    outcome = tell(message, SlackSender(spec), settings, workspace.clock())
    logging.getLogger(__name__).info("alert: %s", outcome)


def warn_of_data(workspace: Workspace, model: str, reports: Sequence[ValidationReport]) -> None:
    """Say which expectations of severity `warn` did not hold."""
    from include.ratchet.alerts.messages import warning_message
    from include.ratchet.alerts.outbox import tell
    from include.ratchet.orchestration.notify import SlackSender, run_url

    warned = [report for report in reports if report.warned]
    if warned:
        spec, run = workspace.model(model).spec, get_current_context()["dag_run"]
        url = run_url(workspace.settings.airflow_url, run.dag_id, run.run_id)
        message = warning_message(spec, run.run_id, warned, url)
        tell(message, SlackSender(spec), workspace.settings, workspace.clock())


def tell_fleet(
    workspace: Workspace, request: TrainingRequest, results: Sequence[KeyResult], what: str = "segments trained"
) -> None:
    """Say what came of a fleet's training, or of its promotion: what moved and what failed, in one message."""
    from include.ratchet.alerts.messages import fleet_message
    from include.ratchet.alerts.outbox import tell
    from include.ratchet.orchestration.notify import SlackSender, run_url
    from include.ratchet.pipeline.fleet import count
    from include.ratchet.pipeline.fleet.results import TOLD, WORDS
    from include.ratchet.spec import ModelKey

    spec, settings = workspace.model(request.key.model).spec, workspace.settings
    counts = count(results)
    told: dict[str, list[tuple[ModelKey, str]]] = {}
    for one in results:
        if one.outcome in TOLD:
            told.setdefault(f"{WORDS[one.outcome]}: {counts[one.outcome]}", []).append(
                (ModelKey(spec.name, one.segment), one.reason)
            )
    if told:
        title = ", ".join(f"{number} {name}" for name, number in counts.items())
        run = run_url(settings.airflow_url, f"train_{spec.name}", request.training_id)
        message = fleet_message(
            spec, f"{what}:{spec.name}:{request.training_id}", f"{what}: {title}", told, {"run": run},
            is_grave="failed" in counts,
        )  # fmt: skip
        logging.getLogger(__name__).info("alert: %s", tell(message, SlackSender(spec), settings, workspace.clock()))
