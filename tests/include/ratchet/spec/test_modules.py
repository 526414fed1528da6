from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from include.ratchet.errors import SpecError
from include.ratchet.spec import Model, load_model
from include.ratchet.spec.modules import load_function

SPEC = """
name: toy
owner: us
description: A toy that the tests load.
task: binary
source: {python: rows}
keys: [id]
event_time: at
label: {column: y}
"""


@pytest.fixture
def model(tmp_path: Path) -> Model:
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "model.yaml").write_text(SPEC)
    return load_model(folder)


def test_a_function_is_loaded_once_and_sys_path_is_left_alone(model: Model) -> None:
    (model.folder / "features.py").write_text("calls = []\ndef features(t):\n    return len(calls)\n")
    before = list(sys.path)
    assert load_function(model, "features.py", "features") is load_function(model, "features.py", "features")
    assert sys.path == before


def test_a_changed_file_is_run_again(model: Model) -> None:
    path = model.folder / "features.py"
    path.write_text("def features():\n    return 1\n")
    assert load_function(model, "features.py", "features")() == 1
    path.write_text("def features():\n    return 2\n")
    assert load_function(model, "features.py", "features")() == 2


def test_models_of_one_name_in_two_places_do_not_meet(model: Model, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "toy"
    other.mkdir(parents=True)
    (other / "model.yaml").write_text(SPEC)
    (model.folder / "features.py").write_text("def features():\n    return 'here'\n")
    (other / "features.py").write_text("def features():\n    return 'there'\n")
    assert load_function(model, "features.py", "features")() == "here"
    assert load_function(load_model(other), "features.py", "features")() == "there"
    assert load_function(model, "features.py", "features")() == "here"


def test_classes_of_a_model_survive_pickling_in_the_process(model: Model) -> None:
    (model.folder / "estimator.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass Kept:\n    value: int\n\ndef build():\n    return Kept(3)\n"
    )
    kept = load_function(model, "estimator.py", "build")()
    assert pickle.loads(pickle.dumps(kept)) == kept  # noqa: S301


def test_a_missing_file_names_the_path(model: Model) -> None:
    with pytest.raises(SpecError, match=r"features\.py: cannot be read .*'toy' needs this file"):
        load_function(model, "features.py", "features")


def test_a_missing_function_suggests_the_near_name(model: Model) -> None:
    (model.folder / "features.py").write_text("def feature(t):\n    return t\n")
    with pytest.raises(SpecError, match=r"features: no such function; .* did you mean 'feature'\?"):
        load_function(model, "features.py", "features")
    (model.folder / "features.py").write_text("features = 3\n")
    with pytest.raises(SpecError, match="found int; expected a function"):
        load_function(model, "features.py", "features")


def test_a_file_that_breaks_says_how_and_is_tried_again(model: Model) -> None:
    path = model.folder / "features.py"
    path.write_text("import surely_no_such_module\n")
    with pytest.raises(SpecError, match=r"cannot be imported: ModuleNotFoundError: .*surely_no_such_module"):
        load_function(model, "features.py", "features")
    path.write_text("def features():\n    return 5\n")
    assert load_function(model, "features.py", "features")() == 5
