"""One training for all tests here, and a copy of what they change."""

from __future__ import annotations

import pytest

from include.ratchet.registry.database import engine_of
from tests.include.ratchet.monitoring import watched as worlds


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    found = worlds.train(tmp_path_factory.mktemp("watched"))
    yield found
    engine_of(found.workspace.settings.database_url).dispose()


@pytest.fixture
def watched(trained, tmp_path):
    found = worlds.copy(trained, tmp_path)
    yield found
    engine_of(found.workspace.settings.database_url).dispose()
