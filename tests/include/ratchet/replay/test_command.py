"""`./ratchet replay`, as people and scripts meet it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from include.ratchet.cli import replay as command
from include.ratchet.cli.__main__ import app
from include.ratchet.scoring import score_partitions
from include.ratchet.spec.scaffold import make_model
from tests.include.ratchet.replay.lived import KEY, NAME, read_orders, record

pytestmark = pytest.mark.filterwarnings("default")  # the life of a model, as in pipeline/test_life.py


@pytest.fixture
def ratchet(workspace, monkeypatch):
    monkeypatch.setattr(command, "open_workspace", lambda: workspace)
    return lambda *words: CliRunner().invoke(app, ["replay", *words], env={"COLUMNS": "200"})


def test_same_bits_end_well_and_other_bits_with_one(ratchet, workspace):
    def tamper(row):
        row["score"] += 0.25

    record(workspace, read_orders(workspace, "2026-02-26", 5), "log")
    record(workspace, read_orders(workspace, "2026-02-27", 5), "bad", change=tamper)
    found = ratchet("log-1", "--json")
    assert (found.exit_code, json.loads(found.stdout)["is_identical"]) == (0, True)
    found = ratchet("--from", "2026-02-27", "--to", "2026-02-28", "--with-version", "2", "--json")
    assert (found.exit_code, json.loads(found.stdout)["what_if"]["rows"]) == (1, 5)
    assert ratchet("log-1", "--with-version", "2").exit_code == 0


def test_batch_records_are_asked_for_by_name(ratchet, workspace):
    score_partitions(workspace, KEY, ["2026-02-26"])
    found = ratchet("--batch", "--from", "2026-02-26", "--to", "2026-02-27", "--json")
    assert json.loads(found.stdout)["records"] == 200


def test_model_is_found_by_its_request_or_asked_for(ratchet, workspace):
    record(workspace, read_orders(workspace, "2026-02-26", 5), "log")
    folder = make_model(workspace.settings.models_dir, "another")
    try:
        assert json.loads(ratchet("log-1", "--json").stdout)["model"] == NAME
        assert "expected --model" in ratchet("--from", "2026-02-26", "--to", "2026-02-27").output
        assert "found no record of request 'lug-1' of any model" in ratchet("lug-1").output
        assert ratchet("--model", NAME, "--from", "2026-02-26", "--to", "2026-02-27").exit_code == 0
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def test_nothing_asked_for_is_refused(ratchet):
    found = ratchet()
    assert found.exit_code == 2
    assert "expected REQUEST_ID" in found.output
