"""The checklist asks everything, answers from data what data can, and shows what nobody has said."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from include.ratchet.evaluation.sources import Finding, Served, find_sources, tell_group
from tests.include.ratchet.training.data import make_model

ROWS = 4000


def make(**changes):
    """Two groups that differ in nothing."""
    draw = np.random.default_rng(4)
    columns = {
        "group": draw.choice(np.array(["a", "b"]), ROWS), "x": draw.normal(size=ROWS), "z": draw.normal(size=ROWS),
        "town": draw.choice(np.array(["one", "two"]), ROWS),
    }  # fmt: skip
    label = (draw.random(ROWS) < 0.3).astype(int)
    return columns | {name: change(columns, draw) for name, change in changes.items()}, label


def look(tmp_path, columns, label, served=None, **evaluation):
    spec = make_model(tmp_path, evaluation={"sensitive": ["group"], **evaluation}).spec
    table = pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
    features = [name for name in columns if name != "group"]
    return {one.question: one for one in find_sources(spec, table, label, features, served)}


def about(found, words):
    return next(one for question, one in found.items() if words in question)


def test_alike_groups_raise_nothing_and_the_owner_has_everything_to_say(tmp_path):
    columns, label = make()
    groups = columns["group"]
    found = look(tmp_path, columns, label, Served({"group": groups[:1000]}, np.ones(1000, bool)))
    assert {one.status for one in found.values() if one.by == "data"} == {"answered"}
    assert [one.status for one in found.values() if one.by == "owner"] == ["open"] * 3


def test_what_the_owner_said_is_shown_and_peoples_labels_are_to_be_looked_at(tmp_path):
    columns, label = make()
    said = {"label_source": "human", "selection": "Everybody who applied.", "notes": "See ticket 4."}
    found = look(tmp_path, columns, label, bias=said)
    assert about(found, "made the labels").status == "look"
    assert about(found, "chosen").answer == "Everybody who applied."
    assert about(found, "change which labels").status == "open"
    assert about(found, "else").answer == "See ticket 4."
    measured = look(tmp_path, columns, label, bias={"label_source": "measured"})
    assert about(measured, "made the labels").status == "answered"


@pytest.mark.parametrize(
    ("words", "changes", "told"),
    [
        (
            "values missing",
            {"x": lambda c, d: np.where((c["group"] == "a") & (d.random(ROWS) < 0.4), None, c["x"])},
            "x is",
        ),
        ("tell the group", {"town": lambda c, d: np.where(d.random(ROWS) < 0.8, c["group"], "two")}, "town (AUC 0."),
        ("tell the group", {"z": lambda c, d: c["z"] + 2.0 * (c["group"] == "b")}, "z (AUC 0.9"),
    ],
    ids=["missing", "a text tells", "a number tells"],
)
def test_what_the_rows_show_is_to_be_looked_at(tmp_path, words, changes, told):
    columns, label = make(**changes)
    one = about(look(tmp_path, columns, label), words)
    assert one.status == "look"
    assert told in one.answer


def test_a_frequent_label_in_one_group_is_seen(tmp_path):
    columns, label = make()
    label = np.where(columns["group"] == "a", (np.arange(ROWS) % 2), label)
    one = about(look(tmp_path, columns, label), "y alike")
    assert one.status == "look"
    assert "a 49" in one.answer


def test_served_rows_show_who_is_missing_and_whose_labels_do_not_come(tmp_path):
    columns, label = make()
    groups = np.array(["a"] * 400 + ["b"] * 1600)
    arrived = np.where(groups == "a", np.arange(2000) % 4 == 0, True)
    found = look(tmp_path, columns, label, Served({"group": groups}, arrived))
    assert about(found, "as they are among those served").status == "look"
    assert "20.0%" in about(found, "as they are among those served").answer
    assert about(found, "Do labels come").status == "look"
    assert "a 25.0%" in about(found, "Do labels come").answer
    nobody = look(tmp_path, columns, label)
    for words in ("as they are among those served", "Do labels come"):
        assert about(nobody, words).answer.startswith("no row that was served lately tells")
        assert about(nobody, words).status == "open"


def test_an_attribute_that_is_a_feature_is_said_to_be_one(tmp_path):
    columns, label = make()
    spec = make_model(tmp_path, evaluation={"sensitive": ["group"]}).spec
    found = find_sources(spec, pa.table(columns), label, ["group", "x"], None)
    (one,) = [each for each in found if "tell the group" in each.question]
    assert one.status == "look"
    assert one.answer.startswith("group is a feature itself; beside it: x")


def test_auc_is_scikit_learns_of_the_half_that_was_not_learnt_from():
    draw = np.random.default_rng(0)
    groups = draw.choice(np.array(["a", "b"]), ROWS)
    values = draw.normal(size=ROWS) + (groups == "a")
    expected = roc_auc_score(groups[1::2] == "a", values[1::2])
    assert tell_group(pa.chunked_array([values]), groups) == pytest.approx(expected, abs=0.02)
    noise = pa.chunked_array([[f"t{number}" for number in range(ROWS)]])
    assert tell_group(noise, groups) < 0.55
    assert tell_group(pa.chunked_array([pa.nulls(ROWS, pa.float64())]), groups) == 0.5


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_other_tasks_have_a_checklist_too(tmp_path, task):
    columns, label = make()
    values = label + 2.0 * (columns["group"] == "a") if task == "regression" else label
    spec = make_model(tmp_path, task=task, evaluation={"sensitive": ["group"]}).spec
    found = find_sources(spec, pa.table(columns), values, ["x"], None)
    alike = [one for one in found if "y alike" in one.question]
    assert [one.status for one in alike] == (["look"] if task == "regression" else [])


def test_no_sensitive_attribute_is_an_open_question(tmp_path):
    columns, label = make()
    spec = make_model(tmp_path).spec
    found = find_sources(spec, pa.table(columns), label, ["x"], None)
    assert found[-1].question == "Which groups could fare unalike?"
    assert found[-1].status == "open"
    assert tuple(Finding.from_dict(json.loads(json.dumps(one.to_dict()))) for one in found) == found
