"""The life of a model on a real stack: a few weeks of real flights, in the order in which they happen."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import psutil
import pytest
from mlflow import MlflowClient

from include.ratchet.cli.live import Life
from include.ratchet.cli.runs import Runs
from include.ratchet.cli.traffic import read_questions
from include.ratchet.data.connections import EnvironmentConnections
from include.ratchet.data.records import RecordTable
from include.ratchet.data.tables import Table
from include.ratchet.errors import StackError
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.versions import find_by_training
from include.ratchet.spec import ModelKey, get_model, partition_of, partitions_between
from include.ratchet.stack.backfill import backfill_model
from include.ratchet.stack.client import FINISHED
from include.ratchet.stack.control import read_status

pytestmark = pytest.mark.system

KEY = ModelKey("flight_delay")
WEEKS = {"first": "2013-01-01", "last": "2013-02-04"}
AS_OF = "2013-02-05"
LIVE_DAYS = ("2013-02-05", "2013-02-08")


def champion(stack):
    state = ledger.read_aliases(KEY, stack.settings).get(ledger.CHAMPION)
    return state.version if state else None


def mlflow_champion(stack, name="flight_delay"):
    client = MlflowClient(stack.layout.mlflow_url, stack.layout.mlflow_url)
    aliases = client.get_registered_model(name).aliases
    return int(aliases["champion"]) if "champion" in aliases else None


def wait_for_running(stack, dag_id, run_id, task):
    """The process of a task that has just begun."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        for name, one in stack.tasks(dag_id, run_id).items():
            if name.startswith(task) and one["state"] == "running" and one["pid"]:
                return one["pid"]
        time.sleep(0.1)
    raise AssertionError(stack.tasks(dag_id, run_id))


def test_weeks_of_flights_lead_to_a_champion(stack):
    stack.run("ingest_flight_delay", WEEKS)
    counts = Table(stack.settings, "flight_delay", "flight_delay").row_counts()
    assert len(counts) == 35
    assert counts["2013-01-01"] == 842
    run_id = stack.run("train_flight_delay", {"as_of": AS_OF, "reason": "first"})
    version = find_by_training(KEY, run_id, stack.settings)
    assert version is not None
    assert version.outcome == "promote"
    assert version.metrics["roc_auc"] > 0.6
    assert champion(stack) == mlflow_champion(stack) == version.number
    (message,) = stack.slack.about("is the new champion")
    assert "version 1" in message["text"]
    assert stack.slack.refused == []


def test_servers_listen_on_this_machine_alone(stack):
    processes = psutil.Process(read_status(stack.layout.home).pid).children(recursive=True)
    heard = set()
    for one in processes:
        with suppress(psutil.NoSuchProcess):  # one that parsed a file and is gone
            heard |= {c.laddr for c in one.net_connections() if c.status == psutil.CONN_LISTEN}
    assert {address.ip for address in heard} == {"127.0.0.1"}
    assert {address.port for address in heard} == set(stack.layout.ports.values())


def test_training_again_on_the_same_data_is_skipped(stack):
    before = champion(stack)
    run_id = stack.run("train_flight_delay", {"as_of": AS_OF})
    tasks = stack.tasks("train_flight_delay", run_id)
    assert tasks["prepare.take_snapshot"]["state"] == "skipped"
    assert champion(stack) == before


def test_night_without_data_is_skipped(stack):
    run_id = stack.run("train_flight_delay", {"as_of": "2026-01-01"})
    assert stack.tasks("train_flight_delay", run_id)["plan_training"]["state"] == "skipped"
    run_id = stack.run("ingest_flight_delay", {"first": "2026-01-01", "last": "2026-01-01"})
    assert stack.tasks("ingest_flight_delay", run_id)["partitions.land[0]"]["state"] == "skipped"


def test_bad_candidate_is_refused_at_once_and_said_once(stack):
    stack.run("ingest_flight_strict", WEEKS)
    run_id = stack.start("train_flight_strict", {"as_of": AS_OF})
    assert stack.finish("train_flight_strict", run_id) == "failed"
    tasks = stack.tasks("train_flight_strict", run_id)
    assert tasks["judge.decide"]["state"] == "failed"
    assert tasks["judge.decide"]["try_number"] == 1
    assert tasks["promote"]["state"] == "upstream_failed"
    version = find_by_training(ModelKey("flight_strict"), run_id, stack.settings)
    assert version is not None
    assert version.outcome == "reject"
    assert mlflow_champion(stack, "flight_strict") is None
    time.sleep(5)  # time enough for a second message by the run's own callback
    about_data = "data is not as expected"
    others = (about_data, "is late")
    (message,) = [one for one in stack.slack.about("flight_strict") if not any(w in one["text"] for w in others)]
    assert "refused by the gates" in message["text"]
    assert "minimum metric" in message["blocks"]
    assert stack.slack.refused == []


