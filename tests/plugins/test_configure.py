"""Astronomer's settings, applied to a real Airflow."""

from __future__ import annotations

import json

import pytest

from include.ratchet.errors import StackError
from include.ratchet.stack.airflow_settings import apply_airflow_settings, read_airflow_settings
from include.ratchet.stack.client import AirflowClient
from tests.plugins.conftest import headers_of

TEXT = """
airflow:
  connections:
    - {conn_id: sales, conn_type: postgres, conn_host: HOST, conn_port: 5432, conn_login: ada, conn_password: hidden}
  pools:
    - {pool_name: training, pool_slot: 4, pool_description: fits}
  variables:
    - {variable_name: answer, variable_value: "42"}
"""


@pytest.fixture
def airflow(server):
    with AirflowClient(str(server.base_url), "", "") as client:
        client._http.headers["authorization"] = headers_of("ada", "admin")["Authorization"]
        yield client


def apply(airflow, path, text):
    path.write_text(text)
    apply_airflow_settings(airflow, read_airflow_settings(path, {}))


def test_all_kinds_are_made_and_made_anew(airflow, tmp_path):
    for host in ("first", "second"):
        apply(airflow, tmp_path / "settings.yaml", TEXT.replace("HOST", host))
        found = airflow.request("GET", "/connections/sales")
        assert (found["host"], found["port"], found["login"]) == (host, 5432, "ada")
        assert "hidden" not in json.dumps(found)
    assert airflow.request("GET", "/pools/training")["slots"] == 4
    assert airflow.request("GET", "/variables/answer")["value"] == "42"


def test_what_airflow_refuses_is_said(airflow, tmp_path):
    with pytest.raises(StackError, match="pools"):
        apply(airflow, tmp_path / "settings.yaml", "airflow: {pools: [{pool_name: default_pool, pool_slot: 4, "
              f"pool_description: {'x' * 10}}}, {{pool_name: {'x' * 300}, pool_slot: 1}}]}}")  # fmt: skip
