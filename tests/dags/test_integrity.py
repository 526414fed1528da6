"""What holds for every DAG."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.dags.conftest import fill_bag

DAGS = {
    "backtest_flight_delay",
    "ingest_flight_delay",
    "monitor_flight_delay",
    "record_flight_delay",
    "replay_flight_delay",
    "rollout_flight_delay",
    "score_flight_delay",
    "train_flight_delay",
}
SMALL = """
name: {name}
owner: someone
description: A small valid spec.
task: binary
source: {{python: rows}}
keys: [id]
event_time: at
label: {{column: y}}
"""


def test_every_file_imports(bag):
    assert bag.import_errors == {}
    assert set(bag.dags) == DAGS


@pytest.mark.parametrize("dag_id", sorted(DAGS))
def test_dag_is_documented_owned_and_bounded(bag, dag_id):
    dag = bag.dags[dag_id]
    assert dag.doc_md
    assert dag.doc_md.startswith("# ")
    assert {"ratchet", "flight_delay"} <= set(dag.tags)
    assert dag.owner == "flight-operations"
    assert dag.start_date.tzinfo is not None
    assert dag.start_date == datetime(2013, 1, 1, 5, tzinfo=UTC)
    assert dag.catchup is False
    assert dag.max_active_runs <= 4


@pytest.mark.parametrize("dag_id", sorted(DAGS))
def test_task_retries_what_passes_and_is_documented(bag, dag_id):
    for task in bag.dags[dag_id].tasks:
        assert task.retries >= 2, task.task_id
        assert task.retry_policy is not None, task.task_id
        assert task.doc_md, task.task_id
        if task.task_id != "approve":
            assert task.execution_timeout == timedelta(hours=2), task.task_id


def test_assets_that_are_consumed_are_known(bag):
    produced = {asset.uri for dag in bag.dags.values() for task in dag.tasks for asset in task.outlets}
    names = ("champion", "data", "requests", "retraining", "scores")
    assert produced == {f"ratchet://flight_delay/{name}" for name in names}
    consumed = {asset.uri for asset in bag.dags["train_flight_delay"].timetable.asset_condition.objects}
    # Requests are written by people and monitors; new data alone, a backfill's above all, wakes no training.
    assert consumed == {"ratchet://flight_delay/retraining"}


def test_broken_spec_is_said_and_leaves_the_others_alone(own_models):
    own_models("fine", SMALL.format(name="fine"))
    own_models("broken", SMALL.format(name="broken").replace("task: binary", "task: binery"))
    found = fill_bag()
    assert set(found.dags) == DAGS | {f"{name.split('_')[0]}_fine" for name in DAGS}
    ((path, words),) = found.import_errors.items()
    assert path.endswith("specs.py")
    assert "broken/model.yaml:5: task: found 'binery'" in words
    assert "did you mean 'binary'?" in words


def test_running_task_builds_only_its_own_dag(own_models, monkeypatch):
    own_models("other", SMALL.format(name="other"))
    own_models("broken", "name: [")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "train_other")
    found = fill_bag()
    assert set(found.dags) == {"train_other"}
    assert found.import_errors == {}
