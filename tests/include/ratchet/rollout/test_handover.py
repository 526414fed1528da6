"""From a verdict to a hand-over, with trainings, a registry and a database that are real."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.ratchet.data.connections import MappedConnections
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.promote import promote
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.registry.versions import client_of
from include.ratchet.rollout import actions, store, transitions
from include.ratchet.rollout.orders import Order
from include.ratchet.rollout.revert import revert
from include.ratchet.rollout.routes import Route, read_routes
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from include.ratchet.spec.scaffold import make_model
from tests.include.ratchet.rollout.traffic import order

KEY = ModelKey("order_returns")
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
# MLflow 3.17 without its server warns of its own SQLAlchemy usage and leaves connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handover")
    made = make_model(folder / "models", "order_returns") / "model.yaml"
    made.write_text(
        made.read_text() + "gates: {versus_champion: non_inferior, reproducible: false}\nrollout: {strategy: canary}\n"
    )
    settings = read_settings({"RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models")})
    settings.home.mkdir()
    upgrade(settings.database_url)
    yield Workspace(settings, MappedConnections({}), lambda: datetime(2026, 3, 1, 6, tzinfo=UTC))
    engine_of(settings.database_url).dispose()


def request(name):
    return TrainingRequest(KEY, name, AS_OF, trials=1, force=True)


def train(workspace, name):
    model = workspace.model("order_returns")
    return run_model(workspace, model, request(name), lambda *_: None).promotion


def registered(workspace):
    return client_of(workspace.settings).get_registered_model("order_returns").aliases


def test_life(workspace, monkeypatch):
    """One test: each step stands on the one before, and trainings take seconds."""
    settings = workspace.settings
    # The first version has nobody to take over from.
    first = train(workspace, "one")
    assert (first.is_promoted, first.is_started) == (True, False)
    # The second one becomes challenger; said again it is the same hand-over.
    second = train(workspace, "two")
    assert (second.is_promoted, second.is_started, second.champion) == (False, True, 1)
    assert second.reason == "hand-over by canary has begun"
    assert registered(workspace) == {"champion": 1, "challenger": 2}
    assert promote(workspace, request("two")).reason == "hand-over by canary began before"
    assert read_routes(settings)[KEY] == Route("shadow", 1, 2, 0.0, "order_returns:2", is_shadowed=True)
    # A third takes its place while it is a shadow, but not once it answers.
    third = train(workspace, "three")
    assert third.is_started
    assert registered(workspace) == {"champion": 1, "challenger": 3}
    assert not promote(workspace, request("two")).is_started
    model = workspace.model("order_returns")
    later = AS_OF + timedelta(days=1)
    actions.advance(settings, model, KEY, later, order())
    fourth = train(workspace, "four")
    assert (fourth.is_promoted, fourth.is_started) == (False, False)
    assert "version 3 is being handed over (stage canary 5 %)" in fourth.reason
    assert ledger.history(KEY, settings)[-1].kind == "conflict"
    # Taken back with the command that takes back anything; the training does not begin it again.
    found = revert(workspace.settings, KEY, Order("Ada", "complaints", workspace.clock()))
    assert (found.before, found.after, found.is_rollout) == (3, 1, True)
    assert registered(workspace) == {"champion": 1}
    again = promote(workspace, request("three"))
    assert (again.is_started, again.reason) == (False, "hand-over by canary began before and has ended")
    # A person starts it again, and it goes to the end; the process dies before the registry has followed.
    actions.start(settings, model, KEY, ledger.AliasState(3, AS_OF), order(), later)
    for _ in range(4):
        actions.advance(settings, model, KEY, later, order())
    with monkeypatch.context() as patch:
        patch.setattr(transitions, "follow", _die)
        with pytest.raises(KeyboardInterrupt):
            actions.advance(settings, model, KEY, later, order())
    assert registered(workspace) == {"champion": 1, "challenger": 3}
    assert actions.step(settings, model, KEY, later, order()).decision.action == "none"
    assert registered(workspace) == {"champion": 3, "previous": 1}
    assert store.read(KEY, settings).status == "finished"
    # Without a hand-over the same command goes back to the previous champion; the same order does so once.
    for _ in range(2):
        found = revert(workspace.settings, KEY, Order("Ada", "complaints", workspace.clock(), "form-1"))
        assert (found.before, found.after, found.is_rollout) == (3, 1, False)
    assert registered(workspace) == {"champion": 1, "previous": 3}


def _die(*_):
    raise KeyboardInterrupt
