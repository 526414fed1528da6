"""Commands that take a model take one of its segments, whatever that is called."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from include.ratchet.cli.__main__ import app
from include.ratchet.cli.output import visible
from include.ratchet.errors import ModelNotFoundError, RolloutError
from include.ratchet.monitoring.signals import Look
from include.ratchet.monitoring.store import write_looks
from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.registry.fleet import retire
from include.ratchet.registry.ledger import CHAMPION, AliasState, Entry
from include.ratchet.rollout import actions, guard, store, transitions
from include.ratchet.rollout import revert as reverting
from include.ratchet.rollout.orders import Order
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey, get_model
from include.ratchet.spec.scaffold import make_model

AT = datetime(2026, 3, 1, tzinfo=UTC)
HOSTILE = ["[red]AA[/red]", "[/]", "B/6", "it's", "a@b", "\x1b[31mUA", "x" * 300, "🛫"]
IN_HAND = [*HOSTILE, "all"]
MODEL = "order_returns"


@pytest.fixture
def ratchet(tmp_path, monkeypatch):
    """Runs commands in this process, on a database of the test's own with a model of some segments."""
    for name in (MODEL, "plain_model"):
        made = make_model(tmp_path / "models", name) / "model.yaml"
        made.write_text(made.read_text() + "rollout: {strategy: canary}\n")
    made = tmp_path / f"models/{MODEL}/model.yaml"
    made.write_text(made.read_text() + "segments: {by: shop, guard: {min_handovers: 3}}\n")
    environ = {"RATCHET_HOME": str(tmp_path / "home"), "RATCHET_MODELS_DIR": str(tmp_path / "models")}
    settings = read_settings(environ)
    settings.home.mkdir()
    upgrade(settings.database_url)
    for module in (actions, transitions, reverting):
        monkeypatch.setattr(module, "follow", lambda *_: None)
    for segment in [*IN_HAND, "gone", "idle"]:
        key = ModelKey(MODEL, segment)
        ledger.move_champion(Entry(key, "promotion", f"p:{key.slug}", "a test", "good", AT, 1, AT), None, settings)
    retire(Entry(ModelKey(MODEL, "gone"), "segment", "r", "a test", "retired: no rows", AT,
                 details={"event": "retired"}), settings)  # fmt: skip

    def run(*words):
        done = CliRunner().invoke(app, list(words), env={**environ, "COLUMNS": "250"})
        if done.exit_code == 1 and done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout) if "--json" in words else done.stderr

    run.settings, run.model = settings, get_model(settings.models_dir, MODEL)
    yield run
    engine_of(settings.database_url).dispose()


def begin(ratchet, segments=IN_HAND):
    for segment in segments:
        actions.start(
            ratchet.settings, ratchet.model, ModelKey(MODEL, segment), AliasState(2, AT), made("training"), AT
        )


def made(once=None):
    return Order("a test", "because", datetime.now(UTC), once)


@pytest.mark.parametrize(
    "words",
    [("history",), ("revert",), ("rollout",), ("rollout", "pause"), ("monitor",), ("reproduce",)],
    ids=" ".join,
)
def test_unknown_segment_is_said_with_the_near_names(ratchet, words):
    command, *more = words
    suffix = "@1" if command == "reproduce" else ""
    with pytest.raises(ModelNotFoundError, match="order_returns has no segment 'idel'.*did you mean 'idle'"):
        ratchet(command, f"{MODEL}/idel{suffix}", *more)
    with pytest.raises(ModelNotFoundError, match="plain_model is not divided into segments"):
        ratchet(command, f"plain_model/UA{suffix}", *more)
    with pytest.raises(ModelNotFoundError, match=r"no segment '🎈🎈🎈🎈'.*it has .* and 5 more"):
        ratchet(command, f"{MODEL}/🎈🎈🎈🎈{suffix}", *more)
    with pytest.raises(ModelNotFoundError, match="no model 'order_retruns'.*did you mean 'order_returns'"):
        ratchet(command, f"order_retruns/UA{suffix}", *more)


@pytest.mark.parametrize("segment", HOSTILE)
def test_names_are_shown_as_they_are_and_obeyed_by_nobody(ratchet, segment):
    begin(ratchet, [segment])
    name = f"{MODEL}/{segment}"
    for words in (("rollout", MODEL), ("history", MODEL, "--all-segments")):
        shown = ratchet(*words)
        assert visible(segment)[:200] in shown.replace("\n", "") or len(segment) > 200
        assert "\x1b[31m" not in shown
    assert ratchet("rollout", name, "--json")["state"]["challenger"] == 2
    assert "hand-over to version 2 has begun (shadow)" in ratchet("rollout", name)
    assert ratchet("rollout", name, "pause", "--json")["state"]["status"] == "paused"
    assert "ended in stage shadow" in ratchet("revert", name, "--reason", "[red]complaints[/]").replace("\n", " ")
    assert "[red]complaints[/]" in ratchet("history", name)
    assert [row["kind"] for row in ratchet("history", name, "--json")] == ["promotion", *["rollout"] * 3]
    assert ratchet("monitor", name, "--json") == {"looks": [], "incidents": [], "report": None}


