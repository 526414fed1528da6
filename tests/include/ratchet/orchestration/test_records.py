"""The tasks of request records: whose logs are shipped."""

from __future__ import annotations

import pyarrow as pa
import pytest

from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.records import RecordTable
from include.ratchet.data.tables import PARTITION_COLUMN
from include.ratchet.orchestration import records
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.serving.log import Batch, RecordLog
from include.ratchet.settings import read_settings
from include.ratchet.spec.scaffold import make_model
from tests.include.ratchet.rollout.traffic import BEGIN

MODEL = "order_returns"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    make_model(tmp_path / "models", MODEL)
    settings = read_settings({"RATCHET_HOME": str(tmp_path / "home"), "RATCHET_MODELS_DIR": str(tmp_path / "models")})
    found = Workspace(settings, MappedConnections({}), lambda: BEGIN)
    monkeypatch.setattr(records, "open_workspace", lambda: found)
    monkeypatch.setenv("RATCHET_HOME", str(settings.home))
    return found


def leave(folder, name):
    """A log of a service that was killed before it could ship."""
    rows = pa.table({
        "request_id": [name], "row": pa.array([0], pa.int32()), PARTITION_COLUMN: ["2026-03-01"],
        "event_time": pa.array([BEGIN], pa.timestamp("us", "UTC")),
    })  # fmt: skip
    log = RecordLog(folder)
    log.submit(Batch(MODEL, "requests", rows)).result()
    log.close()


def test_logs_of_services_by_themselves_are_shipped_too(workspace, tmp_path, monkeypatch):
    home = workspace.settings.home
    assert records.ship(MODEL) == {"shipped": 0}
    for folder in (home / "serving", home / "serving-8399", tmp_path / "elsewhere", tmp_path / "another"):
        leave(folder, folder.name)
    monkeypatch.setenv("RATCHET_SERVING_LOG", str(tmp_path / "elsewhere"))
    assert records.ship(MODEL) == {"shipped": 3}
    assert records.ship(MODEL) == {"shipped": 0}
    shipped = RecordTable(workspace.settings, workspace.model(MODEL), "requests").read()["request_id"].to_pylist()
    assert sorted(shipped) == ["elsewhere", "serving", "serving-8399"]
