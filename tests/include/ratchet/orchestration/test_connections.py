"""The store as Airflow's connection says now."""

from __future__ import annotations

import json

import pytest

from include.ratchet.errors import SourceError, StoreError
from include.ratchet.orchestration.connections import AirflowConnections, current_settings
from include.ratchet.orchestration.steps import open_workspace


@pytest.fixture
def connect(monkeypatch):
    """Defines the store's connection, as somebody does in Airflow."""
    monkeypatch.setenv("RATCHET_STORE", "s3://bucket/store")
    monkeypatch.setenv("RATCHET_STORE_CONNECTION", "shelf")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of the environment")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")

    def define(**fields):
        monkeypatch.setenv("AIRFLOW_CONN_SHELF", json.dumps({"conn_type": "aws", **fields}))

    return define


def test_next_task_sees_a_changed_connection(connect):
    for endpoint in ("http://store:8333", "https://other"):
        connect(login="key", password="s3cr", extra={"endpoint_url": endpoint})
        found = open_workspace().settings.storage_options
        assert found == current_settings().storage_options
        assert (found["AWS_ENDPOINT_URL"], found["AWS_REGION"]) == (endpoint, "eu-west-3")
        assert (found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]) == ("key", "s3cr")


def test_connection_that_is_not_defined_is_named(connect):
    with pytest.raises(StoreError, match="RATCHET_STORE_CONNECTION: no connection 'shelf'; define it in Airflow"):
        current_settings()
    with pytest.raises(SourceError, match="no connection 'other'"):
        AirflowConnections().get("other")
