"""The shape of each kind of DAG, and when it runs."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.dags.conftest import PROJECT, fill_bag


def edges(dag):
    return {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}


def test_ingestion_lands_then_validates_then_publishes(bag):
    assert edges(bag.dags["ingest_flight_delay"]) == {
        "plan_partitions": {"partitions.land"},
        "partitions.land": {"partitions.validate"},
        "partitions.validate": {"publish", "materialise"},
        "publish": set(),
        "materialise": set(),
    }


def test_scoring_follows_the_partitions_of_ingestion(bag):
    dag = bag.dags["score_flight_delay"]
    assert edges(dag) == {"plan_partitions": {"score"}, "score": {"publish"}, "publish": set()}
    assert type(dag.timetable).__name__ == "PartitionedAssetTimetable"
    assert dag.timetable.asset_condition.name == "flight_delay_data"
    assert dag.get_task("publish").trigger_rule == "none_failed_min_one_success"
    assert set(dag.params) == {"first", "last"}


def test_replay_runs_only_when_it_is_asked(bag):
    dag = bag.dags["replay_flight_delay"]
    assert edges(dag) == {"replay": {"compare"}, "compare": set()}
    assert dag.schedule is None
    assert set(dag.params) == {"request_id", "from", "to", "segment", "with_version", "records"}


def test_monitoring_acts_without_waiting_for_a_drawing(bag):
    dag = bag.dags["monitor_flight_delay"]
    assert edges(dag) == {
        "plan": {"profile"}, "profile": {"compare"}, "compare": {"judge"}, "judge": {"act", "report"}, "act": set(),
        "report": set(),
    }  # fmt: skip
    assert [asset.name for asset in dag.get_task("act").outlets] == ["flight_delay_retraining"]
    assert dag.get_task("profile").is_mapped
    assert dag.max_active_runs == 1


def test_backtest_runs_only_when_it_is_asked(bag):
    dag = bag.dags["backtest_flight_delay"]
    assert edges(dag) == {"backtest": {"recommend"}, "recommend": set()}
    assert dag.schedule is None
    assert set(dag.params) == {"from", "to", "policies", "candidate", "params", "max_rows"}
    assert [link.name for link in dag.get_task("backtest").operator_extra_links] == ["Backtest"]


def test_persons_can_be_erased_where_the_spec_says_who_they_are(bag, own_models):
    assert "erase_flight_delay" not in bag.dags
    spec = (PROJECT / "include/models/flight_delay/model.yaml").read_text()
    spec = spec.replace("name: flight_delay", "name: flights_personal")
    own_models("flights_personal", f"{spec}\nprivacy: {{subject: tail_number}}\n")
    dag = fill_bag().dags["erase_flights_personal"]
    assert edges(dag) == {"erase": {"ask"}, "ask": set()}
    assert [asset.name for asset in dag.get_task("ask").outlets] == ["flights_personal_retraining"]
    assert dag.schedule is None
    assert set(dag.params) == {"subject", "reason", "retrain"}


def test_promotion_comes_after_every_check(bag):
    dag = bag.dags["train_flight_delay"]
    upstream = dag.get_task("promote").get_flat_relative_ids(upstream=True)
    assert upstream == {
        "plan_training", "prepare.take_snapshot", "prepare.validate_snapshot", "search.plan_trials",
        "search.run_trials", "judge.fit", "judge.evaluate", "judge.register", "judge.decide",
    }  # fmt: skip
    # A candidate is registered before it is refused, so that a refusal can be inspected.
    assert "judge.register" in dag.get_task("judge.decide").get_flat_relative_ids(upstream=True)


def test_hand_over_looks_every_hour_and_asks_only_where_the_spec_wants_it(bag, own_models):
    dag = bag.dags["rollout_flight_delay"]
    assert edges(dag) == {"look": {"announce"}, "announce": set()}
    assert dag.timetable.timetable.expression == "0 * * * *"
    assert [asset.uri for asset in dag.timetable.asset_condition.objects] == ["ratchet://flight_delay/requests"]
    assert dag.params.get_param("action").schema["enum"] == [None, "look", "advance", "pause", "resume", "revert"]
    assert set(dag.params) == {"action", "segment", "as_of", "reason"}
    spec = (PROJECT / "include/models/flight_delay/model.yaml").read_text()
    asked = spec.replace("name: flight_delay", "name: flights_asked")
    asked = asked.replace("rollout:\n", "rollout:\n  approval: {required: true}\n")
    own_models("flights_asked", asked)
    dag = fill_bag().dags["rollout_flights_asked"]
    assert edges(dag) == {
        "look": {"need_person", "answer", "announce"},
        "need_person": {"approve"},
        "approve": {"answer"},
        "answer": {"announce"},
        "announce": set(),
    }
    # Nobody is asked in most runs; what was found is announced all the same.
    assert dag.get_task("announce").trigger_rule == "none_failed_min_one_success"


def test_trials_are_mapped(bag):
    from airflow.sdk.definitions.mappedoperator import MappedOperator

    assert isinstance(bag.dags["train_flight_delay"].get_task("search.run_trials"), MappedOperator)


def test_form_of_training_offers_what_a_request_has(bag):
    params = bag.dags["train_flight_delay"].params
    assert set(params) == {"as_of", "window", "strategy", "trials", "force", "reason"}
    assert params.get_param("strategy").schema["enum"] == [None, "grid", "random", "tpe", "halving"]


def test_ingestion_of_a_day_has_its_local_date_as_key(bag):
    """Days begin in New York: the run of 5 January, at 6 January 05:00 UTC, is about the 5th."""
    from airflow.timetables.trigger import CronPartitionTimetable

    declared = bag.dags["ingest_flight_delay"].timetable
    timetable = CronPartitionTimetable(
        declared.expression, timezone=declared.timezone, run_offset=declared.run_offset, key_format=declared.key_format
    )
    infos = list(
        timetable.iter_partition_dagrun_infos(
            earliest=datetime(2013, 3, 9, tzinfo=UTC), latest=datetime(2013, 3, 11, tzinfo=UTC)
        )
    )
    # Across the change to summer time no day is lost or doubled.
    assert [info.partition_key for info in infos] == ["2013-03-09", "2013-03-10", "2013-03-11"]


def test_model_that_trains_only_on_request_still_looks_every_night(own_models):
    """An event can be lost (apache/airflow #56050); the night finds the request in the ledger."""
    own_models("flights_asked", (PROJECT / "include/models/flight_delay/model.yaml").read_text()
               .replace("name: flight_delay", "name: flights_asked") + "schedule: {train: null}\n")  # fmt: skip
    bag = fill_bag()
    for name in ("flights_asked", "flight_delay"):
        timetable = bag.dags[f"train_{name}"].timetable
        assert timetable.timetable.expression == "0 6 * * *"
        (asset,) = timetable.asset_condition.objects
        assert asset.name == f"{name}_retraining"


DIVIDED = "segments: {by: carrier, min_rows: 2000%s}\n"


def divided(own_models, name, more="", gates=""):
    """The DAG that trains a model by carrier."""
    spec = (
        (PROJECT / "include/models/flight_delay/model.yaml").read_text().replace("name: flight_delay", f"name: {name}")
    )
    spec = spec.replace("gates:\n", f"gates:\n{gates}").replace("  strategy: canary\n", "  strategy: direct\n")
    own_models(name, spec + DIVIDED % more)
    bag = fill_bag()
    assert bag.import_errors == {}
    return bag.dags[f"train_{name}"]


def test_segments_are_trained_after_the_pool_whatever_becomes_of_it(own_models):
    dag = divided(own_models, "flights_each")
    assert edges(dag)["promote"] == {"segments.plan_segments"}
    assert edges(dag)["segments.train_segments"] == {"segments.report_segments"}
    assert edges(dag)["segments.report_segments"] == {"announce_segments"}
    rules = {name: dag.get_task(f"segments.{name}").trigger_rule for name in ("plan_segments", "report_segments")}
    assert set(rules.values()) == {"all_done"}
    # A batch of segments that failed is reported; a run whose table says so is not announced.
    assert dag.get_task("announce_segments").trigger_rule == "all_success"
    assert [one.uri for one in dag.get_task("announce_segments").outlets] == ["ratchet://flights_each/champion"]
    assert "segments" in dag.params


def test_segments_that_move_together_wait_for_one_another(own_models):
    dag = divided(own_models, "flights_together", more=", together: true")
    assert edges(dag)["judge.decide"] == {"segments.plan_segments"}
    assert edges(dag)["segments.report_segments"] == {"promote_segments"}
    assert edges(dag)["promote_segments"] == set()
    assert dag.get_task("segments.plan_segments").trigger_rule == "none_failed"
    assert "promote" not in dag.task_ids


def test_a_person_is_asked_once_for_all_segments(own_models):
    dag = divided(own_models, "flights_asked", gates="  approval: {required: true}\n")
    assert edges(dag)["segments.report_segments"] == {"approve"}
    assert edges(dag)["approve"] == {"promote_segments"}
    assert "segments.report_segments" in dag.get_task("approve").body


def test_without_a_pool_there_is_no_whole_model_to_train(own_models):
    dag = divided(own_models, "flights_alone", more=", pool: false")
    assert edges(dag)["prepare.validate_snapshot"] == {"segments.plan_segments"}
    assert not [name for name in dag.task_ids if name.startswith(("search", "judge", "promote"))]
