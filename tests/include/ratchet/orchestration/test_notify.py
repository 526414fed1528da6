"""Alerts through Airflow's own notifiers to a Slack that listens, is slow, is down, or is not there."""

from __future__ import annotations

import json
import socket
import time

import pytest

from include.ratchet.alerts.messages import Message
from include.ratchet.orchestration.notify import LIMIT_S, SlackSender, run_url
from tests.include.ratchet.training.data import make_model
from tests.slack import SlackServer

BLOCKS = ({"type": "section", "text": {"type": "mrkdwn", "text": "{{ 7 * 7 }} stays as it is"}},)
MESSAGE = Message("k", "orders", "orders: all well", BLOCKS)
pytestmark = pytest.mark.filterwarnings(
    # The Slack provider 9.11 builds its notifier with arguments that Airflow 3.3 says will change.
    "ignore::airflow.exceptions.AirflowProviderDeprecationWarning"
)


@pytest.fixture
def sender(tmp_path):
    return SlackSender(make_model(tmp_path, alerts={"channel": "#models"}).spec)


def test_message_arrives_as_it_is(sender, monkeypatch):
    slack = SlackServer()
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", slack.connection)
    assert sender(MESSAGE) == "sent"
    (body,) = slack.messages
    slack.close()
    assert body["channel"] == "#models"
    assert body["text"] == MESSAGE.text
    # Never rendered as a template: names of models and categories are data.
    assert json.loads(body["blocks"]) == list(BLOCKS)


def test_refusal_of_slack_is_an_outcome(sender, monkeypatch):
    slack = SlackServer()
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", slack.connection)
    outcome = sender(Message("k", "orders", "x" * 5000, BLOCKS))
    slack.close()
    assert outcome.startswith("not sent: ")
    assert "text too long" in outcome
    assert slack.refused == ["text too long"]


def test_no_connection_fails_nothing(sender, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_SLACK_DEFAULT", raising=False)
    assert sender(MESSAGE).startswith("not sent: no connection slack_default")


def test_connection_of_another_type_is_said(sender, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", json.dumps({"conn_type": "http", "host": "x"}))
    assert "expected slack (API token) or slackwebhook" in sender(MESSAGE)


def test_slack_that_is_down_or_slow_delays_by_less_than_ten_seconds(sender, monkeypatch):
    listener = socket.create_server(("127.0.0.1", 0))
    for port in (1, listener.getsockname()[1]):  # nobody there; somebody who never answers
        connection = {"conn_type": "slack", "password": "x", "extra": {"base_url": f"http://127.0.0.1:{port}/api/"}}
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", json.dumps(connection))
        started = time.monotonic()
        assert sender(MESSAGE).startswith("not sent: ")
        assert time.monotonic() - started < LIMIT_S + 1 < 10
    listener.close()


def test_link_to_a_run_survives_its_id():
    url = run_url("http://a", "train_m", "manual__2020-01-01T00:00:00+00:00")
    assert url == "http://a/dags/train_m/runs/manual__2020-01-01T00%3A00%3A00%2B00%3A00"
