"""The Compose file, brought up on a real engine with two workers, and taken down with nothing left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from include.ratchet.errors import StackError
from include.ratchet.settings import PROJECT
from include.ratchet.stack.client import FINISHED, AirflowClient
from include.ratchet.stack.secrets import write_secrets
from tests.ports import free_port
from tests.stack.engine import STANDINS, docker, engine, find_images, run
from tests.system.conftest import add_model
from tests.waiting import wait_for

NAME = "ratchet-test"
PARTS = ("postgres", "redis", "store", "mlflow", "api-server", "scheduler", "dag-processor", "triggerer", "worker",
         "serving")  # fmt: skip
MILD = {"min_metric": 0.5, "beats_baseline": -0.5, "margin": 0.5, "max_slice_drop": None, "max_ece": None}


@dataclass
class Compose:
    """The running stack, by Compose's words and by Airflow's API."""

    files: list[Path]
    environ: Mapping[str, str]
    secrets: Mapping[str, str]
    client: AirflowClient

    def __call__(self, *words: str, timeout_s: float = 900) -> str:
        options = [option for file in self.files for option in ("-f", str(file))]
        # In the project's folder, so that a command can be copied from the documentation.
        return run("docker-compose", "-p", NAME, "--project-directory", str(PROJECT), *options, *words,
                   timeout_s=timeout_s, environ=self.environ)  # fmt: skip

    def python(self, code: str) -> Any:
        """What a line of Python prints as JSON in the environment of Airflow's parts."""
        said = self("exec", "-T", "scheduler", "python", "-c", code)
        return json.loads(said.strip().splitlines()[-1])

    def psql(self, database: str, query: str, user: str = "postgres") -> str:
        password = {"ratchet_serving": "SERVING", "postgres": ""}.get(user, user.upper())
        secret = self.secrets[f"{password}_DB_PASSWORD" if password else "POSTGRES_PASSWORD"]
        url = f"postgresql://{user}:{secret}@127.0.0.1/{database}"
        return self("exec", "-T", "postgres", "psql", "-At", "-v", "ON_ERROR_STOP=1", url, "-c", query)

    def containers(self, part: str = "") -> list[dict[str, Any]]:
        """Of one service, or all of them, as Docker describes them."""
        wanted = ["--filter", f"label=com.docker.compose.project={NAME}"]
        if part:
            wanted += ["--filter", f"label=com.docker.compose.service={part}"]
        ids = docker("ps", "--all", "--quiet", *wanted).split()
        return json.loads(docker("inspect", *ids)) if ids else []

    def crash(self, container: Mapping[str, Any]) -> None:
        """End its first process as the kernel would: nobody asked for it, so the engine starts it again."""
        with suppress(ProcessLookupError):
            os.kill(container["State"]["Pid"], signal.SIGKILL)

    def wait_healthy(self, timeout_s: float = 400) -> None:
        wait_for(lambda: all(one["State"].get("Health", {}).get("Status") == "healthy"
                             for part in PARTS for one in self.containers(part)),
                 timeout_s, self.explain, every_s=1)  # fmt: skip

    def explain(self) -> str:
        """Every part's state and last words."""
        states = {one["Name"]: one["State"].get("Health", {}).get("Status", one["State"]["Status"])
                  for one in self.containers()}  # fmt: skip
        sick = [name for name, state in states.items() if state not in ("healthy", "exited")]
        words = {name: docker("logs", "--tail", "15", name)[-1500:] for name in sick}
        return f"{states} {words}"

    def start(self, dag: str, conf: Mapping[str, Any]) -> str:
        self.client.wait_for_dag(dag, timeout_s=180)
        return self.client.trigger(dag, conf)

    def finish(self, dag: str, run_id: str, timeout_s: float = 900) -> str:
        deadline = time.monotonic() + timeout_s
        while True:
            # Who asks while everything is being killed is not always answered.
            with suppress(StackError):
                state = str(self.client.run(dag, run_id)["state"])
                if state in FINISHED:
                    return state
            assert time.monotonic() < deadline, f"{dag} {run_id}: {self.explain()}"
            time.sleep(1)

    def run_dag(self, dag: str, conf: Mapping[str, Any]) -> str:
        run_id = self.start(dag, conf)
        state = self.finish(dag, run_id)
        assert state == "success", f"{dag} {run_id}: {self.log_of_failed(dag, run_id)}"
        return run_id

    def log_of_failed(self, dag: str, run_id: str) -> str:
        """The last words of the tasks that failed, from the store."""
        failed = [one for one in self.client.tasks(dag, run_id) if one["state"] == "failed"]
        logs = (
            self.client.request(
                "GET", f"/dags/{dag}/dagRuns/{run_id}/taskInstances/{one['task_id']}/logs/{one['try_number']}",
                params={"map_index": one["map_index"], "full_content": True}, headers={"Accept": "application/json"},
            )
            for one in failed
        )  # fmt: skip
        return "\n".join(f"{one['task_id']}: {str(log)[-4000:]}" for one, log in zip(failed, logs, strict=True))


@pytest.fixture(scope="session")
def images() -> Iterator[dict[str, str]]:
    """A running engine, and the Compose file's images in it."""
    with engine():
        yield find_images()


@pytest.fixture(scope="session")
def compose(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    folder = tmp_path_factory.mktemp("compose")
    models, secrets = folder / "models", folder / ".env"
    models.mkdir()
    add_model(models, "flight_delay", gates=MILD)
    write_secrets(secrets)
    made = dict(line.split("=", 1) for line in secrets.read_text().splitlines())
    ports = {name: free_port() for name in ("AIRFLOW", "MLFLOW", "SERVING")}
    files = [PROJECT / "docker-compose.yaml", Path(__file__).with_name("models.yaml")]
    if "standin" in images["STORE_IMAGE"]:
        files.append(STANDINS / "store.yaml")
    published = {f"{name}_PORT": f"127.0.0.1:{port}" for name, port in ports.items()}
    url = f"http://127.0.0.1:{ports['AIRFLOW']}"
    environ = {
        **made,
        **images,
        **published,
        "AIRFLOW_URL": url,
        "TEST_MODELS": str(models),
        "WORKER_CONCURRENCY": "2",
    }
    with AirflowClient(url, "admin", made["AIRFLOW_ADMIN_PASSWORD"]) as client:
        stack = Compose(files, environ, made, client)
        try:
            stack("up", "--detach", "--no-build", "--scale", "worker=2")
            stack.wait_healthy()
            yield stack
        finally:
            with suppress(AssertionError, subprocess.TimeoutExpired):
                stack("down", "--volumes", "--timeout", "20")
