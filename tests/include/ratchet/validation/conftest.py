from __future__ import annotations

from pathlib import Path

import pytest

from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from tests.include.ratchet.data.orders import make_settings, write_model


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return write_model(tmp_path)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)
