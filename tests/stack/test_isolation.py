"""Searches and fits in real containers: the same result, no network, a limit of memory, and nothing left behind."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from include.ratchet.errors import ContainerError, OutOfMemoryError, SearchError
from include.ratchet.orchestration.containers import LABEL, _run
from include.ratchet.pipeline import judge, train
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.spec.training import ResourcesSpec
from include.ratchet.stack.contained import pack, unpack
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
