"""One bag of the project's DAGs for all tests here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def bag():
    return fill_bag()


def fill_bag():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(PROJECT / "dags"))


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """A models folder of the test's own, and a way to add models to it."""
    models = tmp_path / "models"
    shutil.copytree(PROJECT / "include/models/flight_delay", models / "flight_delay")
    monkeypatch.setenv("RATCHET_MODELS_DIR", str(models))

    def add(name: str, spec: str) -> Path:
        (models / name).mkdir()
        (models / name / "model.yaml").write_text(spec)
        return models / name

    return add
