"""A trained model, and real services of it over HTTP."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from include.ratchet.data.connections import MappedConnections
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.serving.alarms import report_moved
from include.ratchet.serving.app import create_app
from include.ratchet.serving.config import ServingConfig
from include.ratchet.serving.gate import Gate
from include.ratchet.serving.keys import Keyring
from include.ratchet.serving.service import Service
from include.ratchet.settings import Settings, read_settings
from include.ratchet.spec import ModelKey, segment_name
from include.ratchet.spec.scaffold import make_model
from tests.include.ratchet.divided import copy_version, set_champion
from tests.ports import free_port
from tests.waiting import wait_for

MODEL = "order_returns"
KEY = ModelKey(MODEL)
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
HOSTILE = ["a/b", "a~1b", "all", "it's", '"', "🛫", "x" * 300, "x" * 301, "../..", "é", " ", "\n", "\0", "{}", "%2F"]
OWN = ["north", "web"]


@dataclass
class Served:
    """A running service and a client of it."""

    service: Service
    client: httpx.Client
    url: str
    reports: list[tuple[ModelKey, int, Exception]] = field(default_factory=list)

    def predict(self, rows: list[dict[str, Any]], **more: Any) -> httpx.Response:
        return self.client.post(f"/v1/models/{MODEL}/predict", json={"rows": rows, **more})

    def wait_for(self, is_so: Callable[[], bool], timeout_s: float = 5.0) -> None:
        wait_for(is_so, timeout_s, every_s=0.05)


def make_rows(count: int = 1, start: datetime = AS_OF, **changes: Any) -> list[dict[str, Any]]:
    """Orders of the hour after the online features' last word."""
    return [
        {"order_id": f"new-{number}", "ordered_at": (start + timedelta(seconds=number)).isoformat(),
         "shop": ("north", "south", "web")[number % 3], "price": 10.0 + number, **changes}
        for number in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two versions of the scaffold's model, the second one champion."""
    folder = tmp_path_factory.mktemp("trained")
    make_model(folder / "models", MODEL)
    workspace = open_workspace(folder)
    upgrade(workspace.settings.database_url)
    for name in ("first", "second"):
        request = TrainingRequest(KEY, name, AS_OF, trials=2, force=True)
        result = run_model(workspace, workspace.model(MODEL), request, lambda *_: None)
        assert result.promotion is not None
        assert result.promotion.is_promoted
    engine_of(workspace.settings.database_url).dispose()
    return folder


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy that a test may change. MLflow's own files stay where they are, as they know their place."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("ratchet.db",):
        shutil.copy(trained / name, folder / name)
    shutil.copytree(trained / "models", folder / "models")
    yield folder
    engine_of(f"sqlite:///{folder}/ratchet.db").dispose()


def open_workspace(folder: Path) -> Workspace:
    settings = read_settings({"RATCHET_HOME": str(folder), "RATCHET_MODELS_DIR": str(folder / "models")})
    return Workspace(settings, MappedConnections({}), lambda: datetime(2026, 3, 1, 6, tzinfo=UTC))


@pytest.fixture
def settings(home: Path, trained: Path) -> Settings:
    environ = {
        "RATCHET_HOME": str(home), "RATCHET_MODELS_DIR": str(home / "models"), "RATCHET_STORE": str(home / "store"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{trained}/mlflow.db",
    }  # fmt: skip
    return read_settings(environ)


@pytest.fixture
def serve(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts services, over real sockets."""
    running: list[tuple[uvicorn.Server, threading.Thread, Served]] = []

    def start(mask_with: str = "a word", webhook: str = "", **limits: Any) -> Served:
        config = ServingConfig(**{"log_dir": tmp_path / "log", "poll_s": 0.1, "ship_s": 60.0, **limits})
        reports: list[tuple[ModelKey, int, Exception]] = []
        service = Service(settings, config, mask_with, lambda *one: reports.append(one))
        app = create_app(
            service, Gate(config, Keyring(settings)), report_moved(settings, {"RATCHET_SLACK_WEBHOOK": webhook})
        )
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        url = f"http://127.0.0.1:{port}"
        served = Served(service, httpx.Client(base_url=url, timeout=30), url, reports)
        running.append((server, thread, served))
        return served

    yield start
    for server, thread, served in running:
        served.client.close()
        server.should_exit = True
        thread.join(30)


def set_route(settings: Settings, route: dict[str, Any] | None, champion: int | None = None) -> None:
    """Put a route or a champion into the database, as a hand-over does."""
    from sqlalchemy import text

    with engine_of(settings.database_url).begin() as connection:
        if champion is not None:
            change = text("UPDATE aliases SET version = :v WHERE alias = 'champion'")
            connection.execute(change, {"v": champion})
        connection.execute(text("DELETE FROM rollouts"))
        if route is not None:
            state = json.dumps({"route": route})
            row = {"m": MODEL, "s": "all", "state": state, "at": AS_OF}
            connection.execute(text("INSERT INTO rollouts VALUES (:m, :s, 1, :state, :at)"), row)


def key_of(value: str) -> ModelKey:
    return ModelKey(MODEL, segment_name([value]))


@pytest.fixture(scope="session")
def registered(trained: Path) -> Settings:
    """Two versions of each segment in the registry, each with log odds of its own; `web` has a broken third one."""
    settings = open_workspace(trained).settings
    for place, value in enumerate([*OWN, *HOSTILE]):
        for further in (0.0, 0.5):
            copy_version(settings, key_of(value), 1.0 + place / 10 + further)
    copy_version(settings, key_of("web"), is_broken=True)
    copy_version(settings, key_of("broken"), is_broken=True)
    return settings


@pytest.fixture
def divided(registered: Settings, settings: Settings) -> Settings:
    """The model divided by region, which no feature reads; north and web have champions of their own."""
    return divide(settings)


def divide(settings: Settings, more: str = "") -> Settings:
    path = settings.models_dir / MODEL / "model.yaml"
    text = path.read_text().replace("  price:", "  region: {type: string}\n  price:")
    path.write_text(f"{text}segments: {{by: region{more}}}\n")
    for value in OWN:
        set_champion(settings, key_of(value), 1)
    return settings
