"""Steps by themselves, in a process that has nothing but what is handed over; tests/stack puts them into containers."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from include.ratchet.data.connections import MappedConnections
from include.ratchet.errors import SearchError, SpecError
from include.ratchet.pipeline import judge, train
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.settings import PROJECT, read_settings
from include.ratchet.spec import ModelKey, get_model
from include.ratchet.spec.scaffold import make_model
from include.ratchet.stack.contained import REQUEST, RESULT, STUDY, environment, pack, unpack

KEY = ModelKey("order_returns")
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
# MLflow 3.17 without its server warns of its own SQLAlchemy usage and leaves connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """An installation whose model was trained once, the usual way."""
    folder = tmp_path_factory.mktemp("contained")
    make_model(folder / "models", "order_returns")
    settings = read_settings({"RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models")})
    settings.home.mkdir()
    upgrade(settings.database_url)
    found = Workspace(settings, MappedConnections({}), lambda: datetime(2026, 3, 1, 6, tzinfo=UTC))
    run_model(found, found.model(KEY.model), TrainingRequest(KEY, "usual", AS_OF, trials=3), lambda *step: None)
    yield found
    engine_of(settings.database_url).dispose()


def run_alone(step, files, folder):
    """What a container does, without one: no database, no store, no secret."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), **environment(str(folder), os.environ)}
    command = [sys.executable, "-m", "include.ratchet.stack.contained", step]
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    inner = [path for path in folder.rglob("*") if path.is_file()]
    kept = {str(path.relative_to(folder)): path.read_bytes() for path in inner}
    return {path: content for path, content in kept.items() if path in (RESULT, STUDY) or path.startswith("store/runs")}


def test_search_and_fit_alone_give_what_they_give_otherwise(workspace, tmp_path):
    request = TrainingRequest(KEY, "alone", AS_OF, trials=3, force=True)
    train.take_snapshot(workspace, request)
    for step, expected in (("plan_trials", [0]), ("run_trials", 3), ("fit", None)):
        files = pack(workspace, request)
        assert not [path for path in files if path.endswith(".pyc")]
        found = unpack(workspace, request, run_alone(step, files, tmp_path / step))
        assert expected is None or found == expected
    usual = TrainingRequest(KEY, "usual", AS_OF, trials=3)
    assert [one["value"] for one in train.conclude_search(workspace, request).trials] == [
        one["value"] for one in train.conclude_search(workspace, usual).trials
    ]
    assert np.array_equal(judge.read_fitted(workspace, request).scores, judge.read_fitted(workspace, usual).scores)
    # What has ended is not done again.
    again = run_alone("run_trials", pack(workspace, request), tmp_path / "again")
    assert unpack(workspace, request, again) == 0


def test_error_of_a_step_comes_back_as_what_it_is(workspace, tmp_path):
    request = TrainingRequest(KEY, "broken", AS_OF, trials=2, force=True)
    train.take_snapshot(workspace, request)
    files = pack(workspace, request)
    estimator = f"models/{KEY.model}/estimator.py"
    files[estimator] += b"\n\ndef estimator(*anything):\n    raise ValueError('not today')\n"
    with pytest.raises(RuntimeError, match="ValueError: not today"):
        unpack(workspace, request, run_alone("plan_trials", files, tmp_path / "plan"))
    unpack(workspace, request, run_alone("plan_trials", pack(workspace, request), tmp_path / "good"))
    files = {**pack(workspace, request), estimator: files[estimator]}
    unpack(workspace, request, run_alone("run_trials", files, tmp_path / "run"))
    with pytest.raises(SearchError, match="not today"):
        unpack(workspace, request, run_alone("fit", pack(workspace, request), tmp_path / "fit"))


def test_what_is_handed_over_does_not_say_where_the_database_is(workspace):
    request = TrainingRequest(KEY, "alone", AS_OF, trials=3, force=True)
    files = pack(workspace, request)
    assert {REQUEST, STUDY} < files.keys()
    assert {path.split("/")[0] for path in files} == {REQUEST, STUDY, "store", "models"}
    assert not [path for path, content in files.items() if workspace.settings.database_url.encode() in content]


@pytest.mark.parametrize("kernels", ["Nehalem", "Haswell"])
def test_step_computes_with_the_workers_kernels_and_sees_no_secret(kernels, tmp_path):
    """Others round otherwise: what a worker was told to compute with, its container is told too."""
    seen = environment(str(tmp_path), {"OPENBLAS_CORETYPE": kernels, "RATCHET_MASK_SECRET": "secret"})
    assert seen.keys() == {"OPENBLAS_CORETYPE", "RATCHET_HOME", "RATCHET_MODELS_DIR"}
    command = [sys.executable, "-c", "from include.ratchet.registry.lineage import read_kernels as read; print(read())"]
    done = subprocess.run(command, env=seen, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"openblas {kernels}"


def test_a_model_of_segments_is_not_contained(workspace):
    path = workspace.settings.models_dir / KEY.model / "model.yaml"
    text = path.read_text()
    try:
        path.write_text(text.replace("training:\n", "segments: {by: shop}\ntraining:\n  isolation: docker\n"))
        with pytest.raises(SpecError, match="docker does not go with a model of segments"):
            get_model(workspace.settings.models_dir, KEY.model)
    finally:
        path.write_text(text)
