"""The library shap says the same where it is right: of LightGBM, whose gaps it follows, in single precision."""

from __future__ import annotations

import warnings

import numpy as np
from lightgbm import LGBMClassifier

from include.ratchet.explanations.explainer import Explainer
from tests.include.ratchet.explanations.estimators import make_label, make_rows


def test_lightgbm_by_shap():
    with warnings.catch_warnings():
        # matplotlib's deprecations, at import.
        warnings.simplefilter("ignore")
        import shap

    rows = make_rows().drop(columns="shop")
    estimator = LGBMClassifier(n_estimators=40, verbosity=-1, n_jobs=1).fit(rows, make_label(make_rows(), "binary"))
    own = Explainer(estimator, rows.iloc[:50], "binary", seed=0).explain(rows.iloc[60:90])
    assert own.method == "trees"
    other = shap.TreeExplainer(
        estimator, data=rows.iloc[:50], feature_perturbation="interventional", model_output="raw"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = np.asarray(other.shap_values(rows.iloc[60:90], check_additivity=False))
    np.testing.assert_allclose(own.contributions[:, :, 0], values, atol=1e-6)
    np.testing.assert_allclose(own.base[0], np.ravel(other.expected_value)[-1], atol=1e-6)
