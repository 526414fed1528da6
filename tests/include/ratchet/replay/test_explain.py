"""A recorded answer is explained as it was when it was given."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from include.ratchet.cli import replay as command
from include.ratchet.cli.__main__ import app
from include.ratchet.registry.example import BACKGROUND
from include.ratchet.registry.explained import open_explainer
from include.ratchet.registry.versions import get_version
from include.ratchet.replay import Selection, find_records, replay
from include.ratchet.training.frames import features_frame
from tests.include.ratchet.replay.lived import KEY, NAME, compute, read_orders, record

pytestmark = pytest.mark.filterwarnings("default")  # the life of a model, as in pipeline/test_life.py


@pytest.fixture
def ratchet(workspace, monkeypatch):
    monkeypatch.setattr(command, "open_workspace", lambda: workspace)
    return lambda *words: CliRunner().invoke(app, ["replay", *words], env={"COLUMNS": "200"})


def test_contributions_have_the_bits_of_the_version_that_answered(workspace):
    orders = read_orders(workspace, "2026-02-26", 3)
    record(workspace, orders, "old", version=1)
    record(workspace, orders, "new", version=2)
    model, settings = workspace.model(NAME), workspace.settings
    told = {}
    for name, number in (("old", 1), ("new", 2)):
        (one,) = replay(workspace, NAME, Selection(f"{name}-1"), explain=True).explained
        version = get_version(KEY, number, settings)
        frame = features_frame(compute(workspace, orders), version.lineage.features)
        expected = open_explainer(model, version, settings).explain(frame).to_rows()[1]
        assert one.explanation == expected
        assert (one.version, one.segment, one.problem) == (number, "all", "")
        summed = expected["base"] + sum(expected["contributions"].values())
        assert 1 / (1 + np.exp(-summed)) == pytest.approx(one.score, abs=1e-9)
        told[name] = one.explanation["contributions"]
    assert told["old"] != told["new"]


def test_nobody_who_does_not_ask_waits_for_an_explanation(workspace):
    record(workspace, read_orders(workspace, "2026-02-26", 3), "log")
    assert replay(workspace, NAME, Selection("log-1")).explained == ()


def test_command_shows_columns_with_their_values_and_asks_for_one_request(ratchet, workspace):
    record(workspace, read_orders(workspace, "2026-02-26", 3), "log")
    found = ratchet("log-1", "--explain", "--json")
    assert found.exit_code == 0, found.output
    (one,) = json.loads(found.stdout)["explained"]
    record_of = find_records(workspace.settings, workspace.model(NAME), Selection("log-1")).to_pylist()[0]
    assert one["features"]["shop"] == record_of["feature_shop"]
    assert set(one["explanation"]["contributions"]) == set(one["features"])
    refused = ratchet("--from", "2026-02-26", "--to", "2026-02-27", "--explain")
    assert refused.exit_code == 2
    assert "expected one" in refused.output


def test_a_version_from_before_says_why_it_is_not_explained(ratchet, workspace, monkeypatch):
    record(workspace, read_orders(workspace, "2026-02-26", 1), "log")
    monkeypatch.setattr("include.ratchet.registry.explained.BACKGROUND", f"no-{BACKGROUND}")
    found = ratchet("log-0", "--explain", "--json")
    (one,) = json.loads(found.stdout)["explained"]
    assert one["explanation"] is None
    assert f"has no file no-{BACKGROUND}" in one["problem"]
    assert found.exit_code == 0
    assert ratchet("log-0", "--explain").exit_code == 0
