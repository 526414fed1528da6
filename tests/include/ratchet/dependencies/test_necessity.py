"""Necessity: what is planted as useless, doubled or needed is told so, within its budget."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from include.ratchet.dependencies.necessity import find_necessity
from include.ratchet.dependencies.ties import find_ties
from include.ratchet.spec import get_model
from include.ratchet.spec.scaffold import make_model
from include.ratchet.training.fit import Candidate
from include.ratchet.training.split import Split

FEATURES = """
from include.ratchet.features import Features, lookup

def features(t):
    visits = lookup(t.visits, on={"shop": "place"})
    return Features(price=t.rows.price, twin=t.rows.price * 2, age=t.rows.age, people=visits.people)
"""
ESTIMATOR = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import StandardScaler

def estimator(name, params, seed, threads):
    chosen = make_column_transformer((StandardScaler(), ["price", "twin", "age", "people"]))
    return make_pipeline(chosen, LogisticRegression())
"""
MORE = """
tables:
  visits: {source: {python: orders}, keys: [place], columns: {place: {type: string}, people: {type: float}}}
dependencies: {costs: {visits: 40 EUR a month, visits.people: 0.5 ms a row}, tolerance: 0.01, max_rows: 1000REFITS}
"""
ROWS = 3000


@pytest.fixture
def make(tmp_path):
    def model(refits=""):
        folder = make_model(tmp_path, "order_returns")
        (folder / "features.py").write_text(FEATURES)
        (folder / "estimator.py").write_text(ESTIMATOR)
        path = folder / "model.yaml"
        text = path.read_text().replace("  price:", "  age: {type: float}\n  price:")
        path.write_text(text + MORE.replace("REFITS", refits))
        return get_model(tmp_path, "order_returns")

    return model


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    price, age, people = random.normal(size=(3, ROWS))
    frame = pd.DataFrame({"price": price, "twin": price * 2, "age": age, "people": people})
    label = (random.random(ROWS) < 1 / (1 + np.exp(-1.5 * price - 0.8 * age))).astype(np.int8)
    rows = np.arange(ROWS)
    return frame, label, Split(rows[:1500], rows[1500:2500], rows[2500:])


def look(model, data):
    frame, label, split = data
    importance = {"price": 0.2, "twin": 0.1, "age": 0.1, "people": 0.0}
    name = next(iter(model.spec.training.candidates))
    return find_necessity(model, Candidate(name, {}), frame, label, split, find_ties(frame), importance)


def test_useless_column_could_go_with_its_table_and_needed_ones_could_not(make, data):
    found = look(make(), data)
    assert found.could_go == ("people",)
    people, *others = found.needs
    assert people.frees == ("visits", "order_returns.shop", "visits.people")
    assert people.costs == ("visits: 40 EUR a month", "visits.people: 0.5 ms a row")
    assert people.bytes_a_row == 8
    # One of the pair alone could be left out for nothing: they are left out together.
    assert {need.features: need.could_go for need in others} == {("price", "twin"): False, ("age",): False}
    lost = {need.features: need.lost for need in found.needs}
    assert lost["price", "twin"].low > 0.1
    assert lost["age",].low > 0.01
    assert (found.learnt_rows, found.measured_rows, found.left, found.together) == (1000, 1000, 0, None)


def test_what_is_lost_is_what_a_model_without_the_column_loses(make, data):
    """Against scikit-learn's own metric of a model fitted on the other columns only."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame, label, split = data
    learn, measure = split.train[-1000:], split.validation
    values = []
    for columns in (["price", "twin", "age", "people"], ["price", "twin", "people"]):
        fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame[columns].iloc[learn], label[learn])
        values.append(roc_auc_score(label[measure], fitted.predict_proba(frame[columns].iloc[measure])[:, 1]))
    found = look(make(), data)
    assert found.value == pytest.approx(values[0], abs=1e-6)
    age = next(need for need in found.needs if need.features == ("age",))
    assert age.lost.value == pytest.approx(values[0] - values[1], abs=1e-6)


def test_budget_ends_it_with_the_least_important_first(make, data):
    found = look(make(", refits: 1"), data)
    assert [need.features for need in found.needs] == [("people",)]
    assert found.left == 2


def test_all_that_could_go_is_tried_at_once(make, data):
    frame, _, split = data
    label = np.random.default_rng(1).integers(0, 2, ROWS).astype(np.int8)
    found = look(make(), (frame, label, split))
    wide = next(iter(found.needs)).lost
    assert wide.high - wide.low < 0.1
    if len([need for need in found.needs if need.could_go]) > 1:
        assert found.together is not None or len(found.could_go) == len(frame.columns)


def test_estimator_that_refuses_is_noted(make, data):
    model = make()
    path = model.folder / "estimator.py"
    path.write_text(ESTIMATOR.replace("(StandardScaler(), [", "(make_pipeline(Picky(), StandardScaler()), [")
                    + "\nfrom sklearn.base import BaseEstimator, TransformerMixin\n"
                    "class Picky(TransformerMixin, BaseEstimator):\n"
                    "    def fit(self, rows, label=None):\n"
                    "        if (rows.nunique() == 1).any():\n"
                    "            raise ValueError('no variance')\n"
                    "        self.fitted_ = True\n"
                    "        return self\n"
                    "    def transform(self, rows):\n"
                    "        return rows\n")  # fmt: skip
    found = look(model, data)
    assert found.could_go == ()
    assert {need.note for need in found.needs} == {"ValueError: no variance"}
    assert all(need.lost is None for need in found.needs)
