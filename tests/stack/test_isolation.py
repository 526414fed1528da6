"""Searches and fits in real containers: the same result, no network, a limit of memory, and nothing left behind."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest

from include.ratchet.errors import ContainerError, OutOfMemoryError, SearchError
from include.ratchet.orchestration.containers import LABEL, _run
from include.ratchet.pipeline import judge, train
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.settings import PROJECT
from include.ratchet.spec.scaffold import make_model
from include.ratchet.spec.training import ResourcesSpec
from include.ratchet.stack.client import FINISHED, AirflowClient
from include.ratchet.stack.contained import pack, unpack
from include.ratchet.stack.control import start_stack, stop_stack
from tests.include.ratchet.stack.test_contained import AS_OF, KEY, workspace  # noqa: F401 - a fixture
from tests.stack.engine import docker

pytestmark = [pytest.mark.stack, pytest.mark.filterwarnings("default")]
ESTIMATOR = f"models/{KEY.model}/estimator.py"
SMALL = ResourcesSpec(memory="800MB")


@pytest.fixture
def request_of(workspace, images, monkeypatch):  # noqa: F811
    monkeypatch.setenv("RATCHET_TRAINING_IMAGE", images["RATCHET_IMAGE"])

    def make(name):
        found = TrainingRequest(KEY, name, AS_OF, trials=3, force=True)
        train.take_snapshot(workspace, found)
        return found

    yield make
    assert docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}").strip() == ""


def spoil(files, body):
    """The model's room with an estimator that does something else first."""
    return {**files, ESTIMATOR: files[ESTIMATOR] + f"\n_true = estimator\n\n\ndef estimator(*words):\n{body}"
            "    return _true(*words)\n".encode()}  # fmt: skip


def test_search_and_fit_in_a_container_give_what_they_give_otherwise(workspace, request_of):  # noqa: F811
    asked = request_of("boxed")
    for step in ("plan_trials", "run_trials", "fit"):
        unpack(workspace, asked, _run(step, "boxed", SMALL, pack(workspace, asked)))
    usual = TrainingRequest(KEY, "usual", AS_OF, trials=3)
    assert np.array_equal(judge.read_fitted(workspace, asked).scores, judge.read_fitted(workspace, usual).scores)


def test_estimator_reaches_nothing(workspace, request_of):  # noqa: F811
    asked = request_of("reaching")
    unpack(workspace, asked, _run("plan_trials", "reaching", SMALL, pack(workspace, asked)))
    body = "    import socket\n    socket.create_connection(('8.8.8.8', 53), 5)\n"
    files = spoil(pack(workspace, asked), body)
    unpack(workspace, asked, _run("run_trials", "reaching", SMALL, files))
    with pytest.raises(SearchError, match="Network is unreachable"):
        unpack(workspace, asked, _run("fit", "reaching", SMALL, pack(workspace, asked)))


def test_too_much_memory_is_said(workspace, request_of):  # noqa: F811
    asked = request_of("greedy")
    files = spoil(pack(workspace, asked), "    bytearray(2_000_000_000)\n")
    with pytest.raises(OutOfMemoryError, match="more than 800MB of memory.*training.resources.memory"):
        _run("plan_trials", "greedy", SMALL, files)


def test_killed_container_is_worth_another_try(workspace, request_of):  # noqa: F811
    asked = request_of("killed")
    files = spoil(pack(workspace, asked), "    import time\n    time.sleep(600)\n")

    def kill():
        while not (found := docker("ps", "--quiet", "--filter", f"label={LABEL}=killed").split()):
            time.sleep(0.2)
        time.sleep(1)
        docker("kill", *found)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ContainerError, match="was killed"):
        _run("plan_trials", "killed", SMALL, files)
    killer.join()
    assert unpack(workspace, asked, _run("plan_trials", "killed", SMALL, pack(workspace, asked))) == [0]


def test_what_a_dead_worker_left_is_removed(workspace, request_of, images):  # noqa: F811
    asked = request_of("left")
    docker("run", "--detach", "--label", f"{LABEL}=left", images["RATCHET_IMAGE"], "sleep", "600")
    assert unpack(workspace, asked, _run("plan_trials", "left", SMALL, pack(workspace, asked))) == [0]


@pytest.fixture
def airflow(tmp_path, images):
    """A running Airflow with a model whose searches and fits are to run in containers."""
    folder = make_model(tmp_path / "models", KEY.model)
    spec = (folder / "model.yaml").read_text()
    isolated = "training:\n  isolation: docker\n  resources: {memory: 1GB}\n  search: {trials: 2}\n"
    (folder / "model.yaml").write_text(spec.replace("training:\n", isolated))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "RATCHET", "MLFLOW"))}
    environ = {
        **kept, "RATCHET_HOME": str(tmp_path / "home"), "RATCHET_MODELS_DIR": str(tmp_path / "models"),
        "RATCHET_TRAINING_IMAGE": images["RATCHET_IMAGE"], "PYTHONPATH": str(PROJECT),
    }  # fmt: skip
    layout = start_stack(tmp_path / "home", environ, {}, print)
    try:
        with AirflowClient.of(layout) as client:
            yield client
    finally:
        stop_stack(tmp_path / "home")


def test_training_of_a_running_airflow_runs_in_containers(airflow):
    """The engine has seen its search and its fit, and nothing is left of their containers."""
    client = airflow
    train_id, since = f"train_{KEY.model}", time.time()
    for dag, conf in ((f"ingest_{KEY.model}", {"first": "2025-12-25", "last": "2026-02-28"}),
                      (train_id, {"as_of": "2026-03-01"})):  # fmt: skip
        client.wait_for_dag(dag, timeout_s=120)
        run_id = client.trigger(dag, conf)
        deadline = time.monotonic() + 420
        while (state := client.run(dag, run_id)["state"]) not in FINISHED:
            assert time.monotonic() < deadline
            time.sleep(1)
        tasks = {one["task_id"]: one["state"] for one in client.tasks(dag, run_id)}
        assert state == "success", tasks
    started = docker("events", "--since", f"{since:.0f}", "--until", f"{time.time():.0f}", "--filter", "event=start",
                     "--format", f'{{{{index .Actor.Attributes "{LABEL}"}}}}').split()  # fmt: skip
    steps = {owner.split("/")[2] for owner in started if owner.startswith(train_id)}
    assert steps == {"search.plan_trials", "search.run_trials", "judge.fit"}
    assert docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}").strip() == ""
