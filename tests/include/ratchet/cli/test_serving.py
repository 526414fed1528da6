"""What the command line hands to a service of its own."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from include.ratchet.cli import serving
from include.ratchet.cli.__main__ import app


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Runs `./ratchet serve` up to where the service takes over; gives its environment."""
    started = []
    monkeypatch.setattr(serving.os, "execve", lambda *words: started.append(words[2]))

    def run(**environ):
        done = CliRunner().invoke(app, ["serve", "--port", "8399"], env={"RATCHET_HOME": str(tmp_path), **environ})
        assert done.exit_code == 0, done.output
        return started[-1]

    return run


def test_stacks_secret_masks_unless_another_is_given(start, tmp_path):
    assert start()["RATCHET_MASK_SECRET"] == ""
    (tmp_path / "secrets.json").write_text(json.dumps({"mask": "the stack's"}))
    (tmp_path / "ports.json").write_text(json.dumps({"mlflow": 5000, "postgres": 5433, "airflow": 8080}))
    own = {"RATCHET_DATABASE_URL": f"sqlite:///{tmp_path}/own.db", "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}
    assert start(**own)["RATCHET_MASK_SECRET"] == "the stack's"
    assert start(RATCHET_MASK_SECRET="another", **own)["RATCHET_MASK_SECRET"] == "another"
