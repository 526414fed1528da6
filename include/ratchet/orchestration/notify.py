"""Alerts on their way: through the Slack provider's notifiers, within ten seconds, failing nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseHook

from include.ratchet.alerts.messages import Message
from include.ratchet.spec import ModelSpec

LIMIT_S = 8.0
"""How long Slack may take altogether."""
_log = logging.getLogger(__name__)


class SlackSender:
    """Sends one model's alerts over its Slack connection; without one they are only logged and kept."""

    def __init__(self, spec: ModelSpec) -> None:
        self._alerts = spec.alerts

    def __call__(self, message: Message) -> str:
        """Send a message; returns `sent` or why not."""
        _log.warning("alert: %s", message.text)
        try:
            kind = BaseHook.get_connection(self._alerts.slack_connection).conn_type
        except Exception as error:  # whatever a secrets backend raises, an alert never fails a run
            return f"not sent: no connection {self._alerts.slack_connection} ({type(error).__name__})"
        try:
            notifier = self._notifier(str(kind), message)
            notifier.hook.client  # noqa: B018 - looks the connection up here, not in the thread
        except Exception as error:
            return f"not sent: {error}"
        return _within(LIMIT_S, lambda: notifier.notify({}))

    def _notifier(self, kind: str, message: Message) -> Any:
        """Called without a template context: what models and data supply is never rendered."""
        common: dict[str, Any] = {
            "text": message.text,
            "blocks": list(message.blocks),
            "timeout": 4,
            "retry_handlers": [],
        }
        if kind == "slackwebhook":
            from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

            return SlackWebhookNotifier(slack_webhook_conn_id=self._alerts.slack_connection, **common)
        if kind != "slack":
            message_text = (
                f"connection {self._alerts.slack_connection} is of type {kind!r}; expected slack (API token) or "
                "slackwebhook (incoming webhook)"
            )
            raise ValueError(message_text)
        from airflow.providers.slack.notifications.slack import SlackNotifier

        return SlackNotifier(
            slack_conn_id=self._alerts.slack_connection, channel=self._alerts.channel or "#general",
            username="Ratchet", unfurl_links=False, **common,
        )  # fmt: skip


def _within(seconds: float, send: Any) -> str:
    """Run in a thread that nobody waits for longer: a slow Slack delays a run by no more than that."""
    outcome: list[str] = []

    def attempt() -> None:
        try:
            send()
        except Exception as error:
            outcome.append(f"not sent: {error}")
        else:
            outcome.append("sent")

    thread = threading.Thread(target=attempt, name="alert", daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else f"not sent: Slack did not answer within {seconds:g} s"


def run_url(airflow_url: str, dag_id: str, run_id: str) -> str:
    """Where Airflow shows a run."""
    from urllib.parse import quote

    return f"{airflow_url}/dags/{dag_id}/runs/{quote(run_id, safe='')}"


def task_words(context: Mapping[str, Any]) -> tuple[str, str]:
    """The task that a failure is about, and what it said."""
    task = context.get("task_instance") or context.get("ti")
    name = getattr(task, "task_id", None) or "unknown"
    return str(name), str(context.get("exception") or context.get("reason") or "see the task's log")
