"""How a run becomes a request."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.ratchet.data.connections import MappedConnections
from include.ratchet.orchestration import requests, steps
from include.ratchet.pipeline import train
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from include.ratchet.spec.scaffold import make_model

NIGHT = datetime(2026, 3, 1, 6, tzinfo=UTC)
ASKED = ledger.Entry(ModelKey("orders"), "request", "request:1", "a monitor", "drift in price", NIGHT, as_of=NIGHT)


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Plans a training of a model that is trained only on request, by a run of some type."""
    folder = make_model(tmp_path / "models", "orders")
    spec = folder / "model.yaml"
    spec.write_text(spec.read_text() + "schedule: {train: null}\n")
    settings = read_settings({"RATCHET_HOME": str(tmp_path / "home"), "RATCHET_MODELS_DIR": str(tmp_path / "models")})
    settings.home.mkdir()
    upgrade(settings.database_url)
    workspace = Workspace(settings, MappedConnections({}), lambda: NIGHT)
    monkeypatch.setattr(steps, "open_workspace", lambda: workspace)
    monkeypatch.setattr(train, "find_absence", lambda *_: None)

    def plan(run_type, *waiting, params=None, more=""):
        spec.write_text(spec.read_text() + more)
        for entry in waiting:
            ledger.record(entry, settings)
        run = SimpleNamespace(run_type=run_type, run_id=f"{run_type}__1", run_after=NIGHT)
        context = {
            "params": params or {},
            "dag_run": run,
            "data_interval_end": NIGHT if run_type == "scheduled" else None,
        }
        monkeypatch.setattr(requests, "get_current_context", lambda: context)
        monkeypatch.setattr(steps, "link_model", lambda *_: None)
        return steps.plan_training("orders")

    yield plan
    engine_of(settings.database_url).dispose()


def test_night_without_a_request_is_skipped_where_only_requests_train(plan):
    with pytest.raises(AirflowSkipException, match="only on request"):
        plan("scheduled")


@pytest.mark.parametrize("run_type", ["scheduled", "asset_triggered", "manual"])
def test_waiting_request_is_answered_by_whatever_run_comes_first(plan, run_type):
    request = plan(run_type, ASKED)
    assert (request["answers"], request["reason"], request["force"]) == (("request:1",), "drift in price", True)
    assert datetime.fromisoformat(request["as_of"]) == NIGHT


def test_backfill_answers_nobody(plan):
    request = plan("backfill", ASKED)
    assert (request["answers"], request["is_backfill"]) == ((), True)


def test_person_may_train_at_any_time(plan):
    assert plan("manual")["actor"] == "manual run"


DIVIDED = "segments: {by: shop}\n"
WEB = ledger.Entry(ModelKey("orders", "web"), "request", "request:2", "a monitor", "drift in web", NIGHT, as_of=NIGHT)


def test_request_for_a_segment_trains_that_one_alone(plan):
    request = plan("asset_triggered", WEB, more=DIVIDED)
    assert (request["segments"], request["segment_answers"], request["answers"]) == (("web",), ("request:2",), ())
    # The pooled model was not asked for, and is not made to train again.
    assert (request["force"], request["reason"]) == (False, "drift in web")


def test_requests_for_the_pool_and_for_segments_are_answered_each_by_its_own(plan):
    request = plan("scheduled", ASKED, WEB, more=DIVIDED)
    assert request["segments"] == ("all", "web")
    assert (request["answers"], request["segment_answers"], request["force"]) == (("request:1",), ("request:2",), True)


def test_form_names_segments_and_a_run_by_hand_trains_all(plan):
    assert plan("manual", params={"segments": ["web", "all"]}, more=DIVIDED)["segments"] == ("web", "all")
    assert plan("manual")["segments"] is None


def test_request_of_a_segment_is_answered_by_its_verdict_or_its_retirement(plan):
    request = plan("asset_triggered", WEB, more=DIVIDED)
    settings = steps.open_workspace().settings
    answers = {"answers": list(request["segment_answers"])}
    ledger.record(ledger.Entry(WEB.key, "segment", "segment:1", "a", "retired", NIGHT, details=answers), settings)
    with pytest.raises(AirflowSkipException, match="none is waiting"):
        plan("scheduled")
