"""Links from tasks to what they made: through real task runs, as Airflow's server reads them afterwards."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.sdk import dag

from include.ratchet.data.blobs import open_blobs
from include.ratchet.errors import ValidationFailedError
from include.ratchet.orchestration.links import (
    DOCS,
    MODEL,
    StepLink,
    docs_link,
    docs_links,
    link_docs,
    link_key,
    link_model,
)
from include.ratchet.orchestration.tasks import step
from include.ratchet.settings import PROJECT, Settings
from include.ratchet.spec import ModelKey, load_model
from include.ratchet.validation import ValidationReport
from tests.airflow_database import migrate

FLIGHTS = load_model(PROJECT / "include/models/flight_delay").spec


def make_settings(folder: Path, airflow_url: str = "http://airflow:8080") -> Settings:
    return Settings(folder, str(folder / "store"), folder, "", "http://mlflow:5000", airflow_url)


def make_report(settings: Settings, table: str = "orders") -> ValidationReport:
    page = open_blobs(settings).address(f"validation/orders/{table}/2013-01-01/run 1/index.html")
    return ValidationReport("orders", table, "2013-01-01", "run 1", "", 1, 1, (), (), "", page)


def run(step_function, links=(DOCS,)):
    """One run of a DAG of one task; returns the addresses that the server shows, by link, and the task's state."""
    migrate()

    @dag(schedule=None, start_date=datetime(2013, 1, 1, tzinfo=UTC))
    def linked():
        step(step_function, links=links)()

    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG

    made = linked()
    # A run needs its DAG in the database, where only those of the DAGs folder are put by themselves.
    DagBundlesManager().sync_bundles_to_db()
    lazy = LazyDeserializedDAG.from_dag(made)
    SerializedDAG.bulk_write_to_db("dags-folder", None, [lazy])
    SerializedDagModel.write_dag(lazy, "dags-folder")
    (task,) = made.test().get_task_instances()
    served = DagSerialization.from_dict(DagSerialization.to_dict(made)).get_task(task.task_id)
    return {name: served.get_extra_links(task, name) for name in served.extra_links}, task.state


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


def test_every_table_has_a_link_of_its_own():
    assert docs_links(FLIGHTS) == ("Data Docs", "Data Docs: weather", "Data Docs: planes")
    assert docs_link("orders", "snapshot") == docs_link("orders", "orders") == "Data Docs"
    assert len({link_key(name) for name in docs_links(FLIGHTS)}) == 3


def test_address_that_a_step_leaves_is_the_link(settings):
    def validate():
        link_docs(make_report(settings), settings)
        link_docs(make_report(settings, "shops"), settings)

    links, state = run(validate, (DOCS, "Data Docs: shops"))
    assert state == "success"
    assert links == {
        "Data Docs": "/ratchet/reports/orders/orders/2013-01-01/run%201/index.html",
        "Data Docs: shops": "/ratchet/reports/orders/shops/2013-01-01/run%201/index.html",
    }


def test_failed_task_has_its_link(settings):
    def validate():
        link_docs(make_report(settings), settings)
        message = "orders: 1 of 1 expectations failed"
        raise ValidationFailedError(message)

    links, state = run(validate)
    assert state == "failed"
    assert links["Data Docs"].endswith("/run%201/index.html")


def test_step_that_leaves_nothing_has_no_link():
    def validate():
        pass

    links, state = run(validate)
    assert (links, state) == ({"Data Docs": ""}, "success")


def test_link_stays_below_a_base_path(tmp_path):
    behind_proxy = make_settings(tmp_path, "https://example.org/airflow/")

    def validate():
        link_docs(make_report(behind_proxy), behind_proxy)

    assert run(validate)[0]["Data Docs"].startswith("/airflow/ratchet/reports/orders/")


def test_model_page_opens_in_airflows_frame_below_a_base_path(tmp_path):
    behind_proxy = make_settings(tmp_path, "https://example.org/airflow/")

    def judge():
        link_model(ModelKey("orders", "a/b & <c>"), behind_proxy, "candidates", version=3)

    assert run(judge, (MODEL,))[0][MODEL] == (
        "/airflow/plugin/models/airflow/ratchet/model?name=orders&segment=a%2Fb%20%26%20%3Cc%3E&version=3#candidates"
    )


def test_links_of_the_project(monkeypatch):
    from tests.dags.conftest import fill_bag

    dags = fill_bag().dags
    found = {
        task.task_id: [link.name for link in task.operator_extra_links]
        for one in dags.values()
        for task in one.tasks
        if task.operator_extra_links
    }
    assert found == {
        "partitions.validate": ["Data Docs", "Data Docs: weather", "Data Docs: planes"],
        "plan_training": ["What asked for it", "Model page"],
        "prepare.validate_snapshot": ["Data Docs"],
        "judge.register": ["Model version", "Model card", "Model page"],
        "judge.decide": ["Model version", "Model card", "Model page"],
        "promote": ["Model version", "Model card", "Model page"],
        "report": ["Drift report"],
        "judge": ["Model page"],
        "act": ["Training", "Model page"],
        "look": ["Model page"],
        "backtest": ["Backtest"],
    }
    assert all(isinstance(link, StepLink) for one in dags.values() for task in one.tasks
               for link in task.operator_extra_links)  # fmt: skip
