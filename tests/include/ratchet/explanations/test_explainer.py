"""Contributions are the Shapley values of the columns, whatever an estimator is made of."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeRegressor

from include.ratchet.explanations.explainer import Explainer
from tests.include.ratchet.explanations.estimators import brute_force, make_label, make_rows, pipeline

ROWS = make_rows()
BACKGROUND, ASKED = ROWS.iloc[:25].reset_index(drop=True), ROWS.iloc[30:34].reset_index(drop=True)
SMALL = {"n_estimators": 12, "verbosity": -1, "deterministic": True, "n_jobs": 1, "min_child_samples": 5}
ENCODED = {"learning_rate": 0.2, "max_iter": 12, "early_stopping": False}
# name: task, last step, whether text becomes several columns, whether it takes gaps, method, space
MADE: dict[str, tuple[str, Any, bool, bool, str, str]] = {
    "logistic": ("binary", LogisticRegression(), True, False, "linear", "log_odds"),
    "logistic of three": ("multiclass", LogisticRegression(), True, False, "linear", "log_scores"),
    "ridge": ("regression", Ridge(), True, False, "linear", "value"),
    "lightgbm": ("binary", LGBMClassifier(**SMALL), False, True, "trees", "log_odds"),
    "lightgbm, one-hot": ("binary", LGBMClassifier(**SMALL), True, True, "trees", "log_odds"),
    "lightgbm of three": ("multiclass", LGBMClassifier(**SMALL), False, True, "trees", "log_scores"),
    "lightgbm of numbers": ("regression", LGBMRegressor(**SMALL), False, True, "trees", "value"),
    "lightgbm of zeros": ("binary", LGBMClassifier(zero_as_missing=True, **SMALL), False, True, "trees", "log_odds"),
    "histogram": ("binary", HistGradientBoostingClassifier(**ENCODED), False, True, "trees", "log_odds"),
    "histogram of categories": (
        "binary", HistGradientBoostingClassifier(categorical_features=[0], **ENCODED), False, True, "trees", "log_odds",
    ),
    "histogram of three": (
        "multiclass", HistGradientBoostingClassifier(**ENCODED), False, True, "trees", "log_scores",
    ),
    "histogram of numbers": ("regression", HistGradientBoostingRegressor(**ENCODED), False, True, "trees", "value"),
    "forest": ("binary", RandomForestClassifier(8, random_state=1), True, False, "trees", "probability"),
    "forest with gaps": ("binary", RandomForestClassifier(8, random_state=1), False, True, "trees", "probability"),
    "forest of three": ("multiclass", RandomForestClassifier(8, random_state=1), True, False, "trees", "probability"),
    "extra trees": ("regression", ExtraTreesRegressor(8, random_state=1), True, False, "trees", "value"),
    "one tree": ("regression", DecisionTreeRegressor(random_state=1), False, True, "trees", "value"),
    "boosted trees": ("binary", GradientBoostingClassifier(n_estimators=8), False, False, "trees", "log_odds"),
    "boosted trees of three": (
        "multiclass", GradientBoostingClassifier(n_estimators=4), False, False, "trees", "log_scores",
    ),
    "calibrated": (
        "binary", CalibratedClassifierCV(LogisticRegression(), cv=2), True, False, "enumerated", "probability",
    ),
    "neighbours": ("regression", KNeighborsRegressor(7), True, False, "enumerated", "value"),
}  # fmt: skip
UNLINK = {
    "log_odds": lambda p: np.log(p / (1 - p)), "probability": lambda p: p, "value": lambda p: p, "log_value": np.log,
}  # fmt: skip


@functools.cache
def fit(name: str) -> tuple[Any, str, str, str]:
    task, last, one_hot, gaps, method, space = MADE[name]
    made = pipeline(last, one_hot=one_hot, gaps=gaps)
    return made.fit(ROWS, make_label(ROWS, task)), task, method, space


def raw(estimator: Any, task: str, space: str) -> Any:
    """What an estimator itself gives in the space of its contributions, (n_rows, n_outputs)."""
    if space == "log_scores":
        last = estimator.steps[-1][1]
        if isinstance(last, LGBMClassifier):
            return lambda rows: estimator.predict_proba(rows, raw_score=True)
        return estimator.decision_function
    if task == "regression":
        return lambda rows: UNLINK[space](estimator.predict(rows))
    if task == "multiclass":
        return estimator.predict_proba
    return lambda rows: UNLINK[space](estimator.predict_proba(rows)[:, 1])


@pytest.mark.parametrize("name", MADE)
def test_contributions_are_the_shapley_values_of_every_set_of_columns(name):
    estimator, task, method, space = fit(name)
    found = Explainer(estimator, BACKGROUND, task, seed=0).explain(ASKED)
    assert (found.method, found.space, found.is_exact) == (method, space, True), found.note
    value = raw(estimator, task, space)
    expected = np.array([brute_force(value, BACKGROUND, ASKED.iloc[[row]]) for row in range(len(ASKED))])
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found.contributions, expected, atol=1e-9)
    np.testing.assert_allclose(found.base, np.asarray(value(BACKGROUND)).reshape(len(BACKGROUND), -1).mean(axis=0))


@pytest.mark.parametrize("name", MADE)
def test_base_and_contributions_sum_to_the_prediction_and_a_constant_column_gets_nothing(name):
    estimator, task, _, space = fit(name)
    found = Explainer(estimator, BACKGROUND, task, seed=0).explain(ROWS.iloc[40:60])
    summed = found.base + found.contributions.sum(axis=1)
    expected = np.asarray(raw(estimator, task, space)(ROWS.iloc[40:60])).reshape(20, -1)
    np.testing.assert_allclose(summed, expected, atol=1e-9)
    assert found.residual.max() < 1e-9
    assert np.abs(found.contributions[:, list(found.columns).index("size")]).max() < 1e-12


@pytest.mark.parametrize("name", MADE)
def test_a_row_is_explained_to_the_bit_alone_as_among_others(name):
    estimator, task, *_ = fit(name)
    explainer = Explainer(estimator, BACKGROUND, task, seed=0)
    together, alone = explainer.explain(ASKED), explainer.explain(ASKED.iloc[[2]])
    assert np.array_equal(together.contributions[2], alone.contributions[0])
    again = Explainer(estimator, BACKGROUND.copy(), task, seed=0).explain(ASKED)
    assert np.array_equal(together.contributions, again.contributions)


@pytest.mark.parametrize("background", [BACKGROUND.iloc[:1], BACKGROUND], ids=["one row", "many"])
def test_one_background_row_and_one_asked_row_are_enough(background):
    estimator, task, *_ = fit("histogram")
    found = Explainer(estimator, background, task, seed=0).explain(ASKED.iloc[:1])
    assert found.method == "trees"
    expected = brute_force(raw(estimator, task, "log_odds"), background, ASKED.iloc[[0]])
    np.testing.assert_allclose(found.contributions[0], expected, atol=1e-9)


def test_a_logarithmic_link_adds_up_in_logarithms():
    label = np.exp(ROWS["a"].to_numpy() / 3)
    estimator = pipeline(PoissonRegressor(), one_hot=True, gaps=False).fit(ROWS, label)
    found = Explainer(estimator, BACKGROUND, "regression", seed=0).explain(ASKED)
    assert (found.method, found.space) == ("linear", "log_value")
    np.testing.assert_allclose(
        np.exp(found.base + found.contributions.sum(axis=1))[:, 0], estimator.predict(ASKED), rtol=1e-9
    )


def test_boosting_of_the_frame_itself_with_its_own_categories():
    frame = ROWS.assign(shop=ROWS["shop"].map({"north": 3.0, "south": 7.0, "web": 40.0}))
    last = HistGradientBoostingClassifier(categorical_features=["shop"], **ENCODED)
    estimator = last.fit(frame, make_label(ROWS, "binary"))
    asked = frame.iloc[30:34].assign(shop=[3.0, 99.0, np.nan, 40.0])
    found = Explainer(estimator, frame.iloc[:25], "binary", seed=0).explain(asked)
    assert found.method == "trees", found.note
    for row in range(4):
        expected = brute_force(estimator.decision_function, frame.iloc[:25], asked.iloc[[row]])
        np.testing.assert_allclose(found.contributions[row], expected, atol=1e-9)


def test_lightgbm_with_categories_of_its_own():
    frame = ROWS.assign(shop=ROWS["shop"].map({"north": 3.0, "south": 7.0, "web": 40.0}))
    estimator = LGBMClassifier(min_data_per_group=5, cat_smooth=1, max_cat_to_onehot=1, **SMALL)
    estimator.fit(frame, make_label(ROWS, "binary"), categorical_feature=["shop"])
    asked = frame.iloc[30:34].assign(shop=[3.0, 99.0, np.nan, 40.0])
    found = Explainer(estimator, frame.iloc[:25], "binary", seed=0).explain(asked)
    assert found.method == "trees", found.note
    for row in range(4):
        value = lambda rows: estimator.predict_proba(rows, raw_score=True)  # noqa: E731
        np.testing.assert_allclose(
            found.contributions[row], brute_force(value, frame.iloc[:25], asked.iloc[[row]]), atol=1e-9
        )


class Mixing:
    """Predicts from what no structure shows."""

    def __init__(self, columns: int) -> None:
        self.classes_, self.columns = np.array([0, 1]), columns

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        numbers = rows.to_numpy(float)
        value = 1 / (1 + np.exp(-(numbers[:, 0] * numbers[:, 1] + np.sin(numbers[:, 2]) * numbers[:, 3:].sum(axis=1))))
        return np.column_stack([1 - value, value])


def test_many_columns_are_sampled_with_an_error_that_covers_the_truth():
    draw = np.random.default_rng(5)
    frame = pd.DataFrame(draw.normal(size=(80, 9)), columns=[f"x{number}" for number in range(9)])
    estimator, background, asked = Mixing(9), frame.iloc[:60], frame.iloc[60:]
    found = Explainer(estimator, background, "binary", seed=1).explain(asked)
    assert found.method == "sampled"
    assert "Mixing is no linear model" in found.note
    value = lambda rows: estimator.predict_proba(rows)[:, 1]  # noqa: E731
    expected = np.array([brute_force(value, background, asked.iloc[[row]]) for row in range(20)])
    assert found.residual.max() < 1e-9
    score = (found.contributions - expected) / found.standard_error
    assert 0.9 <= np.mean(np.abs(score) < 1.96) <= 0.99
    assert np.abs(found.contributions - expected).max() < 0.02


def test_an_estimator_that_predicts_otherwise_than_its_parts_is_asked_instead():
    class Shifted(LogisticRegression):
        def predict_proba(self, rows: Any) -> np.ndarray:
            found = super().predict_proba(rows) ** 2
            return found / found.sum(axis=1, keepdims=True)

    estimator = pipeline(Shifted(), one_hot=True, gaps=False).fit(ROWS, make_label(ROWS, "binary"))
    found = Explainer(estimator, BACKGROUND, "binary", seed=0).explain(ASKED)
    assert (found.method, found.space) == ("enumerated", "probability")
    assert "does not predict as it does" in found.note
    expected = brute_force(lambda rows: estimator.predict_proba(rows)[:, 1], BACKGROUND, ASKED.iloc[[0]])
    np.testing.assert_allclose(found.contributions[0], expected, atol=1e-9)


def test_rows_are_told_as_json_holds_them():
    estimator, task, *_ = fit("logistic of three")
    one = Explainer(estimator, BACKGROUND, task, seed=0).explain(ASKED).to_rows()[0]
    assert set(one) == {"method", "is_exact", "space", "base", "contributions", "residual"}
    assert set(one["contributions"]) == set(ROWS.columns)
    assert set(one["contributions"]["a"]) == {"low", "middle", "high"}
    binary, task, *_ = fit("logistic")
    assert isinstance(Explainer(binary, BACKGROUND, task, seed=0).explain(ASKED).to_rows()[0]["base"], float)


def test_an_ensemble_that_is_too_large_is_asked(monkeypatch):
    estimator, task, *_ = fit("forest")
    monkeypatch.setattr("include.ratchet.explanations.paths.LEAVES", 50)
    found = Explainer(estimator, BACKGROUND, task, seed=0).explain(ASKED.iloc[:1])
    assert found.method == "enumerated"
    assert "leaves; at most 50 are taken apart" in found.note
