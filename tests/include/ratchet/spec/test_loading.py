"""What users read when their spec is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from include.ratchet.errors import ModelNotFoundError, SpecError
from include.ratchet.spec import Model, get_model, load_model, load_models

SMALL = """\
name: rain
owner: weather-team
description: Will it rain tomorrow, for farmers.
task: binary
source: {python: rows}
keys: [station]
event_time: day
label: {column: rained}
"""


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.yaml").write_text(text)
    return folder


def explain(tmp_path: Path, text: str) -> str:
    with pytest.raises(SpecError) as caught:
        load_model(write(tmp_path / "rain", text))
    return str(caught.value)


def test_smallest_spec_is_short_and_has_defaults(tmp_path):
    model = load_model(write(tmp_path / "rain", SMALL))
    assert len(SMALL.splitlines()) < 25
    assert model.spec.metric == "roc_auc"
    assert model.spec.training.split.by == "time"
    assert model.spec.gates.versus_champion == "non_inferior"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("task: binary", "task: binery", r":4: task: found 'binery'; input should be .*; did you mean 'binary'\?"),
        ("owner: weather-team\n", "", r"owner: missing; expected .* Add it\."),
        (
            "label: {column",
            "label: {colum",
            r"label\.colum: no such key; did you mean 'column'\? Expected one of: column,",
        ),
        ("task: binary", "task: binary\ntask: regression", r"model.yaml:5: task: stands twice, first in line 4\. Take"),
        ("{column: rained}", "{column: rained, column: wet}", r":8: column: stands twice, first in line 8"),
        ("keys: [station]", "keys: []", r"keys: found \[\]; tuple should have at least 1 item"),
        ("{python: rows}", "{python: rows, sql: select 1}", r"source: expected exactly one of .*; found python, sql"),
        ("{python: rows}", "{sql: select 1}", r"source: a `sql` source needs `connection`"),
        ("name: rain", "name: snow", r":1: name: found 'snow'; expected the folder's name 'rain'"),
        ("event_time: day", "event_time: day\ntimezone: America/NewYork", r"did you mean 'America/New_York'\?"),
        (
            "event_time: day",
            "event_time: day\nprediction_lead: two hours",
            r"found 'two hours'; expected a whole number",
        ),
        ("event_time: day", "event_time: day\nschedule: {train: nightly}", r"not a cron expression"),
        ("event_time: day", "event_time: day\nevaluation: {metric: rmse}", r"rmse does not measure a binary task"),
        (
            "event_time: day",
            "event_time: day\ntraining: {window: {length: 20d}}",
            r"shorten them or lengthen the window",
        ),
        (
            "event_time: day",
            "event_time: day\ntraining: {candidates: {a: {space: {C: {int: [3, 1]}}}}}",
            r"training\.candidates\.a\.space\.C: the range \[3, 1\] is empty; expected \[low, high\]",
        ),
        (
            "event_time: day",
            "event_time: day\ntraining: {candidates: {a: {space: {C: {floot: [1, 3]}}}}}",
            r"training\.candidates\.a\.space\.C.*: expected one of int, float and choice",
        ),
    ],
)
def test_error_says_where_what_and_what_to_do(tmp_path, old, new, words):
    message = explain(tmp_path, SMALL.replace(old, new))
    assert re.search(words, message), message
    assert str(tmp_path / "rain" / "model.yaml") in message


def test_every_problem_is_told_at_once_with_its_line(tmp_path):
    message = explain(tmp_path, SMALL.replace("binary", "binery").replace("column", "colum"))
    assert message.startswith("3 problems in ")
    assert "model.yaml:4: task" in message
    assert "model.yaml:8: label.column: missing" in message


@pytest.mark.parametrize("text", ["- a\n- b\n", "name: [\n", "", "\tname: x"])
def test_what_is_no_spec_at_all_is_said(tmp_path, text):
    assert "model.yaml" in explain(tmp_path, text)


def test_broken_spec_leaves_the_others_alone(tmp_path):
    write(tmp_path / "rain", SMALL)
    write(tmp_path / "snow", "name: [")
    found = load_models(tmp_path)
    assert isinstance(found["rain"], Model)
    assert isinstance(found["snow"], SpecError)


def test_unknown_model_names_the_near_one(tmp_path):
    write(tmp_path / "rain", SMALL)
    with pytest.raises(ModelNotFoundError, match="did you mean 'rain'"):
        get_model(tmp_path, "rian")


def test_hash_is_of_the_meaning(tmp_path):
    first = load_model(write(tmp_path / "rain", SMALL)).spec.hash
    assert load_model(write(tmp_path / "rain", "# a comment\n" + SMALL + "partition: day\n")).spec.hash == first
    assert load_model(write(tmp_path / "rain", SMALL + "partition: hour\n")).spec.hash != first
