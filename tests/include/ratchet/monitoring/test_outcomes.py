"""Worth before and after labels have come: expectations against simulation, groups, and signals of days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from include.ratchet.monitoring.binning import make_bins
from include.ratchet.monitoring.multivariate import code_rows, separability, separability_of_days
from include.ratchet.monitoring.outcomes import Calibration, calibrate, expect, measure, measure_groups
from include.ratchet.monitoring.performance import find_worth
from include.ratchet.monitoring.reference import groups_of
from include.ratchet.monitoring.signals import Look
from include.ratchet.spec import Model, ModelKey, ModelSpec

GENERATOR = np.random.default_rng(20130101)
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)


def spec(task="binary", metric=None, **monitoring):
    return ModelSpec.model_validate({
        "name": "orders", "owner": "o", "description": "Orders that come back.", "task": task,
        "source": {"python": "f"}, "keys": ["order_id"], "event_time": "at", "label": {"column": "y"},
        "evaluation": {"metric": metric, "slices": ["shop"], "sensitive": ["shop"], "min_slice_rows": 50},
        "monitoring": monitoring,
    })  # fmt: skip


IDENTITY = Calibration(np.array([0.0, 1.0]), np.array([0.0, 1.0]))


@pytest.mark.parametrize(
    "metric", ["roc_auc", "log_loss", "brier", "accuracy", "average_precision", "recall", "precision"]
)
def test_expectation_is_the_mean_over_labels_that_may_come(metric):
    scores = GENERATOR.beta(1, 3, 4000)
    model = spec(metric=metric)
    came = [measure(model, (GENERATOR.random(4000) < scores).astype(int), scores) for _ in range(60)]
    assert expect(model, scores, IDENTITY) == pytest.approx(np.mean(came), abs=4 * np.std(came) / np.sqrt(60) + 0.002)


def test_expectation_of_many_classes():
    scores = GENERATOR.dirichlet([1, 2, 3], 3000)
    model = spec("multiclass", "accuracy")
    calibration = Calibration(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    draws = [np.array([GENERATOR.choice(3, p=row) for row in scores[:3000]]) for _ in range(5)]
    came = np.mean([measure(model, label, scores) for label in draws])
    assert expect(model, scores, calibration) == pytest.approx(came, abs=0.02)


def test_calibration_mends_scores_that_are_sure_of_themselves():
    truth = GENERATOR.random(20_000)
    label = (GENERATOR.random(20_000) < truth).astype(int)
    boastful = np.clip(0.5 + 2 * (truth - 0.5), 0.001, 0.999)
    model = spec(metric="log_loss")
    real = measure(model, label, boastful)
    assert abs(expect(model, boastful, IDENTITY) - real) > 0.1
    assert expect(model, boastful, calibrate(label, boastful)) == pytest.approx(real, abs=0.01)


def test_too_few_rows_have_no_metric():
    model = spec()
    assert np.isnan(measure(model, np.ones(100), np.linspace(0, 1, 100)))
    assert np.isnan(measure(model, np.array([0, 1]), np.array([0.2, 0.8])))
    assert np.isnan(expect(model, np.array([0.5]), IDENTITY))
    assert np.isnan(expect(spec("regression"), np.linspace(0, 1, 100), IDENTITY))


def test_groups_of_enough_rows_have_metric_and_gap():
    scores = GENERATOR.random(1000)
    label = (GENERATOR.random(1000) < scores).astype(int)
    shop = np.array(["a"] * 480 + ["b"] * 480 + ["rare"] * 40)
    found = measure_groups(spec(), {"shop": shop}, label, scores)
    assert set(found) == {"slice.shop = a", "slice.shop = b", "fairness.shop"}
    assert 0 <= found["fairness.shop"] < 0.3
    regression = measure_groups(spec("regression"), {"shop": shop}, scores, np.where(shop == "a", scores, 0.0))
    assert regression["fairness.shop"] > 1


def test_segments_that_are_pooled_are_slices_of_the_pooled_model():
    generator = np.random.default_rng(3)
    label = generator.integers(0, 2, 4000)
    segment = np.repeat(["UA", "AA", "", "all"], 1000)
    scores = np.where(segment == "UA", label, 1 - label) * 0.5 + generator.random(4000) * 0.4
    found = measure_groups(spec(), {"pooled_for": segment}, label, scores)
    assert found == {"slice.pooled_for = AA": 0.0, "slice.pooled_for = UA": 1.0}
    table = pa.table({"pooled_for": pa.array(["UA", None, "AA"])})
    assert groups_of(Model(spec=spec(), folder=Path()), table)["pooled_for"].tolist() == ["UA", "", "AA"]
    coded = table.set_column(0, "pooled_for", table["pooled_for"].dictionary_encode())
    assert groups_of(Model(spec=spec(), folder=Path()), coded)["pooled_for"].tolist() == ["UA", "", "AA"]
    nothing = pa.table({"pooled_for": pa.nulls(2, pa.string())})
    assert measure_groups(spec(), groups_of(Model(spec=spec(), folder=Path()), nothing), label[:2], scores[:2]) == {}


def days(values, *, maturity=1.0, begin=0):
    found = []
    for number, numbers in enumerate(values):
        start = BEGIN + timedelta(days=begin + number)
        found.append(Look(ModelKey("orders"), f"{start:%Y-%m-%d}", start, start + timedelta(days=1), start, 1, 500,
                          maturity, frozenset(), (), numbers))  # fmt: skip
    return found


REFERENCE = {
    "metric": GENERATOR.normal(0.8, 0.02, 28), "estimate": GENERATOR.normal(0.8, 0.02, 28),
    "label": GENERATOR.normal(0.3, 0.02, 28), "slice.shop = a": GENERATOR.normal(0.8, 0.02, 28),
    "fairness.shop": GENERATOR.normal(0.1, 0.02, 28), "multivariate": GENERATOR.normal(0.6, 0.02, 28),
}  # fmt: skip
USUAL = {"metric": 0.8, "estimate": 0.8, "label": 0.3, "slice.shop = a": 0.8, "fairness.shop": 0.1,
         "multivariate": 0.6}  # fmt: skip


def fired(looks, model=None):
    signals, _ = find_worth(model or spec(), REFERENCE, [0] * 28, looks, [0] * len(looks))
    return {signal.kind for signal in signals if signal.is_fired}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, None), ({"metric": 0.7}, "performance"), ({"estimate": 0.7}, "estimate"), ({"label": 0.5}, "label"),
        ({"label": 0.32}, None), ({"slice.shop = a": 0.6}, "slice"), ({"fairness.shop": 0.4}, "fairness"),
        ({"multivariate": 0.8}, "multivariate"), ({"metric": 0.9}, None), ({"multivariate": 0.5}, None),
    ],
)  # fmt: skip
def test_number_that_left_its_level_is_a_signal_of_its_kind(change, kind):
    assert fired(days([{**USUAL, **change}] * 7)) == ({kind} if kind else set())


def test_metric_waits_for_labels_and_the_estimate_does_not():
    looks = days([{**USUAL, "metric": 0.6, "estimate": 0.7}] * 7, maturity=0.5)
    assert fired(looks) == {"estimate"}
    assert fired(looks, spec(maturity=0.4)) == {"performance", "estimate"}


def test_fall_within_the_margin_is_none():
    assert fired(days([{**USUAL, "metric": 0.75}] * 28), spec(margin=0.1)) == set()
    assert fired(days([{**USUAL, "metric": 0.75}] * 28), spec(margin=0.02)) == {"performance"}


def test_lower_is_better_where_the_metric_says_so():
    looks = days([{"metric": 0.9}] * 7)
    assert fired(looks, spec(metric="log_loss")) == {"performance"}


def test_rows_told_apart_only_where_they_differ():
    columns = {"a": GENERATOR.normal(size=4000), "b": GENERATOR.normal(size=4000)}
    import pyarrow as pa

    bins = {name: make_bins(pa.array(values)) for name, values in columns.items()}
    codes = code_rows(bins, {name: pa.array(values) for name, values in columns.items()})
    same = separability(codes[:2000], codes[2000:])
    assert 0.45 < same < 0.55
    # Each column as before, but they have become one: no test of single columns sees it.
    tied = code_rows(bins, {"a": pa.array(columns["a"][2000:]), "b": pa.array(columns["a"][2000:])})
    assert separability(codes[:2000], tied) > 0.7
    assert np.isnan(separability(codes[:50], codes[50:]))
    assert len(separability_of_days(codes, np.arange(4000) // 1000, [0, 3])) == 2
