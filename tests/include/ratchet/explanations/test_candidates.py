"""The demonstration's own candidates are taken apart, rare categories and gaps included."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from include.ratchet.explanations.explainer import Explainer
from include.ratchet.registry.example import dump_example, load_example
from include.ratchet.settings import PROJECT
from include.ratchet.spec import get_model
from include.ratchet.training.fit import Candidate, build_estimator, predict
from tests.include.ratchet.explanations.estimators import brute_force


def make_flights(count: int = 3000) -> pd.DataFrame:
    """Three categories, one of them with rare values; numbers, one with gaps and one without any value."""
    draw = np.random.default_rng(7)
    places = np.array([f"D{number}" for number in range(40)], dtype=object)
    return pd.DataFrame({
        "carrier": draw.choice(np.array(["UA", "DL", "AA", None], dtype=object), count, p=[0.5, 0.3, 0.15, 0.05]),
        "origin": draw.choice(np.array(["EWR", "JFK"], dtype=object), count),
        "destination": draw.choice(places, count, p=np.r_[0.3, 0.3, np.full(38, 0.4 / 38)]),
        "hour": draw.integers(0, 24, count).astype(float),
        "wind": np.where(draw.random(count) < 0.2, np.nan, draw.normal(10, 4, count)),
        "nothing": np.full(count, np.nan),
    })  # fmt: skip


@pytest.mark.parametrize(
    ("name", "method"), [("logistic", "linear"), ("hist_boosting", "trees"), ("lightgbm", "trees")]
)
def test_candidate_is_explained_exactly_against_what_is_kept_with_its_version(name, method):
    flights, model = make_flights(), get_model(PROJECT / "include/models", "flight_delay")
    if name != "lightgbm":
        flights = flights.drop(columns="nothing")  # the others cannot be fitted on it
    late = flights["hour"] / 24 + (flights["carrier"] == "UA") + flights["wind"].fillna(20) / 20
    label = (late + np.random.default_rng(1).normal(0, 0.4, len(flights)) > 1.6).to_numpy().astype(int)
    few = {"hist_boosting": {"max_leaf_nodes": 15}, "lightgbm": {"num_leaves": 15}}.get(name, {})
    estimator = build_estimator(model, Candidate(name, few)).fit(flights, label)
    background = flights.iloc[:30].reset_index(drop=True)
    kept, scores = load_example(dump_example(background, predict(estimator, background, "binary"), 30))
    assert scores.tolist() == predict(estimator, kept, "binary").tolist()
    asked = flights.iloc[100:103].assign(destination=["D0", "D39", "nowhere"])
    found = Explainer(estimator, kept, "binary", 0).explain(asked)
    assert (found.method, found.space) == (method, "log_odds"), found.note

    def value(rows):
        chance = estimator.predict_proba(rows)[:, 1]
        return np.log(chance / (1 - chance))

    for row in range(len(asked)):
        expected = brute_force(value, background, asked.iloc[[row]])
        np.testing.assert_allclose(found.contributions[row], expected, atol=1e-9)
