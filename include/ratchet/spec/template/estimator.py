"""The estimators that compete. The search chooses which one, and its parameters, within the bounds of model.yaml."""

from __future__ import annotations

from typing import Any


def estimator(candidate: str, params: dict[str, Any], seed: int, threads: int) -> Any:
    """An unfitted scikit-learn estimator for one candidate."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    prepare = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["shop"]),
        (make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()), ["price", "shop_return_rate_7d"]),
    )
    return make_pipeline(prepare, LogisticRegression(random_state=seed, **params))
