"""OpenLineage events of real runs, at a real receiver: what they say, their form, and a receiver that fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from include.ratchet.exports import FACETS
from include.ratchet.registry.database import upgrade
from include.ratchet.settings import PROJECT
from include.ratchet.spec.scaffold import make_model
from tests.include.ratchet.orchestration.events import (
    EVENT,
    client_schemas,
    facets_of,
    official_documents,
    receive,
)

DATASET_FACET = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/DatasetFacet"
OURS = "ratchet_modelVersion"
LIFE = [
    ("ingest_orders", {"first": "2025-12-20", "last": "2026-02-28"}),
    ("train_orders", {"as_of": "2026-03-01", "trials": 2, "strategy": "random"}),
    ("score_orders", {"first": "2026-02-28"}),
]
ONE_DAY = [("ingest_orders", {"first": "2026-02-28"})]


def live(folder: Path, runs, transport):
    """Run DAGs of a model of the folder's own in another process; the states of their tasks, and what was loaded."""
    home = folder / "home"
    make_model(folder / "models", "orders")
    home.mkdir()
    upgrade(f"sqlite:///{home}/ratchet.db")
    known = {name: value for name, value in os.environ.items() if not name.startswith(("RATCHET", "OPENLINEAGE"))}
    known |= {
        "AIRFLOW_HOME": str(folder / "airflow"), "AIRFLOW__API_AUTH__JWT_SECRET": "a" * 64,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db", "PYTHONPATH": str(PROJECT),
        "RATCHET_HOME": str(home), "RATCHET_MODELS_DIR": str(folder / "models"), "RUNS": json.dumps(runs),
        **({"AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport)} if transport else {}),
    }  # fmt: skip
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True, env=known)
    done = subprocess.run(
        [sys.executable, "-m", "tests.include.ratchet.orchestration.emit"], check=False, capture_output=True, text=True,
        cwd=PROJECT, env=known,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    return json.loads(line.removeprefix("RESULT "))


def over_http(url):
    return {"type": "http", "url": url, "timeout": 5, "retry": {"total": 0}}


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """The events of a first month, a training and a scoring, and the states of the tasks."""
    folder = tmp_path_factory.mktemp("lineage")
    with receive() as receiver:
        found = live(folder, LIFE, over_http(receiver.url))
    return receiver.events, found["states"], folder / "home"


def ended(events, job):
    return next(one for one in events if one["job"]["name"] == job and one["eventType"] == "COMPLETE")


def short(datasets, home):
    return [one["name"].removeprefix(f"{home}/store/") for one in datasets]


def test_every_task_is_told_from_start_to_end(life):
    events, states, _ = life
    told = {(one["job"]["name"], one["eventType"]) for one in events}
    for dag, tasks in states.items():
        assert set(tasks.values()) == {"success"}
        for task in tasks:
            assert {(f"{dag}.{task}", "START"), (f"{dag}.{task}", "COMPLETE")} <= told


def test_data_flow_from_tables_over_snapshot_and_version_to_scores(life):
    events, _, home = life

    def flow(job):
        event = ended(events, job)
        return short(event["inputs"], home), short(event["outputs"], home)

    (snapshot,) = flow("train_orders.prepare.take_snapshot")[1]
    assert snapshot.startswith("snapshots/orders/")
    assert flow("ingest_orders.partitions.land") == ([], ["tables/orders/orders"])
    assert flow("ingest_orders.partitions.validate") == (["tables/orders/orders"], [])
    assert flow("train_orders.prepare.take_snapshot") == (["tables/orders/orders"], [snapshot])
    for task in ("prepare.validate_snapshot", "search.run_trials", "judge.fit", "judge.evaluate"):
        assert flow(f"train_orders.{task}") == ([snapshot], [])
    assert flow("train_orders.judge.register") == ([snapshot], ["orders"])
    assert flow("train_orders.promote") == (["orders"], ["orders@champion"])
    assert flow("score_orders.score") == (["tables/orders/orders", "orders"], ["scores/orders"])


def test_a_landed_table_has_version_schema_rows_and_what_validation_found(life):
    events, _, _ = life
    (landed,) = ended(events, "ingest_orders.partitions.land")["outputs"]
    facets = landed["facets"]
    assert landed["namespace"] == "file"
    assert facets["version"]["datasetVersion"] == "0"
    assert {one["name"]: one["type"] for one in facets["schema"]["fields"]}["price"] == "double"
    assert facets["symlinks"]["identifiers"] == [{"namespace": "ratchet", "name": "orders.orders", "type": "TABLE"}]
    assert landed["outputFacets"]["outputStatistics"]["rowCount"] == 200 * 71
    (validated,) = ended(events, "ingest_orders.partitions.validate")["inputs"]
    checks = validated["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert validated["inputFacets"]["dataQualityMetrics"]["rowCount"] == 200 * 71
    assert all(one["success"] for one in checks)
    assert ("order_id", "expect_column_values_to_not_be_null", "error") in {
        (one.get("column"), one["assertion"], one["severity"]) for one in checks
    }


def test_a_version_says_what_made_it(life):
    events, _, home = life
    (version,) = ended(events, "train_orders.judge.register")["outputs"]
    facet = version["facets"][OURS]
    (snapshot,) = ended(events, "train_orders.prepare.take_snapshot")["outputs"]
    assert version["namespace"] == "mlflow://local"
    assert (facet["model"], facet["segment"], facet["version"], facet["verdict"]) == ("orders", "all", 1, "promote")
    assert facet["asOf"].startswith("2026-03-01T00:00:00")
    assert snapshot["name"] == f"{home}/store/snapshots/orders/{facet['snapshot']}/data.parquet"
    assert 0.5 < facet["metrics"]["roc_auc"] < 1
    (champion,) = ended(events, "train_orders.promote")["outputs"]
    assert champion["facets"][OURS] == {**facet, "alias": "champion"}


def test_a_snapshots_columns_lead_back_to_the_tables(life):
    (snapshot,) = ended(life[0], "train_orders.prepare.take_snapshot")["outputs"]
    lineage = snapshot["facets"]["columnLineage"]["fields"]
    columns = {one["name"] for one in snapshot["facets"]["schema"]["fields"]}
    assert set(lineage) <= columns
    taken = {name: {(one["field"], one["transformations"][0]["type"]) for one in found["inputFields"]}
             for name, found in lineage.items()}  # fmt: skip
    assert taken["price"] == {("price", "DIRECT")}
    assert taken["shop_return_rate_7d"] == {("is_returned", "DIRECT"), ("shop", "INDIRECT")}
    assert taken["is_returned"] == {("is_returned", "DIRECT")}


def test_events_have_the_form_that_the_official_client_gives_them(life):
    schemas = client_schemas()
    unknown = set()
    for event in life[0]:
        Draft202012Validator(schemas[EVENT]).validate(event)
        for name, facet in facets_of(event):
            schema = schemas.get(facet["_schemaURL"])
            if schema is None:
                unknown.add(name)
            else:
                Draft202012Validator(schema).validate(facet)
    assert unknown == {OURS}
    broken = {**life[0][0], "eventTime": 3}
    assert list(Draft202012Validator(schemas[EVENT]).iter_errors(broken))


def test_our_facet_has_the_form_of_its_schema(life):
    resource = Resource.from_contents(client_schemas()[DATASET_FACET], default_specification=DRAFT202012)
    documents = {"https://openlineage.io/spec/2-0-2/OpenLineage.json": {"$defs": {"DatasetFacet": resource.contents}}}
    registry = _registry({**documents, **official_documents()})
    facets = [facet for event in life[0] for name, facet in facets_of(event) if name == OURS]
    assert facets
    for facet in facets:
        address, _, place = facet["_schemaURL"].partition("#")
        path = FACETS / address.partition("/ratchet/facets/")[2]
        own = registry.with_resource(address, _resource(json.loads(path.read_text())))
        validator = Draft202012Validator({"$ref": f"{address}#{place}"}, registry=own)
        validator.validate(facet)
        for name in ("snapshot", "version", "_producer"):
            assert list(validator.iter_errors({key: value for key, value in facet.items() if key != name}))
        assert list(validator.iter_errors({**facet, "verdict": "maybe"}))


@pytest.mark.skipif(not official_documents(), reason="OPENLINEAGE_SPEC names no checkout of OpenLineage's spec")
def test_events_have_the_form_of_openlineages_own_schemas(life):
    documents = official_documents()
    registry = _registry(documents)
    for event in life[0]:
        Draft202012Validator({"$ref": EVENT}, registry=registry).validate(event)
        for name, facet in facets_of(event):
            if name != OURS:
                assert facet["_schemaURL"].partition("#")[0] in documents
                Draft202012Validator({"$ref": facet["_schemaURL"]}, registry=registry).validate(facet)


@pytest.mark.parametrize("status", [500, None], ids=["answers 500", "is down"])
def test_a_receiver_that_fails_fails_no_task(tmp_path, status):
    with receive(status or 201) as receiver:
        if status is None:
            receiver.close()
        found = live(tmp_path, ONE_DAY, over_http(receiver.url))
    assert set(found["states"]["ingest_orders"].values()) == {"success"}
    assert (receiver.asked > 0) == (status is not None)
    assert receiver.events == []


def test_without_a_transport_nothing_of_it_is_loaded(tmp_path):
    found = live(tmp_path, ONE_DAY, None)
    assert set(found["states"]["ingest_orders"].values()) == {"success"}
    assert found["loaded"] == []


def _registry(documents):
    return Registry().with_resources((address, _resource(content)) for address, content in documents.items())


def _resource(content):
    return Resource.from_contents(content, default_specification=DRAFT202012)
