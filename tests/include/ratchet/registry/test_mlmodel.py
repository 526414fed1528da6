"""A segment's model folder against the one that MLflow makes of the same estimator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from include.ratchet.registry.formats import dump_model, load_model
from include.ratchet.registry.mlmodel import pack_model, render_environment, save_model
from include.ratchet.spec import ModelSpec
from tests.include.ratchet.training.data import make_model

# MLflow 3.17 warns of its own type hints when it is imported, and of integers in signatures.
pytestmark = pytest.mark.filterwarnings("default")

ROWS = pd.DataFrame({"x": np.linspace(0, 1, 200), "kind": np.array(["a", None] * 100, dtype=object)})


def make_folders(tmp_path: Path, task: str) -> tuple[Path, Path, ModelSpec]:
    """Of one estimator: MLflow's folder, and ours."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    spec = make_model(tmp_path / "spec", task=task).spec
    last = HistGradientBoostingRegressor() if task == "regression" else HistGradientBoostingClassifier()
    encoded = make_column_transformer((OrdinalEncoder(), ["kind"]), remainder="passthrough")
    label = ROWS["x"] if task == "regression" else ROWS["x"] > 0.3
    content, form = dump_model(make_pipeline(encoded, last).fit(ROWS, label), spec)
    estimator = load_model(content, form, spec)
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    save_model(estimator, form, ROWS[:5], spec, theirs)
    ours.mkdir()
    for path, held in pack_model(estimator, content, form, ROWS[:5], spec, render_environment()).items():
        (ours / path).write_bytes(held)
    return theirs, ours, spec


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_it_loads_and_predicts_as_mlflows_own(tmp_path, task):
    import mlflow

    theirs, ours, _ = make_folders(tmp_path, task)
    found, wanted = mlflow.pyfunc.load_model(str(ours)), mlflow.pyfunc.load_model(str(theirs))
    assert np.array_equal(found.predict(ROWS), wanted.predict(ROWS))
    assert found.metadata.signature == wanted.metadata.signature
    assert mlflow.sklearn.load_model(str(ours)).predict(ROWS).shape == (200,)


def test_it_says_the_same_of_itself(tmp_path):
    from mlflow.models import Model

    theirs, ours, _ = make_folders(tmp_path, "binary")
    found, wanted = (Model.load(str(folder)).to_dict() for folder in (ours, theirs))
    for own in ("model_uuid", "utc_time_created", "model_size_bytes", "saved_input_example_info"):
        found.pop(own, None)
        wanted.pop(own, None)
    assert found == wanted


def test_its_environment_can_be_made_again_by_conda_and_by_pip(tmp_path):
    import mlflow
    import yaml
    from mlflow.utils.virtualenv import _get_python_env

    theirs, ours, _ = make_folders(tmp_path, "binary")
    found, wanted = (yaml.safe_load((folder / "conda.yaml").read_text()) for folder in (ours, theirs))
    assert found == wanted
    listed = Path(mlflow.pyfunc.get_model_dependencies(str(ours))).read_text().split()
    assert listed == (theirs / "requirements.txt").read_text().split()
    environment = _get_python_env(ours)
    assert (environment.python, environment.dependencies) == (_get_python_env(theirs).python, listed)
