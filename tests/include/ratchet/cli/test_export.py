"""The commands that write for other tools, as people and scripts meet them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
import yaml
from typer.testing import CliRunner

from include.ratchet.cli.__main__ import app
from include.ratchet.cli.export import exports
from include.ratchet.data.connections import MappedConnections
from include.ratchet.errors import ExportError, VersionNotFoundError
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from include.ratchet.spec.scaffold import make_model

COMMANDS = sorted(one.name for one in exports.registered_commands)
# MLflow 3.17 without its server warns of its own SQLAlchemy usage and leaves connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An installation with one model and its champion, and one model that was never trained."""
    folder = tmp_path_factory.mktemp("export")
    for name in ("orders", "untrained"):
        make_model(folder / "models", name)
    settings = read_settings({"RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models")})
    settings.home.mkdir()
    upgrade(settings.database_url)
    workspace = Workspace(settings, MappedConnections({}), lambda: datetime(2026, 3, 1, 6, tzinfo=UTC))
    request = TrainingRequest(ModelKey("orders"), "first", datetime(2026, 3, 1, tzinfo=UTC), trials=2)
    assert run_model(workspace, workspace.model("orders"), request, lambda *_: None).promotion.is_promoted
    yield folder
    engine_of(settings.database_url).dispose()


@pytest.fixture
def ratchet(home, tmp_path, monkeypatch):
    """Run a command in it, from a folder of its own."""
    monkeypatch.setenv("RATCHET_HOME", str(home / "home"))
    monkeypatch.setenv("RATCHET_MODELS_DIR", str(home / "models"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*words):
        done = CliRunner().invoke(app, ["export", *words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output if "--json" not in words else json.loads(done.stdout)

    return run


def test_every_command_is_there():
    assert COMMANDS == ["dvc", "feast"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_says_how_scripts_read_it(name):
    shown = CliRunner().invoke(app, ["export", name, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert f"Example: ./ratchet export {name}" in shown.output
    assert "--json" in shown.output


def test_a_pointer_to_the_champions_training_set(ratchet, tmp_path):
    found = ratchet("dvc", "orders", "--to", "data", "--json")
    assert found["path"] == "data/orders-1.parquet.dvc"
    document = yaml.safe_load((tmp_path / "data/orders-1.parquet.dvc").read_text())
    assert document["outs"][0]["md5"] == found["md5"]
    assert document["meta"]["ratchet"]["version"] == 1
    assert "dvc update data/orders-1.parquet.dvc" in ratchet("dvc", "orders", "--version", "1", "--to", "data")


def test_without_a_version_it_says_so(ratchet, tmp_path):
    with pytest.raises(VersionNotFoundError, match="no champion; name a version"):
        ratchet("dvc", "untrained", "--to", "data")
    with pytest.raises(VersionNotFoundError, match="no version 9"):
        ratchet("dvc", "orders", "--version", "9", "--to", "data")
    (tmp_path / "taken").write_text("")
    with pytest.raises(ExportError, match="expected a folder"):
        ratchet("dvc", "orders", "--to", "taken")


def test_features_that_feast_cannot_express_are_told_with_the_reason(ratchet, tmp_path):
    found = ratchet("feast", "orders", "--to", "repo", "--json")
    assert found["views"] == {}
    assert set(found["left_out"]) == {"shop", "price", "shop_return_rate_7d"}
    assert "shop_return_rate_7d" in ratchet("feast", "orders", "--to", "repo")
    assert yaml.safe_load((tmp_path / "repo/feature_store.yaml").read_text())["project"] == "orders"
