"""A database and a registry that is only noted down."""

from __future__ import annotations

import pytest

from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.rollout import actions, transitions
from include.ratchet.rollout import revert as reverting
from tests.include.ratchet.rollout.traffic import crown, make_settings


@pytest.fixture
def settings(tmp_path):
    found = make_settings(tmp_path)
    upgrade(found.database_url)
    crown(found)
    yield found
    engine_of(found.database_url).dispose()


@pytest.fixture
def registry(monkeypatch):
    """MLflow's aliases, as `follow` would leave them."""
    seen: dict[str, int] = {}

    def follow(key, aliases, settings):
        seen.clear()
        seen.update({alias: state.version for alias, state in aliases.items()})

    for module in (actions, reverting, transitions):
        monkeypatch.setattr(module, "follow", follow)
    return seen
