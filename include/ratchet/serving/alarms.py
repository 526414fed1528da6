"""What the service says when a version cannot serve: kept, logged, and sent where a webhook is given."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import httpx

from include.ratchet.alerts.messages import Message, serving_message
from include.ratchet.alerts.outbox import tell
from include.ratchet.serving.deployments import Report
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey, get_model

_log = logging.getLogger(__name__)
_TIMEOUT_S = 8.0


def report_refused(settings: Settings, environ: Mapping[str, str]) -> Report:
    """Tells of a version that the old one goes on serving for, once each; never raises."""
    send = _sender(environ.get("RATCHET_SLACK_WEBHOOK", ""))

    def report(key: ModelKey, version: int, error: Exception) -> None:
        try:
            spec = get_model(settings.models_dir, key.model).spec
            outcome = tell(serving_message(spec, key, version, str(error)), send, settings, datetime.now(UTC))
        except Exception as failure:  # a store that is away must not keep other models from being followed
            outcome = f"not kept: {type(failure).__name__}: {failure}"
        _log.warning("%s@%s cannot serve; alert: %s", key, version, outcome)

    return report


def _sender(webhook: str) -> Callable[[Message], str]:
    def send(message: Message) -> str:
        if not webhook:
            return "not sent: RATCHET_SLACK_WEBHOOK is not set"
        try:
            body = {"text": message.text, "blocks": list(message.blocks)}
            httpx.post(webhook, json=body, timeout=_TIMEOUT_S).raise_for_status()
        except httpx.HTTPError as error:
            return f"not sent: {type(error).__name__}"
        return "sent"

    return send
