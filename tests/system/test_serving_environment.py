"""The prediction service with the packages of its own lock alone, beside a real MLflow, PostgreSQL and object store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.records import RecordTable
from include.ratchet.data.store import open_client
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.registry.versions import client_of
from include.ratchet.replay import Selection, replay
from include.ratchet.serving.keys import add_key
from include.ratchet.settings import PROJECT, read_settings
from include.ratchet.spec.scaffold import make_model
from include.ratchet.stack import components, postgres
from include.ratchet.stack.components import Component
from include.ratchet.stack.layout import open_layout
from tests.include.ratchet.serving.conftest import AS_OF, KEY, MODEL, make_rows, set_route
from tests.object_store import open_store
from tests.ports import free_port
from tests.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.filterwarnings("default")]

FOREIGN = (
    "airflow",
    "mlflow",
    "great_expectations",
    "evidently",
    "optuna",
    "fairlearn",
    "matplotlib",
    "typer",
    "pytest",
)
ROWS = make_rows(5)


@dataclass
class Installation:
    """What a service is given: where everything is, a key, and a webhook that notes what it hears."""

    workspace: Workspace
    environ: dict[str, str]
    key: str
    heard: list[dict[str, Any]]


@dataclass
class Process:
    """A service in a process of its own."""

    python: Path
    environ: dict[str, str]
    key: str
    folder: Path
    port: int = field(default_factory=free_port)
    running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open_client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=30)

    @property
    def output(self) -> str:
        return (self.folder / "service.log").read_text()

    def start(self, **limits: float) -> None:
        environ = {
            **self.environ, "RATCHET_SERVING_PORT": str(self.port), "RATCHET_SERVING_AUTH": "on",
            "RATCHET_SERVING_LOG": str(self.folder / "log"),
            **{f"RATCHET_SERVING_{name.upper()}": str(value) for name, value in limits.items()},
        }  # fmt: skip
        with (self.folder / "service.log").open("ab") as log:
            command = [self.python, "-m", "include.ratchet.serving"]
            self.running = subprocess.Popen(command, env=environ, cwd=self.folder, stdout=log, stderr=log)
        wait_for(self._is_ready, 60)

    def kill(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait()

    def _is_ready(self) -> bool:
        assert self.running is not None
        assert self.running.poll() is None, self.output
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/v2/health/ready").status_code == 200
        return False


@contextmanager
def run(component: Component, environ: dict[str, str], log: Path) -> Iterator[None]:
    """A part of the stack by itself."""
    with log.open("ab") as file, subprocess.Popen(
        component.command, env=environ, stdout=file, stderr=file, cwd="/", **postgres.become(component.user)
    ) as process:  # fmt: skip
        try:
            yield
        finally:
            process.send_signal(component.stop_signal)


@contextmanager
def webhook(heard: list[dict[str, Any]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The scaffold's model, trained with everything installed, and a second version that is a copy of the champion."""
    folder, heard = tmp_path_factory.mktemp("installation"), []
    layout = open_layout(folder / "home")
    with ExitStack() as parts:
        options = parts.enter_context(open_store(folder / "store", "ratchet")).options
        places = {"RATCHET_MODELS_DIR": str(folder / "models"), "RATCHET_STORE": "s3://ratchet/store", **options}
        environ = layout.environment({"PATH": os.environ["PATH"], **places})
        postgres.initialise(layout)
        parts.enter_context(run(components.database(layout), environ, folder / "postgres.log"))
        postgres.create_databases(layout)
        mlflow = components.mlflow(layout)
        parts.enter_context(run(mlflow, environ, folder / "mlflow.log"))
        make_model(folder / "models", MODEL)
        settings = read_settings(environ)
        upgrade(settings.database_url)
        workspace = Workspace(settings, MappedConnections({}), lambda: datetime(2026, 3, 1, 6, tzinfo=UTC))
        wait_for(mlflow.is_healthy, 90)
        request = TrainingRequest(KEY, "first", AS_OF, trials=2)
        run_model(workspace, workspace.model(MODEL), request, lambda *_: None)
        first = client_of(settings).get_model_version(KEY.slug, "1")
        client_of(settings).create_model_version(KEY.slug, first.source, first.run_id, first.tags)
        named = ("PATH", "PYTHONPATH", "RATCHET_HOME", "RATCHET_DATABASE_URL", "MLFLOW_TRACKING_URI")
        given = {name: environ[name] for name in (*named, *places)}
        given["RATCHET_SLACK_WEBHOOK"] = parts.enter_context(webhook(heard))
        yield Installation(workspace, given, add_key("test", ["predict"], AS_OF, settings), heard)
        engine_of(settings.database_url).dispose()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment made of requirements-serving.txt alone."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    uv = Path(sys.executable).with_name("uv")
    install = ["pip", "install", "--quiet", "--require-hashes", "-r", PROJECT / "requirements-serving.txt"]
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    subprocess.run([uv, *install, "--python", folder / "bin" / "python"], check=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def process(python: Path, installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    found = Process(python, installation.environ, installation.key, tmp_path_factory.mktemp("service"))
    found.start(poll_s=0.2, ship_s=3600)
    yield found
    found.kill()


def predict(process: Process, rows: list[dict[str, Any]] = ROWS, **more: Any) -> httpx.Response:
    with process.open_client() as client:
        return client.post(f"/v1/models/{MODEL}/predict", json={"rows": rows, **more})


def test_environment_holds_the_lock_and_nothing_else(python):
    found = f"from importlib.util import find_spec; print([name for name in {FOREIGN} if find_spec(name)])"
    assert subprocess.run([python, "-c", found], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_protocol_gives_the_same_answers(process):
    answer = predict(process)
    assert answer.status_code == 200, process.output
    scores = [one["score"] for one in answer.json()["predictions"]]
    assert {one["version"] for one in answer.json()["predictions"]} == {1}
    inputs = [
        {"name": name, "datatype": "FP64" if name == "price" else "BYTES", "shape": [len(ROWS)],
         "data": [row[name] for row in ROWS]}
        for name in ROWS[0]
    ]  # fmt: skip
    with process.open_client() as client:
        tensors = client.post(f"/v2/models/{MODEL}/infer", json={"inputs": inputs}).json()["outputs"]
        pairs = client.post(f"/v1/models/{MODEL}/invocations", json={"dataframe_records": ROWS}).json()["predictions"]
        counts = client.get("/metrics").text
        assert client.get("/openapi.json").status_code == 200
    assert next(one["data"] for one in tensors if one["name"] == "score") == scores
    assert [positive for _, positive in pairs] == scores
    assert f'ratchet_predictions_total{{model="{MODEL}",route="champion",version="1"}} 15.0' in counts


def test_no_key_no_answer(process):
    assert httpx.post(f"{process.url}/v1/models/{MODEL}/predict", json={"rows": ROWS}).status_code == 401


def test_answer_outlives_the_process_and_is_repeated_to_the_bit_by_the_whole_environment(process, installation):
    first = predict(process, request_id="before")
    process.kill()
    process.start(poll_s=0.2, ship_s=0.5)
    again = predict(process, request_id="before")
    assert again.headers["x-repeated"] == "true"
    assert again.json() == first.json()
    workspace = installation.workspace
    table = RecordTable(workspace.settings, workspace.model(MODEL), "requests")
    wait_for(lambda: table.version() is not None and len(table.read()) == 4 * len(ROWS))
    report = replay(workspace, MODEL, Selection("before"))
    assert report.records == len(ROWS)
    assert report.is_identical
    assert report.features.equal == len(ROWS)


def test_change_of_champion_is_followed(process, installation):
    set_route(installation.workspace.settings, None, champion=2)
    wait_for(lambda: {one["version"] for one in predict(process).json()["predictions"]} == {2}, 5)


def test_version_that_cannot_serve_is_said_and_kept_while_the_old_one_goes_on(process, installation):
    settings = installation.workspace.settings
    set_route(settings, None, champion=99)
    wait_for(lambda: bool(installation.heard))
    client = open_client(dict(settings.storage_options))
    (kept,) = client.list_objects_v2(Bucket="ratchet", Prefix=f"store/alerts/{MODEL}/")["Contents"]
    wait_for(lambda: "alert: sent" in process.output)
    alert = json.loads(client.get_object(Bucket="ratchet", Key=kept["Key"])["Body"].read())
    client.close()
    assert alert["outcome"] == "sent"
    assert alert["text"] == installation.heard[0]["text"]
    assert f"{KEY}: version 99 cannot serve, what answered before goes on" in alert["text"]
    assert {one["version"] for one in predict(process).json()["predictions"]} == {2}
    time.sleep(1)
    assert len(installation.heard) == 1