def test_history_of_a_fleet_is_the_pools_with_a_summary_and_pages_of_all(ratchet):
    begin(ratchet)
    shown = ratchet("history", MODEL)
    assert "10 segments with a champion of their own" not in shown
    assert "9 segments with a champion of their own, 0 pooled, 1 retired" in shown
    told = ratchet("history", MODEL, "--json")
    assert told["segments"] == {"own": 9, "pooled": 0, "retired": 1}
    assert {row["key"] for row in told["rows"]} == {MODEL}
    pages = [ratchet("history", MODEL, "--all-segments", "--limit", "8", "--page", str(page), "--json")["rows"]
             for page in range(1, 5)]  # fmt: skip
    assert [len(page) for page in pages] == [8, 8, 5, 0]
    numbers = [row["id"] for page in pages for row in page]
    assert numbers == sorted(numbers, reverse=True)
    assert "no row on page 9" in ratchet("history", MODEL, "--all-segments", "--page", "9")
    assert ratchet("history", "plain_model", "--json") == []
    with pytest.raises(AssertionError, match="expected the name of a model that is divided into segments"):
        ratchet("history", "plain_model", "--all-segments")


def test_all_hand_overs_are_shown_and_moved_by_the_models_name(ratchet):
    assert "10 champions; newest hand-overs: none yet" in ratchet("rollout", MODEL)
    with pytest.raises(RolloutError, match="no version of order_returns is being handed over"):
        ratchet("rollout", MODEL, "pause")
    begin(ratchet)
    assert "newest hand-overs: 9 running" in ratchet("rollout", MODEL)
    assert ratchet("rollout", f"{MODEL}/all", "pause", "--json")["state"]["key"] == [MODEL, "all"]
    shown = ratchet("rollout", MODEL, "--json")
    assert (shown["counts"], len(shown["states"])) == ({"paused": 1, "running": 8}, 9)
    assert ratchet("rollout", MODEL, "pause", "--json")["counts"] == {"pause": 8}
    assert "9 hand-overs: 9 resume" in ratchet("rollout", MODEL, "resume")
    looked = ratchet("rollout", MODEL, "look", "--as-of", "2026-03-02", "--json")
    assert (looked["action"], looked["counts"], looked["failures"]) == ("wait", {"wait": 9}, {})
    assert ratchet("rollout", MODEL, "advance", "--json")["counts"] == {"advance": 9}
    assert ratchet("rollout", MODEL, "revert", "--json")["counts"] == {"revert": 9}
    # Its own champion goes back to the pooled model, which has nothing to go back to.
    assert "version 1 of the pooled model answers for it" in ratchet("revert", f"{MODEL}/idle")
    assert ledger.read_aliases(ModelKey(MODEL, "idle"), ratchet.settings) == {}


def test_what_many_were_told_at_the_command_line_is_one_order(ratchet):
    begin(ratchet)
    ratchet("rollout", MODEL, "pause")
    found = store.read_by_hand(MODEL, ratchet.settings, AT)
    assert len(found) == len(IN_HAND)
    assert len({state.once for state in found}) == 1


def test_guard_is_shown_and_lifted_with_a_reason(ratchet):
    begin(ratchet, ["B/6", "it's", "🛫", "all"])
    for segment in ("B/6", "it's", "🛫"):
        ratchet("revert", f"{MODEL}/{segment}")
    looked = ratchet("rollout", MODEL, "look", "--as-of", "2026-03-02", "--json")
    assert looked["trip"].startswith("3 of 3 hand-overs of the last 28 days went back")
    assert "stopped: 3 of 3 hand-overs" in ratchet("rollout", MODEL)
    with pytest.raises(RolloutError, match="found no reason"):
        ratchet("rollout", MODEL, "resume")
    assert ratchet("rollout", MODEL, "resume", "--reason", "a feed was down", "--json")["counts"] == {"resume": 1}
    assert guard.find_trip(ratchet.settings, MODEL) is None
    assert "a feed was down" in ratchet("history", MODEL)
    begin(ratchet, ["[/]"])


def test_monitor_shows_the_looks_of_a_key(ratchet):
    for number, segment in enumerate(["all", "B/6"], start=1):
        look = Look(ModelKey(MODEL, segment), "2026-03-01", AT, AT.replace(day=2), AT.replace(day=3), 1, number, 1.0,
                    frozenset(), (), {"volume": float(number)})  # fmt: skip
        write_looks([look], ratchet.settings)
    assert [look["rows"] for look in ratchet("monitor", MODEL, "--json")["looks"]] == [1]
    assert [look["rows"] for look in ratchet("monitor", f"{MODEL}/B/6", "--json")["looks"]] == [2]
    assert "order_returns/idle has not been looked at yet" in ratchet("monitor", f"{MODEL}/idle")


def test_version_is_what_follows_the_last_at(ratchet, monkeypatch):
    asked = []
    found = SimpleNamespace(to_dict=lambda: {}, is_identical=True)
    monkeypatch.setattr("include.ratchet.pipeline.reproduce.reproduce", lambda _, *key: asked.append(key) or found)
    ratchet("reproduce", f"{MODEL}/a@b@3", "--json")
    ratchet("reproduce", f"{MODEL}@4", "--json")
    assert asked == [(ModelKey(MODEL, "a@b"), 3), (ModelKey(MODEL), 4)]
    for wrong in (f"{MODEL}/a@b", "@3", MODEL, f"{MODEL}@²"):
        with pytest.raises(AssertionError, match="expected MODEL"):
            ratchet("reproduce", wrong)


def test_what_is_not_divided_stays_as_it_was(ratchet):
    key = ModelKey("plain_model")
    ledger.move_champion(Entry(key, "promotion", "p", "a test", "good", AT, 1, AT), None, ratchet.settings)
    assert ratchet("rollout", "plain_model", "--json") == {"aliases": {CHAMPION: 1}, "state": None}
    assert [row["key"] for row in ratchet("history", "plain_model/", "--json")] == ["plain_model"]