def test_run_that_is_late_is_said(stack):
    """The strict model's deadline passes at once."""
    deadline = time.monotonic() + 120
    while not stack.slack.about("flight_strict: a run of train_flight_strict is late"):
        assert time.monotonic() < deadline, [message["text"] for message in stack.slack.messages]
        time.sleep(1)


def test_promotion_waits_for_a_person_who_is_asked(stack):
    key, dag_id = ModelKey("flight_approved"), "train_flight_approved"
    stack.run("ingest_flight_approved", WEEKS)
    run_id = stack.start(dag_id, {"as_of": AS_OF})
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    deadline = time.monotonic() + 240
    while stack.tasks(dag_id, run_id)["approve"]["state"] in {None, "scheduled", "queued", "running"}:
        assert time.monotonic() < deadline, stack.explain(dag_id, run_id)
        time.sleep(0.5)
    assert ledger.read_aliases(key, stack.settings) == {}
    # Airflow 3.3.2 takes an answer within the seconds in which its worker leaves for a lost task, and asks again.
    while stack.client.run(dag_id, run_id)["state"] not in FINISHED:
        assert time.monotonic() < deadline, stack.explain(dag_id, run_id)
        if stack.tasks(dag_id, run_id)["approve"]["state"] == "awaiting_input":
            with suppress(StackError):
                stack.client.request("PATCH", path, json={"chosen_options": ["Decline"], "params_input": {}})
        time.sleep(1)
    assert stack.client.run(dag_id, run_id)["state"] == "success"
    assert stack.tasks(dag_id, run_id)["promote"]["state"] == "skipped"
    entry = ledger.history(key, stack.settings)[-1]
    assert (entry.kind, entry.actor) == ("approval", "admin")
    assert ledger.read_aliases(key, stack.settings) == {}
    assert stack.slack.about("flight_approved: version 1 was not approved")


def test_backfill_is_complete_on_its_outputs_and_moves_nothing(stack):
    before, trained = champion(stack), len(ledger.history(KEY, stack.settings))
    model = get_model(stack.settings.models_dir, "flight_delay")
    table = Table(stack.settings, "flight_delay", "flight_delay")
    counts = table.row_counts()
    report = backfill_model(stack.settings, model, "2013-02-05", "2013-02-11", train=False, progress=lambda *_: None)
    assert (report.partitions, report.landed, report.missing) == (7, 7, ())
    assert {key: rows for key, rows in table.row_counts().items() if key in counts} == counts
    # New data by a backfill wakes no training (apache/airflow #52665).
    assert len(ledger.history(KEY, stack.settings)) == trained
    report = backfill_model(stack.settings, model, "2013-02-10", "2013-02-11", train=True, progress=lambda *_: None)
    failed = [run_id for run_id, state in report.trainings.items() if state != "success"]
    assert not failed, stack.explain("train_flight_delay", failed[0])
    assert len(report.trainings) == 2
    held = [entry for entry in ledger.history(KEY, stack.settings)[trained:] if entry.kind == "verdict"]
    assert len(held) == 2
    assert all("may move production" in entry.reason for entry in held)
    assert champion(stack) == mlflow_champion(stack) == before


def test_killed_task_is_run_again_to_the_same_end(stack):
    run_id = stack.start("train_flight_delay", {"as_of": "2013-02-12", "force": True})
    os.kill(wait_for_running(stack, "train_flight_delay", run_id, "search.run_trials"), signal.SIGKILL)
    state = stack.finish("train_flight_delay", run_id)
    assert state == "success", stack.explain("train_flight_delay", run_id)
    trials = stack.tasks("train_flight_delay", run_id)["search.run_trials[0]"]
    assert trials["try_number"] > 1
    version = find_by_training(KEY, run_id, stack.settings)
    assert version is not None
    assert champion(stack) == mlflow_champion(stack) == version.number


def test_killed_scheduler_is_restarted_and_the_run_ends(stack):
    run_id = stack.start("train_flight_delay", {"as_of": "2013-02-12", "force": True})
    wait_for_running(stack, "train_flight_delay", run_id, "prepare.take_snapshot")
    scheduler = next(part for part in read_status(stack.layout.home).components if part.name == "scheduler")
    os.kill(scheduler.pid, signal.SIGKILL)
    state = stack.finish("train_flight_delay", run_id, timeout_s=420)
    assert state == "success", stack.explain("train_flight_delay", run_id)
    after = next(part for part in read_status(stack.layout.home).components if part.name == "scheduler")
    assert after.restarts == 1
    assert after.pid != scheduler.pid
    verdicts = [entry for entry in ledger.history(KEY, stack.settings) if run_id in entry.idempotency_key]
    assert [entry.kind for entry in verdicts] == ["verdict", "promotion"]


