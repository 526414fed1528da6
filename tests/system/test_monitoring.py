"""The whole loop on a real scheduler: traffic changes, the monitor asks, a training answers, and the alarm clears."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from include.ratchet.monitoring import store
from include.ratchet.registry import ledger
from include.ratchet.registry.versions import find_by_training
from include.ratchet.spec import ModelKey
from tests.system.conftest import change_spec

pytestmark = pytest.mark.system

NAME = "flight_watched"
KEY = ModelKey(NAME)
TRAIN = f"train_{NAME}"


def live(stack, first, last):
    """Days land and are answered by the champion."""
    stack.run(f"ingest_{NAME}", {"first": first, "last": last})
    stack.run(f"score_{NAME}", {"first": first, "last": last})


def watch(stack, first, last, as_of):
    return stack.run(f"monitor_{NAME}", {"first": first, "last": last, "as_of": as_of})


def change_world(stack, **days):
    world = {day.replace("_", "-")[1:]: change for day, change in days.items()}
    (stack.settings.models_dir / NAME / "world.json").write_text(json.dumps(world))


def champion(stack):
    return ledger.read_aliases(KEY, stack.settings)[ledger.CHAMPION].version


def incident(stack):
    return store.read_incidents(KEY, stack.settings)[-1]


def test_changed_traffic_leads_to_a_new_champion_and_the_alarm_clears(stack):
    stack.run(f"ingest_{NAME}", {"first": "2013-01-01", "last": "2013-02-04"})
    stack.run(TRAIN, {"as_of": "2013-02-05", "window": "35d"})
    assert champion(stack) == 1
    change_world(stack, d2013_02_05="turned")
    live(stack, "2013-02-05", "2013-02-22")
    known = stack.woken(TRAIN)
    run_id = watch(stack, "2013-02-05", "2013-02-22", "2013-02-23")
    assert "performance" in incident(stack).kinds
    assert len(stack.slack.about(f"{NAME}: incident 1 opened")) == 1
    assert stack.tasks(f"monitor_{NAME}", run_id)["report"]["state"] == "success"
    training, state = stack.await_woken(TRAIN, known)
    assert state == "success", stack.explain(TRAIN, training)
    version = find_by_training(KEY, training, stack.settings)
    assert version is not None
    assert champion(stack) == version.number == 2
    (request,) = [row for row in ledger.history(KEY, stack.settings) if row.kind == "request"]
    assert "performance" in request.details["cause"]
    assert any("roc_auc" in words for words in request.details["signals"])
    assert ledger.pending_requests(KEY, stack.settings) == ()
    tags = MlflowClient(stack.layout.mlflow_url, stack.layout.mlflow_url).get_model_version(NAME, "2").tags
    assert json.loads(tags["ratchet.requests"])[0]["request"] == request.idempotency_key
    path = f"/dags/{TRAIN}/dagRuns/{training}/taskInstances/plan_training/links"
    links = stack.client.request("GET", path)["extra_links"]
    assert f"/dags/monitor_{NAME}/runs/manual" in links["What asked for it"]
    live(stack, "2013-02-23", "2013-02-25")
    for day in (23, 24, 25):
        watch(stack, f"2013-02-{day}", f"2013-02-{day}", f"2013-02-{day + 1}")
    assert not incident(stack).is_open, incident(stack)
    assert len(stack.slack.about(f"{NAME}: incident 1 closed")) == 1


def test_history_is_replayed_under_other_policies_and_nothing_moves(stack):
    """The form's days and policies are replayed; the page has what the recommendation says."""
    before, dag = ledger.history(KEY, stack.settings), f"backtest_{NAME}"
    run_id = stack.run(dag, {"from": "2013-01-28", "to": "2013-02-20", "policies": "never, weekly",
                             "candidate": "logistic"})  # fmt: skip
    report = stack.client.xcom(dag, run_id, "backtest")
    assert {name: one["fits"] for name, one in report["policies"].items()} == {"never": 1, "weekly": 4, "nightly": 24}
    assert report["pays"] != ("Retraining does not pay" in report["reason"])
    section = yaml.safe_load(stack.client.xcom(dag, run_id, "recommend"))
    assert (section["schedule"]["train"] is None) == (report["policy"] in {None, "never"})
    page = Path(report["report"]) / "index.html"
    assert report["reason"] in html.unescape(page.read_text())
    links = stack.client.request("GET", f"/dags/{dag}/dagRuns/{run_id}/taskInstances/backtest/links")["extra_links"]
    assert links["Backtest"].endswith("/".join(page.parts[-4:]))
    assert ledger.history(KEY, stack.settings) == before


def test_candidate_that_fails_its_gates_leaves_production_and_calls_people(stack):
    change_spec(stack.settings.models_dir / NAME, gates={"min_metric": 0.99})
    change_world(stack, d2013_02_05="turned", d2013_02_26="plain")
    live(stack, "2013-02-26", "2013-03-08")
    known = stack.woken(TRAIN)
    watch(stack, "2013-02-26", "2013-03-07", "2013-03-08")
    training, state = stack.await_woken(TRAIN, known)
    assert state == "failed"
    version = find_by_training(KEY, training, stack.settings)
    assert version is not None
    assert version.outcome == "reject"
    assert champion(stack) == 2
    assert stack.slack.about(f"{NAME}: version {version.number} was refused by the gates")
    watch(stack, "2013-03-08", "2013-03-08", "2013-03-09")
    assert incident(stack).worst == "escalate"
    assert stack.slack.about("people are needed")
    assert set(stack.woken(TRAIN)) == {*known, training}
    assert stack.slack.refused == []
