"""Datasets as OpenLineage names them, and what must not be in them."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from include.ratchet.data.records import RecordTable
from include.ratchet.data.tables import Table
from include.ratchet.exports.datasets import describe_table, describe_version, name_place, name_registry, read_from
from include.ratchet.exports.facets import NAME
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from tests.include.ratchet.exports.versions import make_version
from tests.include.ratchet.features.rides import make_model


@pytest.fixture
def settings(tmp_path):
    return read_settings({"RATCHET_HOME": str(tmp_path), "RATCHET_AIRFLOW_URL": "https://airflow/team"})


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("s3://lake/ratchet/tables/orders/orders", ("s3://lake", "ratchet/tables/orders/orders")),
        ("/srv/store/tables/orders/orders", ("file", "/srv/store/tables/orders/orders")),
    ],
)
def test_a_place_is_named_as_openlineage_says(location, expected):
    assert name_place(location) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://mlflow:5000", "mlflow://mlflow:5000"),
        ("https://mlflow.example", "mlflow://mlflow.example"),
        ("postgresql://mlflow:hush@db:5432/mlflow", "mlflow://db:5432"),
        ("sqlite:////srv/mlflow.db", "mlflow://local"),
    ],
)
def test_a_registry_is_named_without_its_login(settings, url, expected):
    assert name_registry(replace(settings, mlflow_url=url)) == expected


def test_a_table_that_was_never_written_has_no_version(settings, tmp_path):
    table = RecordTable(settings, make_model(tmp_path), "requests")
    assert set(describe_table(table).facets) == {"storage", "datasetType", "symlinks"}


def test_a_table_is_described_as_it_was_at_a_version(settings):
    table = Table(settings, "rides", "rides")
    for number, names in enumerate((["a"], ["a", "b"])):
        rows = pa.table({name: [1] for name in names} | {"_partition": ["2024-01-01"]})
        table.commit(table.open() if number else None, rows, ["2024-01-01"], {}, {})
    for version, names in ((0, ["a"]), (1, ["a", "b"]), (None, ["a", "b"])):
        facets = describe_table(table, version).facets
        assert facets["version"].datasetVersion == str(1 if version is None else version)
        assert [field.name for field in facets["schema"].fields] == names


def test_a_version_tells_no_login_and_no_number_that_is_none(settings):
    version = make_version(ModelKey("orders"), "f" * 64, roc_auc=0.7, ece=float("nan"))
    facet = describe_version(replace(version, url="https://ada:hush@mlflow/#/models/orders"), settings).facets[NAME]
    assert facet.metrics == {"roc_auc": 0.7}
    assert facet.url == "https://mlflow/#/models/orders"
    assert facet._schemaURL.startswith("https://airflow/team/ratchet/facets/1-0-0/")
    hidden = describe_version(replace(version, url="postgresql://ada:hush@db/mlflow/#/models/orders"), settings)
    assert hidden.facets[NAME].url is None
    assert "hush" not in str(hidden)


def test_an_alias_is_a_dataset_of_its_own(settings):
    version = make_version(ModelKey("routes", "EWR/IAH"), "f" * 64)
    own, pointing = describe_version(version, settings), describe_version(version, settings, "champion")
    assert pointing.name == f"{own.name}@champion"
    assert (own.facets[NAME].alias, pointing.facets[NAME].alias) == (None, "champion")
    assert pointing.facets["version"] == own.facets["version"]


def test_what_did_not_hold_is_told_with_its_severity(settings, tmp_path):
    def checked(success, severity, **kwargs):
        config = {"type": "expect_something", "kwargs": kwargs, "severity": severity}
        return {"success": success, "expectation_config": config}

    results = {"rows": 9, "results": [
        {"results": [checked(False, "critical", column="price"), checked(True, "warning")]}, {"results": []},
    ]}  # fmt: skip
    told = read_from(describe_table(RecordTable(settings, make_model(tmp_path), "scores")), results).inputFacets
    found = told["dataQualityAssertions"].assertions
    assert [(one.success, one.severity, one.column) for one in found] == [
        (False, "error", "price"), (True, "warn", None)
    ]  # fmt: skip
    assert told["dataQualityMetrics"].rowCount == 9
