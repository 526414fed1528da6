"""The estimators that compete to foresee late flights. Which one, and its parameters, is the search's choice."""

from __future__ import annotations

from typing import Any

CATEGORIES = ["carrier", "origin", "destination"]


def estimator(candidate: str, params: dict[str, Any], seed: int, threads: int) -> Any:
    """An unfitted scikit-learn pipeline for one candidate of `model.yaml`."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    numbers = make_column_selector(dtype_include=["number", "bool"])
    if candidate == "logistic":
        from sklearn.linear_model import LogisticRegression

        prepare = make_column_transformer(
            (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=200), CATEGORIES),
            (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
        )
        return make_pipeline(prepare, LogisticRegression(max_iter=200, tol=1e-3, random_state=seed, **params))
    prepare = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=50), CATEGORIES),
        (SimpleImputer(strategy="constant", fill_value=float("nan"), keep_empty_features=True), numbers),
    )
    if candidate == "hist_boosting":
        from sklearn.ensemble import HistGradientBoostingClassifier

        model = HistGradientBoostingClassifier(max_iter=120, early_stopping=False, random_state=seed, **params)
        return make_pipeline(prepare, model)
    from lightgbm import LGBMClassifier

    fixed = {"deterministic": True, "force_row_wise": True, "verbosity": -1, "importance_type": "gain"}
    return make_pipeline(
        prepare, LGBMClassifier(n_estimators=150, random_state=seed, n_jobs=threads, **fixed, **params)
    )
