"""What the service says of moves, and of versions that cannot serve: kept, logged, sent where a webhook is given."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import httpx

from include.ratchet.alerts.messages import Message, serving_message
from include.ratchet.alerts.outbox import tell
from include.ratchet.rollout import store
from include.ratchet.rollout.orders import Order
from include.ratchet.rollout.revert import find_reversal
from include.ratchet.rollout.words import describe, describe_reversal
from include.ratchet.serving.deployments import Report
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey, get_model

_log = logging.getLogger(__name__)
_TIMEOUT_S = 8.0
ReportMove = Callable[[ModelKey, Order], None]
"""Hears of an order that was carried out."""


def report_refused(settings: Settings, environ: Mapping[str, str]) -> Report:
    """Tells of a version that the old one goes on serving for, once each; never raises, and nobody waits for it."""
    send = _sender(environ.get("RATCHET_SLACK_WEBHOOK", ""))
    waiting: queue.SimpleQueue[tuple[ModelKey, int, Exception]] = queue.SimpleQueue()

    def deliver() -> None:
        while True:
            key, version, error = waiting.get()

            def make(key: ModelKey = key, version: int = version, error: Exception = error) -> Message:
                return serving_message(get_model(settings.models_dir, key.model).spec, key, version, str(error))

            _log.warning("%s@%s cannot serve; alert: %s", key, version, _tell(make, send, settings))

    threading.Thread(target=deliver, name="refused", daemon=True).start()
    return lambda key, version, error: waiting.put((key, version, error))


def report_moved(settings: Settings, environ: Mapping[str, str]) -> ReportMove:
    """Tells of what an order has moved, once, in a thread that nobody waits for; never raises."""
    send = _sender(environ.get("RATCHET_SLACK_WEBHOOK", ""))

    def deliver(message: Message) -> None:
        _log.warning("%s; alert: %s", message.text, _tell(lambda: message, send, settings))

    def report(key: ModelKey, order: Order) -> None:
        try:
            message = _find_move(settings, key, order)
        except Exception:  # the order is carried out all the same
            _log.exception("%s: what was moved cannot be told", key)
            return
        if message is not None:
            threading.Thread(target=deliver, args=(message,), name="alert", daemon=True).start()

    return report


def _tell(make: Callable[[], Message], send: Callable[[Message], str], settings: Settings) -> str:
    """What became of an alert. A store that is away must not keep other models from being followed."""
    try:
        return tell(make(), send, settings, datetime.now(UTC))
    except Exception as failure:
        return f"not kept: {type(failure).__name__}: {failure}"


def _find_move(settings: Settings, key: ModelKey, order: Order) -> Message | None:
    """What an order moved; None if it found nothing to move."""
    url = f"{settings.airflow_url}/dags/rollout_{key.model}"
    reversal, state = find_reversal(settings, key, order), store.read(key, settings)
    if reversal is not None:
        return describe_reversal(key, reversal, order, url)
    return describe(state, url) if state is not None and state.once == order.once else None


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
