"""Airflow's real web server with its real login, and a real MLflow server behind it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from include.ratchet.registry.versions import client_of
from include.ratchet.settings import Settings, read_settings
from tests.airflow_database import migrate
from tests.ports import free_port

os.environ["AIRFLOW__API_AUTH__JWT_SECRET"] = (
    "a secret that is long enough for the way in which tokens are signed, 64 bytes or more"
)


@pytest.fixture(scope="session")
def server() -> Iterator[httpx.Client]:
    """Airflow's API server with the plugin loaded as Airflow loads it."""
    migrate()
    from airflow.api_fastapi.app import create_app

    app = create_app(apps="core")
    port = free_port()
    running = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.05)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield client
    running.should_exit = True
    thread.join()


@pytest.fixture
def login(server: httpx.Client) -> dict[str, str]:
    """Headers of somebody who may read everything."""
    return headers_of("reader", "viewer")


def headers_of(name: str, role: str | None) -> dict[str, str]:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return {
        "Authorization": f"Bearer {get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role=role))}"
    }


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RATCHET_HOME", str(tmp_path))
    return read_settings(os.environ)


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", f"--backend-store-uri=sqlite:///{home}/mlflow.db",
               f"--artifacts-destination={home}/files", f"--port={port}", "--workers=1"]  # fmt: skip
    environ = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (home / "log").open("w") as log, subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(f"{url}/health", process, home / "log")
            yield url
        finally:
            process.terminate()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(url, timeout=2).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(log.read_text())


@pytest.fixture
def carded(mlflow_url: str, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> str:
    """Path of a version's card that MLflow holds."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    client = client_of(read_settings(os.environ))
    name = f"carded_{time.time_ns()}"
    run = client.create_run(client.create_experiment(name)).info
    client.log_text(run.run_id, "<h1>card</h1>", "card.html")
    client.log_text(run.run_id, "not really a picture", "plots/slices.png")
    client.log_text(run.run_id, "secret", "plots/model.pkl")
    client.set_terminated(run.run_id)
    client.create_registered_model(name)
    client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id)
    return f"/ratchet/cards/{name}/1/"
