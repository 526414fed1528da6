"""Segments are held to their snapshot's sources, whether a pooled model was looked into, is left out, or is none."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from include.ratchet.cli.__main__ import app
from include.ratchet.errors import ModelNotFoundError
from include.ratchet.pipeline.dependencies import read_report
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.registry.database import engine_of
from include.ratchet.registry.versions import get_version, read_artifact
from include.ratchet.spec import ModelKey
from tests.include.ratchet.pipeline.shops import AS_OF, NAME, POOL, make_shops

pytestmark = pytest.mark.filterwarnings("default")  # the life of a model, as in pipeline/test_life.py
CHANGED, BEFORE = "2026-02-10", datetime(2026, 2, 9, tzinfo=UTC)
SHOPS = ("north", "south", "web")
GATE = "columns mean what they did"


@pytest.fixture
def make(tmp_path):
    """Shops whose prices come as cents from a day on, which a gate refuses."""
    workspaces = []

    def make_one(pool):
        found = make_shops(
            tmp_path, shares=dict.fromkeys(SHOPS, 1.0), segments=f", pool: {pool}",
            gates=", beats_baseline: -1.0, dependencies: {no_semantic_change: true}",
        )  # fmt: skip
        path = found.model(NAME).folder / "sources.py"
        text = path.read_text()
        assert text.count('"price": np.where(') == 1
        path.write_text(text.replace('"price": ', f'"price": (100 if partition.key >= "{CHANGED}" else 1) * '))
        workspaces.append(found)
        return found

    yield make_one
    for one in workspaces:
        engine_of(one.settings.database_url).dispose()


def train(workspace, name, as_of=AS_OF, **more):
    request = TrainingRequest(POOL, name, as_of, trials=1, **more)
    return run_model(workspace, workspace.model(NAME), request, lambda *_: None)


def gates_of(workspace, shop, number):
    verdict = json.loads(read_artifact(get_version(ModelKey(NAME, shop), number, workspace.settings), "verdict.json",
                                       workspace.settings))  # fmt: skip
    return {gate["name"]: (gate["passed"], gate["found"]) for gate in verdict["gates"]}


def test_segments_that_stand_alone_are_held_and_keep_the_report(make, monkeypatch):
    workspace = make("false")
    before = train(workspace, "before", BEFORE)
    assert {one.segment: one.outcome for one in before.fleet} == dict.fromkeys(SHOPS, "promoted")
    assert gates_of(workspace, "web", 1)[GATE] == (True, "none")
    version = get_version(ModelKey(NAME, "web"), 1, workspace.settings)
    assert read_report(version, workspace.settings).changes == ()
    assert "## Data dependencies" in read_artifact(version, "card.md", workspace.settings).decode()
    after = train(workspace, "after")
    assert {one.segment: one.outcome for one in after.fleet} == dict.fromkeys(SHOPS, "refused")
    assert gates_of(workspace, "web", 2)[GATE] == (False, f"{NAME}.price@{CHANGED}")

    monkeypatch.setenv("RATCHET_HOME", str(workspace.settings.home))
    monkeypatch.setenv("RATCHET_MODELS_DIR", str(workspace.settings.models_dir))
    shown = CliRunner().invoke(app, ["dependencies", f"{NAME}/web", "--version", "2", "--necessity", "--json"])
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout[shown.stdout.index("{") :])
    assert [change["column"] for change in told["changes"]] == ["price"]
    # Of the shop's own rows: in the pooled ones, web's and the others' prices speak against each other.
    (price,) = [need for need in told["necessity"]["needs"] if need["features"] == ["price"]]
    assert price["lost"]["value"] > 0.1
    for command in ("dependencies", "explain"):
        refused = CliRunner().invoke(app, [command, NAME])
        assert isinstance(refused.exception, ModelNotFoundError)
        assert "name a segment" in str(refused.exception)


def test_segments_beside_a_pool_are_held_with_it_and_without_it(make):
    workspace = make("true")
    whole = train(workspace, "whole")
    assert whole.verdict.outcome == "reject"
    assert {one.segment: one.outcome for one in whole.fleet} == dict.fromkeys(SHOPS, "refused")
    alone = train(workspace, "alone", segments=("web",), force=True)
    assert {one.segment: one.outcome for one in alone.fleet} == {"web": "refused"}
    for number in (1, 2):
        assert gates_of(workspace, "web", number)[GATE] == (False, f"{NAME}.price@{CHANGED}")
