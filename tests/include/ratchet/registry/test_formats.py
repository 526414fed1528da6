"""What may be saved and loaded, and in which format."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from include.ratchet.errors import FormatNotAllowedError
from include.ratchet.registry.formats import dump_model, load_model
from tests.include.ratchet.training.data import make_model

X = np.random.default_rng(0).normal(size=(300, 3))
Y = (X[:, 0] > 0).astype(int)


class Homemade:
    """An estimator of the model's own."""

    def fit(self, features, label):
        self.mean_ = label.mean()
        return self

    def predict_proba(self, features):
        return np.tile([1 - self.mean_, self.mean_], (len(features), 1))


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        HistGradientBoostingClassifier(max_iter=5),
        LGBMClassifier(n_estimators=5, verbosity=-1, n_jobs=1),
    ],
    ids=lambda one: type(one).__name__,
)
def test_well_known_estimators_go_through_skops_and_predict_the_same(tmp_path, estimator):
    spec = make_model(tmp_path).spec
    fitted = estimator.fit(X, Y)
    content, form = dump_model(fitted, spec)
    assert form == "skops"
    assert np.array_equal(load_model(content, form, spec).predict_proba(X), fitted.predict_proba(X))


def test_stranger_needs_the_specs_consent_to_be_saved_and_to_be_loaded(tmp_path):
    closed = make_model(tmp_path).spec
    fitted = Homemade().fit(X, Y)
    with pytest.raises(FormatNotAllowedError, match="cannot be saved by skops.*training.format.trusted_types"):
        dump_model(fitted, closed)
    consent = {"window": {"length": "60d"}, "split": {"validation": "10d", "test": "10d"}}
    opened = make_model(tmp_path, training={**consent, "format": {"allow": ["cloudpickle"]}}).spec
    content, form = dump_model(fitted, opened)
    assert form == "cloudpickle"
    assert load_model(content, form, opened).mean_ == Y.mean()
    with pytest.raises(FormatNotAllowedError, match="can run code"):
        load_model(content, form, closed)


def test_poisoned_file_runs_nothing(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").write_text, ("boom",))

    spec = make_model(tmp_path / "m").spec
    with pytest.raises(FormatNotAllowedError):
        load_model(pickle.dumps(Bomb()), "pickle", spec)
    assert not tmp_path.joinpath("exploded").exists()
