"""A run that fails is told once, with the words of the error."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from include.ratchet.alerts.messages import Message, verdict_key
from include.ratchet.alerts.outbox import tell
from include.ratchet.orchestration.callbacks import report_failed_run, report_missed_deadline
from include.ratchet.spec import ModelKey
from include.ratchet.spec.scaffold import make_model
from tests.include.ratchet.training.data import make_settings

RUN = SimpleNamespace(dag_id="train_order_returns", run_id="manual__1")


@pytest.fixture
def store(tmp_path, monkeypatch):
    make_model(tmp_path / "models", "order_returns")
    monkeypatch.setenv("RATCHET_HOME", str(tmp_path))
    monkeypatch.setenv("RATCHET_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.delenv("AIRFLOW_CONN_SLACK_DEFAULT", raising=False)
    return tmp_path / "store/alerts/order_returns"


def fail(task: str, error: Exception) -> None:
    report_failed_run({"dag_run": RUN, "ti": SimpleNamespace(task_id=task), "exception": error})


def told(store):
    return [json.loads(path.read_text()) for path in store.iterdir()]


def test_failure_is_told_once_with_the_task_and_the_errors_words(store):
    fail("prepare.validate_snapshot", ValueError("price: 3 of 10 rows are below 0"))
    fail("search.run_trials", ValueError("another of the same run"))
    (alert,) = told(store)
    assert "a run of train_order_returns failed in prepare.validate_snapshot" in alert["text"]
    assert "price: 3 of 10 rows are below 0" in alert["text"]
    assert alert["outcome"].startswith("not sent: no connection")


def test_run_whose_verdict_was_told_is_not_told_again(store, tmp_path):
    from datetime import UTC, datetime

    key = verdict_key(ModelKey("order_returns"), RUN.run_id)
    tell(Message(key, "order_returns", "refused", ()), lambda _: "sent", make_settings(tmp_path), datetime.now(UTC))
    fail("judge.decide", ValueError("refused"))
    assert [alert["text"] for alert in told(store)] == ["refused"]


@pytest.mark.parametrize("run", [RUN, {"dag_id": RUN.dag_id, "dag_run_id": RUN.run_id}], ids=["object", "mapping"])
def test_late_run_is_told(store, run):
    report_missed_deadline({"dag_run": run}, model="order_returns", limit="4h")
    (alert,) = told(store)
    assert "has not ended within 4h of being queued" in alert["text"]
