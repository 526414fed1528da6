"""Likely label errors: planted ones are found, whatever the task, and the same ones every time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from include.ratchet.errors import TooFewRowsError
from include.ratchet.labels.suspects import find_suspects
from include.ratchet.spec import load_model
from include.ratchet.training.fit import Candidate

SPEC = """
name: beasts
owner: zoo
description: Which beast is it? A small model for tests.
task: {task}
source: {{python: beasts}}
keys: [id]
event_time: at
label: {{column: kind{more}}}
columns:
  id: {{type: integer, nullable: false}}
  at: {{type: timestamp, nullable: false}}
  x: {{type: float}}
  y: {{type: float}}
  kind: {{type: {kind}}}
training: {{candidates: {{plain: {{}}}}}}
"""
FEATURES = """
from include.ratchet.features import Features


def features(t):
    return Features(x=t.rows.x, y=t.rows.y)
"""
ESTIMATOR = """
from sklearn.linear_model import LinearRegression, LogisticRegression


def estimator(candidate, params, seed, threads):
    return {kind}
"""
ROWS, SHARE = 600, 0.05


def make_model(folder, task, kind, more=""):
    (folder / "beasts").mkdir()
    (folder / "beasts/model.yaml").write_text(SPEC.format(task=task, kind=kind, more=more))
    (folder / "beasts/features.py").write_text(FEATURES)
    made = "LinearRegression()" if task == "regression" else "LogisticRegression(random_state=seed)"
    (folder / "beasts/estimator.py").write_text(ESTIMATOR.format(kind=made))
    return load_model(folder / "beasts")


def table_of(x, y, labels):
    return pa.table({"id": np.arange(len(x)), "x": x, "y": y, "kind": labels})


def clusters(names, seed=0):
    """Well separated clusters, 5 % of whose labels are another class's: rows, and the true labels of those."""
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, len(names), ROWS)
    angle = 2 * np.pi * codes / len(names)
    x, y = (4 * side(angle) + generator.normal(0, 1, ROWS) for side in (np.cos, np.sin))
    flipped = generator.random(ROWS) < SHARE
    said = np.where(flipped, (codes + generator.integers(1, len(names), ROWS)) % len(names), codes)
    truth = {f"[{row}]": names[codes[row]] for row in np.flatnonzero(flipped)}
    return table_of(x, y, [names[code] for code in said]), truth


def check(suspects, truth):
    hits = [one for one in suspects if one.key in truth]
    assert len(hits) / len(suspects) >= 0.9
    assert len(hits) / len(truth) >= 0.9
    assert [one.score for one in suspects] == sorted(one.score for one in suspects)
    assert all(0 <= one.score <= 1 for one in suspects)
    return hits


@pytest.mark.parametrize(
    ("task", "kind", "more", "names"),
    [
        ("binary", "boolean", "", [False, True]),
        ("binary", "string", ", positive: yes_", ["no_", "yes_"]),
        ("multiclass", "string", "", ["ape", "bat", "cat"]),
        ("multiclass", "integer", "", [1, 2, 3]),
    ],
)
def test_planted_errors_are_found_with_the_true_label(tmp_path, task, kind, more, names):
    model = make_model(tmp_path, task, kind, more)
    table, truth = clusters(names)
    suspects = find_suspects(model, Candidate("plain", {}), table, 5)
    assert all(one.suggested == truth[one.key] for one in check(suspects, truth))
    assert find_suspects(model, Candidate("plain", {}), table, 5) == suspects


def test_planted_outliers_of_numbers_are_found(tmp_path):
    model = make_model(tmp_path, "regression", "float")
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(2, ROWS))
    truth = 3 * x - y + generator.normal(0, 0.1, ROWS)
    wrong = np.flatnonzero(generator.random(ROWS) < SHARE)
    said = truth.copy()
    said[wrong] += generator.choice([-1, 1], len(wrong)) * generator.uniform(2, 5, len(wrong))
    suspects = find_suspects(model, Candidate("plain", {}), table_of(x, y, said), 5)
    hits = check(suspects, {f"[{row}]": truth[row] for row in wrong})
    assert max(abs(one.suggested - truth[int(one.key[1:-1])]) for one in hits) < 0.5


def test_clean_labels_raise_little_suspicion(tmp_path):
    table, truth = clusters([False, True])
    labels = [truth.get(f"[{row}]", label) for row, label in enumerate(table["kind"].to_pylist())]
    clean = table.set_column(3, "kind", pa.array(labels))
    assert len(find_suspects(make_model(tmp_path, "binary", "boolean"), Candidate("plain", {}), clean, 5)) <= 3


def test_class_of_few_rows_lowers_the_folds_and_a_single_one_is_said(tmp_path):
    model = make_model(tmp_path, "binary", "boolean")
    table, _ = clusters([False, True])
    few = pa.concat_tables([table.slice(row, 1) for row in _first_rows(table, 30, 3)])
    assert isinstance(find_suspects(model, Candidate("plain", {}), few, 5), list)
    lonely = pa.concat_tables([table.slice(row, 1) for row in _first_rows(table, 30, 1)])
    with pytest.raises(TooFewRowsError, match="1 of the rarest of 2 classes"):
        find_suspects(model, Candidate("plain", {}), lonely, 5)


def test_too_few_numbers_are_said(tmp_path):
    model = make_model(tmp_path, "regression", "float")
    with pytest.raises(TooFewRowsError, match="3 labelled rows; expected at least 5"):
        find_suspects(model, Candidate("plain", {}), table_of([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], [1.0, 2.0, 3.0]), 5)


def _first_rows(table, falses, trues):
    labels = np.array(table["kind"].to_pylist())
    return [*np.flatnonzero(~labels)[:falses], *np.flatnonzero(labels)[:trues]]
