"""Reading Astronomer's settings; tests/plugins applies them to a real Airflow."""

from __future__ import annotations

import json

import pytest

from include.ratchet.errors import StackError
from include.ratchet.settings import PROJECT
from include.ratchet.stack.airflow_settings import read_airflow_settings

ASTRONOMERS = """
airflow:
  connections:
    - conn_id:
      conn_type:
      conn_host:
      conn_schema:
      conn_login:
      conn_password:
      conn_port:
      conn_extra:
        example_extra_field: example-value
  pools:
    - pool_name:
      pool_slot:
      pool_description:
  variables:
    - variable_name:
      variable_value:
"""


def read(tmp_path, text, **environ):
    path = tmp_path / "airflow_settings.yaml"
    path.write_text(text)
    return read_airflow_settings(path, environ)


def test_all_three_kinds_are_read(tmp_path):
    found = read(tmp_path, """
airflow:
  connections:
    - conn_id: sales
      conn_type: postgres
      conn_host: db
      conn_port: 5432
      conn_login: ${USER}
      conn_password: ${SECRET}
      conn_extra: {sslmode: "${MODE:-require}"}
    - {conn_id: other, conn_type: aws, conn_extra: '{"region_name": "eu"}'}
  pools:
    - {pool_name: training, pool_slot: 4}
  variables:
    - {variable_name: answer, variable_value: 42}
""", USER="ada", SECRET="a'b\"c")  # fmt: skip
    sales, other = found.bodies["connections"]
    assert (sales["login"], sales["password"], sales["port"]) == ("ada", "a'b\"c", 5432)
    assert json.loads(sales["extra"]) == {"sslmode": "require"}
    assert json.loads(other["extra"]) == {"region_name": "eu"}
    assert found.bodies["pools"] == [{"name": "training", "slots": 4, "description": "", "include_deferred": False}]
    assert found.bodies["variables"] == [{"key": "answer", "value": "42"}]
    assert found.left_out == ()


@pytest.mark.parametrize("environ", [{}, {"SECRET": ""}])
def test_entry_that_needs_what_is_not_set_is_left_out_and_said(tmp_path, environ):
    text = "airflow: {connections: [{conn_id: slack, conn_type: slackwebhook, conn_password: '${SECRET}'}]}"
    found = read(tmp_path, text, **environ)
    assert found.bodies["connections"] == []
    assert found.left_out == ("connections: slack is left out, as SECRET is not set",)


def test_astronomers_own_template_asks_for_nothing(tmp_path):
    found = read(tmp_path, ASTRONOMERS.replace("      conn_extra:\n        example_extra_field: example-value\n", ""))
    assert not any(found.bodies.values())


def test_the_projects_own_file_is_one():
    assert read_airflow_settings(PROJECT / "airflow_settings.yaml", {}).left_out


@pytest.mark.parametrize(("text", "words"), [
    ("connections: []", "expected `airflow:`"),
    ("airflow: [", "cannot be read"),
    ("airflow: {conections: [{conn_id: a}]}", "found 'conections'; expected connections, pools, variables"),
    ("airflow: {connections: [{conn_id: a}]}", "connections: conn_type: Field required"),
    ("airflow: {connections: [{conn_id: a, conn_type: b, conn_port: many}]}", "conn_port"),
    ("airflow: {connections: [{conn_id: a, conn_type: b, conn_pasword: c}]}", "conn_pasword: Extra inputs"),
    ("airflow: {connections: [{conn_id: a, conn_type: b, conn_extra: '{'}]}", "conn_extra"),
    ("airflow: {connections: [text]}", "connections"),
    ("airflow: {pools: [{pool_name: a, pool_slot: -2}]}", "pool_slot"),
])  # fmt: skip
def test_bad_file_is_explained(tmp_path, text, words):
    with pytest.raises(StackError, match="airflow_settings.yaml") as raised:
        read(tmp_path, text)
    assert words in str(raised.value)


def test_absent_file_is_explained(tmp_path):
    with pytest.raises(StackError, match="No such file"):
        read_airflow_settings(tmp_path / "airflow_settings.yaml", {})
