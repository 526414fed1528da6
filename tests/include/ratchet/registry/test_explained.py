"""What registered versions lean on, over their history, of the whole model and of segments; and the command."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from include.ratchet.cli import explain as command
from include.ratchet.cli.__main__ import app
from include.ratchet.errors import VersionNotFoundError
from include.ratchet.evaluation.intervals import Interval
from include.ratchet.explanations.overview import ColumnWeight, Overview
from include.ratchet.registry.database import engine_of
from include.ratchet.registry.explained import find_shifts, read_leanings, read_overview
from include.ratchet.registry.versions import get_version, read_artifact
from include.ratchet.spec import ModelKey
from tests.include.ratchet.replay.lived import KEY, NAME, live

pytestmark = pytest.mark.filterwarnings("default")  # the life of a model, as in pipeline/test_life.py


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    lived = live(tmp_path_factory.mktemp("lived"))
    yield lived
    engine_of(lived.settings.database_url).dispose()


@pytest.fixture
def ratchet(workspace, monkeypatch):
    monkeypatch.setattr(command, "open_workspace", lambda: workspace)
    return lambda *words: CliRunner().invoke(app, ["explain", *words], env={"COLUMNS": "200"})


def overview(**shares):
    weights = tuple(ColumnWeight(name, Interval(1, 1, 1), Interval(*share)) for name, share in shares.items())
    return Overview("trees", "log_odds", 200, 100, weights)


def test_overview_of_a_version_is_on_its_card(workspace):
    version = get_version(KEY, 1, workspace.settings)
    found = read_overview(workspace.model(NAME), version, workspace.settings)
    assert (found.method, found.space, found.background) == ("linear", "log_odds", 100)
    assert {one.column for one in found.weights} == {"shop", "price", "shop_return_rate_7d"}
    lost = json.loads(read_artifact(version, "importance.json", workspace.settings))
    assert {one.column: one.lost for one in found.weights} == lost
    card = read_artifact(version, "card.md", workspace.settings).decode()
    assert "## What it leans on" in card
    leading = found.weights[0]
    assert f"{leading.size.value:.4g} | {leading.share.value:.1%}" in card


def test_history_tells_every_judged_version_in_order(workspace):
    found = read_leanings(workspace.model(NAME), KEY, workspace.settings, 20)
    assert [one.version for one in found] == [1, 2]
    assert found[0].shifts == ()
    assert [one.version for one in read_leanings(workspace.model(NAME), KEY, workspace.settings, 1)] == [2]
    assert read_leanings(workspace.model(NAME), ModelKey(NAME, "north"), workspace.settings, 5) == ()


def test_a_version_that_the_registry_no_longer_has_is_told_without_its_shares(workspace, monkeypatch):
    def forget(key, number, settings):
        if number == 1:
            raise VersionNotFoundError
        return get_version(key, number, settings)

    monkeypatch.setattr("include.ratchet.registry.explained.get_version", forget)
    gone, there = read_leanings(workspace.model(NAME), KEY, workspace.settings, 20)
    assert (gone.version, gone.outcome, gone.overview) == (1, "promote", None)
    assert there.overview is not None


def test_shares_that_surely_differ_have_shifted_and_no_others():
    before = overview(x=(0.5, 0.4, 0.6), z=(0.3, 0.2, 0.4), gone=(0.2, 0.1, 0.3))
    after = overview(x=(0.8, 0.7, 0.9), z=(0.35, 0.3, 0.5), new=(0.1, 0.0, 0.2))
    shifts = find_shifts(before, after)
    assert [(one.column, one.before, one.after) for one in shifts] == [("x", 0.5, 0.8), ("gone", 0.2, 0.0)]
    assert find_shifts(before, before) == []


def test_a_segments_version_is_surveyed_on_what_it_is_explained_against(workspace):
    version = replace(get_version(KEY, 1, workspace.settings), key=ModelKey(NAME, "north"))
    found = read_overview(workspace.model(NAME), version, workspace.settings)
    assert found.rows == found.background == 100
    assert {one.lost for one in found.weights} == {None}


def test_command_tells_the_champion_or_a_version_or_all(ratchet, workspace):
    champion = json.loads(ratchet(NAME, "--json").stdout)
    assert champion["version"] == 2
    assert json.loads(ratchet(NAME, "--version", "1", "--json").stdout)["version"] == 1
    history = json.loads(ratchet(NAME, "--over-time", "--json").stdout)
    assert [one["version"] for one in history] == [1, 2]
    assert history[1]["overview"]["weights"] == champion["weights"]
    for words in ((NAME,), (NAME, "--over-time")):
        shown = ratchet(*words)
        assert shown.exit_code == 0
        assert "shop_return_rate_7d" in shown.output


def test_command_refuses_what_there_is_not(ratchet):
    assert ratchet(NAME, "--version", "1", "--over-time").exit_code == 2
    found = ratchet(NAME, "--version", "9")
    assert isinstance(found.exception, VersionNotFoundError)