def test_lost_event_is_caught_up_from_the_ledger(stack):
    """A request stands in the ledger; its event never came (apache/airflow #56050). The next run answers it."""
    asked = datetime(2013, 2, 12, 5, tzinfo=UTC)
    ledger.record(
        ledger.Entry(KEY, "request", "request:flight_delay:test", "a test", "drift in weather", asked, as_of=asked),
        stack.settings,
    )
    assert len(ledger.pending_requests(KEY, stack.settings)) == 1
    run_id = stack.run("train_flight_delay", {})
    version = find_by_training(KEY, run_id, stack.settings)
    assert version is not None
    assert version.as_of == asked
    assert ledger.pending_requests(KEY, stack.settings) == ()


def test_revert_goes_back_to_the_previous_champion(stack):
    from include.ratchet.rollout.orders import Order
    from include.ratchet.rollout.revert import revert

    back = revert(stack.settings, KEY, Order("a test", "complaints", datetime.now(UTC)))
    assert champion(stack) == mlflow_champion(stack) == back.after != back.before


def approve_when_asked(stack, dag_id, timeout_s=300):
    """Say yes in Airflow to the first run that asks for a person's word, until that has been heard."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for run in stack.client.pages(f"/dags/{dag_id}/dagRuns", "dag_runs"):
            run_id = run["dag_run_id"]
            state = stack.tasks(dag_id, run_id).get("approve", {}).get("state")
            # Airflow 3.3.2 takes an answer in the seconds in which its worker leaves for a lost task, and asks again.
            if state == "awaiting_input":
                path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
                with suppress(StackError):
                    stack.client.request("PATCH", path, json={"chosen_options": ["Approve"], "params_input": {}})
            if state == "success":
                return run_id
        time.sleep(1)
    raise AssertionError(dag_id)


def test_days_of_traffic_hand_a_version_over(stack):
    """Live requests and labels, a retraining, shadow, canary, a person's word, promotion, revert and replay."""
    name, key = "flight_handed", ModelKey("flight_handed")
    stack.run(f"ingest_{name}", WEEKS)
    stack.run(f"train_{name}", {"as_of": AS_OF})
    model = get_model(stack.settings.models_dir, name)
    workspace = Workspace(stack.settings, EnvironmentConnections({}), lambda: datetime.now(UTC))
    days = list(partitions_between(model.spec, *(partition_of(model.spec, day) for day in LIVE_DAYS)))
    runs = Runs(stack.client, stack.layout, time.monotonic())
    life = Life(runs, workspace, model, days, LIVE_DAYS[0], read_questions(workspace, model, days))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(approve_when_asked, stack, f"rollout_{name}")
        found = life.live()
    asked.result()
    assert found["requests"] == len(life.questions) > 3000
    assert found["labels"] == found["by_version"]["1"]["labelled"] + found["by_version"]["2"]["labelled"]
    watched = found["watched"]
    assert [one["partition"] for one in watched] == [day.key for day in days]
    assert all(one["rows"] > 500 and one["metric"] > 0.3 for one in watched), watched
    stages = [(one["action"], one["stage"]) for one in found["rollout"]]
    assert stages == [("advance", "canary 50 %"), ("ask", "canary 50 %"), ("finish", "canary 100 %")], found["rollout"]
    kinds = [entry.kind for entry in ledger.history(key, stack.settings)]
    assert kinds.count("promotion") == 2
    assert kinds[-1] == "revert"
    assert ledger.read_aliases(key, stack.settings)[ledger.CHAMPION].version == 1
    assert mlflow_champion(stack, name) == 1
    assert found["reverted"]["seconds"] < 2
    assert found["replayed"]["is_identical"]
    assert len(stack.slack.about(f"{name}: version 2 is the new champion")) == 1
    records = RecordTable(stack.settings, model, "requests").between(
        days[0].start, days[-1].end, ["request_id", "route"]
    )
    answered = [row["request_id"] for row in records.to_pylist() if row["route"] != "shadow"]
    assert set(answered) >= {question.id for question in life.questions}


def test_records_are_kept_scored_and_replayed_in_airflow(stack):
    name, (first, last) = "flight_handed", LIVE_DAYS
    model = get_model(stack.settings.models_dir, name)
    stack.run(f"record_{name}", {"partition": first})
    run_id = stack.run(f"score_{name}", {"first": first, "last": first})
    assert stack.tasks(f"score_{name}", run_id)["publish"]["state"] == "success"
    scored = RecordTable(stack.settings, model, "scores").row_counts()
    assert scored == {first: Table(stack.settings, name, name).row_counts()[first]}
    run_id = stack.run(f"replay_{name}", {"from": first, "to": last, "with_version": 2})
    report = stack.client.xcom(f"replay_{name}", run_id, "replay")
    assert report["is_identical"]
    assert report["what_if"]
    # Records that arrive wake the monitor, which looks at their partition.
    woken, state = stack.await_woken(f"monitor_{name}")
    assert state == "success", stack.explain(f"monitor_{name}", woken)
    (batch,) = stack.client.xcom(f"monitor_{name}", woken, "plan")
    assert [look["partition"] for look in batch["looks"]] == [first]
