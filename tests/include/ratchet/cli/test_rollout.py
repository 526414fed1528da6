"""A hand-over from the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from include.ratchet.cli import rollout
from include.ratchet.cli.__main__ import app
from include.ratchet.errors import NothingToRevertError, RolloutError
from include.ratchet.registry import ledger, versions
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.registry.ledger import AliasState, Entry
from include.ratchet.rollout import actions, transitions
from include.ratchet.rollout import revert as reverting
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from include.ratchet.spec.scaffold import make_model

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def ratchet(tmp_path, monkeypatch):
    """Runs `./ratchet rollout order_returns` in this process, on a database of the test's own."""
    made = make_model(tmp_path / "models", "order_returns") / "model.yaml"
    made.write_text(made.read_text() + "rollout: {strategy: canary}\n")
    environ = {"RATCHET_HOME": str(tmp_path / "home"), "RATCHET_MODELS_DIR": str(tmp_path / "models")}
    settings = read_settings(environ)
    settings.home.mkdir()
    upgrade(settings.database_url)
    promotion = Entry(ModelKey("order_returns"), "promotion", "p", "a test", "good", AS_OF, 1, AS_OF)
    ledger.move_champion(promotion, None, settings)
    for module in (actions, transitions, reverting):
        monkeypatch.setattr(module, "follow", lambda *_: None)
    monkeypatch.setattr(versions, "get_version", lambda _, number, __: AliasVersion(number))

    def run(*words):
        done = CliRunner().invoke(app, ["rollout", "order_returns", *words], env={**environ, "COLUMNS": "200"})
        if isinstance(done.exception, RolloutError | NothingToRevertError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout) if "--json" in words else done.stderr

    yield run
    engine_of(settings.database_url).dispose()


class AliasVersion(AliasState):
    """What the registry says of a version."""

    def __init__(self, number):
        super().__init__(number, AS_OF)
        object.__setattr__(self, "number", number)


def test_hand_over_from_beginning_to_end(ratchet):
    assert "no version of order_returns has been handed over yet; its champion is 1" in ratchet()
    assert ratchet("--json") == {"aliases": {"champion": 1}, "state": None}
    begun = ratchet("start", "--version", "2", "--as-of", "2026-03-01", "--json")
    assert (begun["action"], begun["state"]["stage_name"]) == ("start", "shadow")
    shown = ratchet("status")
    assert "hand-over to version 2 has begun (shadow)" in shown
    assert "[shadow] > canary 5 %" in shown
    waiting = ratchet("look", "--as-of", "2026-03-02", "--json")
    assert (waiting["action"], waiting["is_moved"]) == ("wait", False)
    assert "0 of 500 labelled rows" in waiting["reason"]
    assert "advance (canary 5 %): seen enough" in ratchet("advance", "--reason", "seen enough")
    assert "pause" in ratchet("pause")
    assert "resume" in ratchet("resume")
    assert ratchet("revert", "--json")["state"]["status"] == "reverted"
    assert ratchet("--json")["aliases"] == {"champion": 1}


def test_without_a_hand_over_revert_brings_the_previous_champion_back(ratchet):
    ratchet("start", "--version", "2", "--as-of", "2026-03-01")
    for _ in range(5):
        ratchet("advance", "--as-of", "2026-03-02")
    assert ratchet("--json")["aliases"] == {"champion": 2, "previous": 1}
    assert "champion of order_returns is version 1 again" in ratchet("revert", "--reason", "complaints")
    assert ratchet("--json")["aliases"] == {"champion": 1, "previous": 2}


def test_what_cannot_be_done_is_said(ratchet):
    with pytest.raises(RolloutError, match="expected one, such as ./ratchet rollout order_returns start --version 3"):
        ratchet("start")
    with pytest.raises(RolloutError, match="no version of order_returns is being handed over"):
        ratchet("pause")
    with pytest.raises(NothingToRevertError, match="order_returns"):
        ratchet("revert")
    assert ratchet("look", "--json")["action"] == "none"


def test_actions_are_those_of_the_form():
    from include.ratchet.orchestration.rollouts import ACTIONS

    assert set(ACTIONS) - {None} | {"status", "start"} == set(rollout.Action.__args__)
