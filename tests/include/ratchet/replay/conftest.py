"""One life for all tests here, and a copy of its store for those that change it."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from include.ratchet.registry.database import engine_of
from include.ratchet.spec import ModelKey
from tests.include.ratchet.divided import copy_version, set_champion
from tests.include.ratchet.replay.lived import NAME, live


@pytest.fixture(scope="session")
def lived(tmp_path_factory):
    workspace = live(tmp_path_factory.mktemp("lived"))
    yield workspace
    engine_of(workspace.settings.database_url).dispose()


@pytest.fixture
def workspace(lived, tmp_path):
    """Tables of the test's own; registry and code are shared."""
    shutil.copytree(lived.settings.store, tmp_path / "store")
    return replace(lived, settings=replace(lived.settings, store=str(tmp_path / "store")))


@pytest.fixture(scope="session")
def registered(lived):
    """Two versions for each of two shops: their log odds are moved by so much."""
    for shop, shifts in {"north": (1.0, 2.0), "web": (-1.0, -2.0)}.items():
        for shift in shifts:
            copy_version(lived.settings, ModelKey(NAME, shop), shift)
    return lived


@pytest.fixture
def divide(workspace, registered, tmp_path):
    """Divides the model, in a database and a folder of the test's own; north and web have champions."""
    engines = []

    def make(segments="{by: shop}"):
        home = tmp_path / "home"
        home.mkdir()
        shutil.copy(registered.settings.home / "ratchet.db", home / "ratchet.db")
        shutil.copytree(registered.settings.models_dir, tmp_path / "models")
        spec = tmp_path / "models" / NAME / "model.yaml"
        spec.write_text(f"{spec.read_text()}segments: {segments}\n")
        settings = replace(
            workspace.settings, home=home, models_dir=tmp_path / "models", database_url=f"sqlite:///{home}/ratchet.db"
        )
        engines.append(engine_of(settings.database_url))
        for shop in ("north", "web"):
            set_champion(settings, ModelKey(NAME, shop), 1)
        return replace(workspace, settings=settings)

    yield make
    for engine in engines:
        engine.dispose()
