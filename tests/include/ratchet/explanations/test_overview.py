"""What a version leans on: sizes by hand, intervals that cover them, and its way through JSON."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from include.ratchet.explanations.explainer import Explainer
from include.ratchet.explanations.overview import Overview, sample_evenly, survey
from tests.include.ratchet.training.data import make_model


def make(estimator, count=2000):
    draw = np.random.default_rng(1)
    frame = pd.DataFrame({"x": draw.normal(size=count), "z": draw.normal(size=count), "one": np.ones(count)})
    label = (2 * frame["x"] - frame["z"] + draw.normal(size=count) > 0).astype(int)
    return frame, estimator.fit(frame, label)


def test_sizes_and_shares_are_those_of_the_coefficients(tmp_path):
    frame, estimator = make(LogisticRegression())
    background = sample_evenly(frame, 100)
    spec = make_model(tmp_path).spec
    found = survey(spec, Explainer(estimator, background, "binary", 0), frame, 100, {"x": 0.2})
    rows = sample_evenly(frame, 200)
    sizes = np.abs(estimator.coef_[0] * (rows - background.mean())).mean()
    assert [one.column for one in found.weights] == ["x", "z", "one"]
    for one in found.weights:
        assert one.size.value == pytest.approx(sizes[one.column], abs=1e-12)
        assert one.share.value == pytest.approx(sizes[one.column] / sizes.sum(), abs=1e-12)
        assert one.size.low <= one.size.value <= one.size.high
    assert sum(one.share.value for one in found.weights) == pytest.approx(1)
    assert (found.method, found.space, found.rows, found.background) == ("linear", "log_odds", 200, 100)
    assert [one.lost for one in found.weights] == [0.2, None, None]


def test_interval_covers_the_size_over_all_rows(tmp_path):
    frame, estimator = make(LogisticRegression())
    background = sample_evenly(frame, 100)
    (leading, *_) = survey(make_model(tmp_path).spec, Explainer(estimator, background, "binary", 0), frame, 100).weights
    truth = np.abs(estimator.coef_[0][0] * (frame["x"] - background["x"].mean())).mean()
    assert leading.size.low < truth < leading.size.high
    assert leading.size.high - leading.size.low < 0.3 * truth


def test_an_estimator_that_is_asked_is_explained_on_fewer_rows_and_says_why(tmp_path, monkeypatch):
    frame, estimator = make(KNeighborsClassifier(15), 300)
    monkeypatch.setattr(Explainer, "measure_seconds", lambda self: 0.001)
    found = survey(make_model(tmp_path).spec, Explainer(estimator, frame.iloc[:30], "binary", 0), frame, 30)
    assert (found.method, found.rows) == ("enumerated", 25)
    assert "KNeighborsClassifier" in found.note


def test_a_slow_estimator_is_explained_on_the_fewest_rows(tmp_path, monkeypatch):
    frame, estimator = make(KNeighborsClassifier(15), 300)
    monkeypatch.setattr(Explainer, "measure_seconds", lambda self: 1000.0)
    assert survey(make_model(tmp_path).spec, Explainer(estimator, frame.iloc[:30], "binary", 0), frame, 30).rows == 5


def test_a_model_that_says_always_the_same_leans_on_nothing(tmp_path):
    frame, estimator = make(LogisticRegression())
    estimator.coef_[:] = 0
    found = survey(make_model(tmp_path).spec, Explainer(estimator, frame.iloc[:50], "binary", 0), frame, 50)
    assert {one.share.value for one in found.weights} == {0.0}
    assert {one.size.high for one in found.weights} == {0.0}


def test_overview_goes_through_json_unchanged(tmp_path):
    frame, estimator = make(LogisticRegression())
    found = survey(make_model(tmp_path).spec, Explainer(estimator, frame.iloc[:50], "binary", 0), frame, 50)
    assert Overview.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize(("rows", "count", "expected"), [(1, 100, [0]), (5, 3, [0, 2, 4]), (4, 4, [0, 1, 2, 3])])
def test_sample_is_even_and_bounded(rows, count, expected):
    assert sample_evenly(pd.DataFrame({"x": range(rows)}), count)["x"].tolist() == expected
