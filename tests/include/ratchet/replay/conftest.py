"""One life for all tests here, and a copy of its store for those that change it."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from include.ratchet.registry.database import engine_of
from tests.include.ratchet.replay.lived import live


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
