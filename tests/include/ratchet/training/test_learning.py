"""What a learning curve and aligned scores say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from include.ratchet.training.fit import Candidate, fit_candidate, predict
from include.ratchet.training.frames import class_codes, features_frame, label_array
from include.ratchet.training.learning import learning_curve
from include.ratchet.training.metrics import score
from include.ratchet.training.split import Split, split_rows
from tests.include.ratchet.training.data import AS_OF, FEATURES, make_model, make_table


def test_curve_grows_to_all_rows_and_ends_at_the_model_itself(tmp_path):
    model, table = make_model(tmp_path), make_table(3000)
    frame, label, split = features_frame(table, FEATURES), label_array(table, model.spec), split_rows(
        table, model.spec, AS_OF
    )  # fmt: skip
    candidate = Candidate("logistic", {"C": 1.0})
    whole = fit_candidate(model, candidate, frame.iloc[split.development], label[split.development])
    curve = learning_curve(model, candidate, frame, label, split, whole)
    size = len(split.development)
    assert [point.rows for point in curve] == [-(-size // 27), -(-size // 9), -(-size // 3), size]
    scores = predict(whole, frame.iloc[split.test], "binary")
    assert curve[-1].unseen == score("roc_auc", label[split.test], scores)
    assert curve[-1].unseen > 0.7


def test_share_with_one_class_has_no_point(tmp_path):
    model, table = make_model(tmp_path), make_table(300)
    label = np.r_[np.arange(100) % 2, np.ones(100), np.arange(100) % 2].astype(np.int8)
    split = Split(np.arange(150), np.arange(150, 200), np.arange(200, 300))
    frame, candidate = features_frame(table, FEATURES), Candidate("logistic", {"C": 1.0})
    whole = fit_candidate(model, candidate, frame.iloc[split.development], label[split.development])
    curve = learning_curve(model, candidate, frame, label, split, whole)
    assert [point.rows for point in curve] == [200]


@pytest.mark.parametrize("kinds", [["a", "b", "c", "d"], [1, 2, 3, 4]])
def test_scores_stand_under_the_classes_that_are_asked_for(kinds):
    """One class of the estimator is gone by now, and one has come that it has never seen."""
    frame = pd.DataFrame({"x": np.arange(10.0)})
    estimator = DummyClassifier(strategy="prior").fit(frame, np.array(kinds[:3])[[0, 0, 0, 0, 0, 1, 1, 1, 2, 2]])
    classes, codes = class_codes(np.array(kinds[1:]), "multiclass")
    assert codes.tolist() == [0, 1, 2]
    assert predict(estimator, frame, "multiclass", classes)[0].tolist() == [0.3, 0.2, 0.0]
    assert predict(estimator, frame, "multiclass")[0].tolist() == [0.5, 0.3, 0.2]
