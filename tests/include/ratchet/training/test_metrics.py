"""Every metric against scikit-learn, weighted, with ties, and where it is undefined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from include.ratchet.spec.training import TASK_METRICS
from include.ratchet.training.metrics import BINS, prepare, score


def binary(seed: int, rows: int, levels: int):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, levels + 1, rows) / levels
    label = (generator.random(rows) < 0.2 + 0.5 * scores).astype(np.int8)
    label[:2] = [0, 1]
    weights = generator.integers(0, 4, rows).astype(float)
    weights[:2] = 1
    return label, scores, weights


def ece(label, scores, weights):
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    parts = [abs((weights * (scores - label))[bins == b].sum()) for b in range(BINS)]
    return sum(parts) / weights.sum()


ORACLES = {
    "roc_auc": lambda y, s, w: sk.roc_auc_score(y, s, sample_weight=w),
    "average_precision": lambda y, s, w: sk.average_precision_score(y, s, sample_weight=w),
    "log_loss": lambda y, s, w: sk.log_loss(y, s, sample_weight=w, labels=[0, 1]),
    "brier": lambda y, s, w: sk.brier_score_loss(y, s, sample_weight=w),
    "accuracy": lambda y, s, w: sk.accuracy_score(y, s >= 0.5, sample_weight=w),
    "balanced_accuracy": lambda y, s, w: sk.balanced_accuracy_score(y, s >= 0.5, sample_weight=w),
    "f1": lambda y, s, w: sk.f1_score(y, s >= 0.5, sample_weight=w, zero_division=0),
    "recall": lambda y, s, w: sk.recall_score(y, s >= 0.5, sample_weight=w, zero_division=0),
    "precision": lambda y, s, w: sk.precision_score(y, s >= 0.5, sample_weight=w, zero_division=0),
    "ece": ece,
}


def test_every_metric_of_a_binary_task_has_an_oracle():
    assert set(ORACLES) == set(TASK_METRICS["binary"])


@pytest.mark.parametrize("name", sorted(ORACLES))
@given(seed=st.integers(0, 10_000), rows=st.integers(4, 200), levels=st.sampled_from([1, 3, 10, 1000]))
@settings(max_examples=25, deadline=None)
def test_binary_metric_is_scikit_learns(name, seed, rows, levels):
    label, scores, weights = binary(seed, rows, levels)
    found = prepare(name, label, scores)(np.stack([weights, np.ones(rows)]))
    assert found[0] == pytest.approx(ORACLES[name](label, scores, weights), abs=1e-9)
    assert found[1] == pytest.approx(ORACLES[name](label, scores, np.ones(rows)), abs=1e-9)


def test_area_under_the_curve_counts_pairs_exactly():
    label, scores, weights = binary(3, 150, 10)
    scores = scores[::-1].copy()
    pairs = [(p, n) for p in np.flatnonzero(label) for n in np.flatnonzero(label == 0)]
    twice = sum(int(weights[p] * weights[n]) * (int(scores[p] > scores[n]) * 2 + int(scores[p] == scores[n]))
                for p, n in pairs)  # fmt: skip
    every = sum(int(weights[p] * weights[n]) for p, n in pairs)
    assert prepare("roc_auc", label, scores)(weights[None, :])[0] == twice / 2 / every


@pytest.mark.parametrize("name", TASK_METRICS["regression"])
@given(seed=st.integers(0, 10_000), rows=st.integers(3, 200))
@settings(max_examples=15, deadline=None)
def test_regression_metric_is_scikit_learns(name, seed, rows):
    generator = np.random.default_rng(seed)
    truth = generator.normal(10, 3, rows)
    said = truth + generator.normal(0, 1, rows)
    weights = generator.integers(1, 4, rows).astype(float)
    oracle = {
        "rmse": sk.root_mean_squared_error, "mae": sk.mean_absolute_error, "r2": sk.r2_score,
        "mape": sk.mean_absolute_percentage_error,
    }[name]  # fmt: skip
    expected = oracle(truth, said, sample_weight=weights)
    assert prepare(name, truth, said)(weights[None])[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", TASK_METRICS["multiclass"])
@given(seed=st.integers(0, 10_000), rows=st.integers(10, 200))
@settings(max_examples=15, deadline=None)
def test_multiclass_metric_is_scikit_learns(name, seed, rows):
    generator = np.random.default_rng(seed)
    scores = generator.dirichlet([1, 1, 1], rows)
    label = np.array(["a", "b", "c"])[generator.integers(0, 3, rows)]
    label[:3] = ["a", "b", "c"]
    said = np.array(["a", "b", "c"])[scores.argmax(axis=1)]
    code = np.searchsorted(["a", "b", "c"], label)
    expected = {
        "log_loss": lambda: sk.log_loss(label, scores),
        "accuracy": lambda: sk.accuracy_score(label, said),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(label, said),
        "f1_macro": lambda: sk.f1_score(label, said, average="macro"),
        "ece": lambda: ece((scores.argmax(axis=1) == code).astype(int), scores.max(axis=1), np.ones(rows)),
    }[name]()
    assert score(name, code, scores) == pytest.approx(expected, abs=1e-9)


def test_auc_of_one_class_is_undefined_and_not_a_number_by_chance():
    found = prepare("roc_auc", np.array([1, 1, 0]), np.array([0.1, 0.2, 0.3]))(np.array([[1.0, 1.0, 0.0]]))
    assert np.isnan(found[0])
