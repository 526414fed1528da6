"""A whole evaluation of small tasks, its parts against their oracles, and its way through JSON."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference

from include.ratchet.evaluation.comparison import Contender
from include.ratchet.evaluation.report import CostResult, EvaluationReport, evaluate, measure_latency_ms
from include.ratchet.evaluation.slices import find_weak_spots
from include.ratchet.training.metrics import score
from tests.include.ratchet.training.data import AS_OF, make_model, make_table

COST = CostResult(1.5, 0.1, True)


def scored(tmp_path, champion: bool = True, window=None, **evaluation):
    model = make_model(tmp_path, evaluation={
        "slices": ["shop"], "sensitive": ["shop"], "min_slice_rows": 50, "metrics": ["log_loss", "ece"], **evaluation,
    })  # fmt: skip
    table = make_table(3000)
    label = table["y"].to_numpy().astype(np.int8)
    x = table["x"].to_numpy()
    scores = 1 / (1 + np.exp(1 - 1.5 * x))
    weaker = 1 / (1 + np.exp(1 - 0.2 * x + np.random.default_rng(0).normal(size=3000)))
    report = evaluate(
        model.spec, table, label, scores, ["x", "z", "shop"],
        baselines=[Contender("dummy", np.full(3000, label.mean()))],
        champion=Contender("champion", weaker, 4) if champion else None, cost=COST, window=window,
    )  # fmt: skip
    return model, table, label, scores, weaker, report


def test_report_measures_what_it_says(tmp_path):
    _, _, label, scores, weaker, report = scored(tmp_path)
    assert report.metrics["roc_auc"].value == score("roc_auc", label, scores)
    assert report.metrics["roc_auc"].low < report.metrics["roc_auc"].value < report.metrics["roc_auc"].high
    assert report.champion is not None
    expected = score("roc_auc", label, scores) - score("roc_auc", label, weaker)
    assert report.champion.gain.value == pytest.approx(expected)
    assert report.champion.gain.low > 0
    assert report.baselines[0].metric.value == 0.5
    assert report.rows == 3000
    assert report.rarest_rows == min(label.sum(), 3000 - label.sum())


def test_gain_is_positive_where_lower_is_better_and_the_candidate_is_lower(tmp_path):
    *_, report = scored(tmp_path, metric="log_loss")
    assert report.lower_is_better
    assert report.champion is not None
    assert report.champion.gain.low > 0


def test_slices_are_measured_on_their_rows(tmp_path):
    _, table, label, scores, _, report = scored(tmp_path)
    shop = np.array(table["shop"].to_pylist())
    assert {part.name for part in report.slices} == {"shop = north", "shop = south", "shop = web"}
    for part in report.slices:
        rows = shop == part.name.removeprefix("shop = ")
        assert part.rows == rows.sum()
        assert part.metric.value == pytest.approx(score("roc_auc", label[rows], scores[rows]))


def test_fairness_is_fairlearns(tmp_path):
    _, table, label, scores, _, report = scored(tmp_path)
    shop, said = table["shop"].to_pylist(), (scores >= 0.5).astype(int)
    (found,) = report.fairness
    assert found.equalized_odds == pytest.approx(equalized_odds_difference(label, said, sensitive_features=shop))
    assert found.demographic_parity == pytest.approx(
        demographic_parity_difference(label, said, sensitive_features=shop)
    )


def test_calibration_curve_covers_every_row_in_order(tmp_path):
    *_, report = scored(tmp_path)
    assert sum(part["rows"] for part in report.calibration) == 3000
    said = [part["score"] for part in report.calibration]
    assert said == sorted(said)


def test_window_is_judged_on_its_own_rows(tmp_path):
    window = (AS_OF - timedelta(days=5), AS_OF - timedelta(days=2))
    _, table, label, scores, weaker, report = scored(tmp_path, window=window)
    at = np.array(table["at"].to_pylist())
    rows = (at >= window[0]) & (at < window[1])
    assert report.window is not None
    expected = score("roc_auc", label[rows], scores[rows]) - score("roc_auc", label[rows], weaker[rows])
    assert report.window.gain.value == pytest.approx(expected)
    assert scored(tmp_path, champion=False, window=window)[-1].window is None


def test_report_goes_through_json_unchanged(tmp_path):
    *_, report = scored(tmp_path, window=(AS_OF - timedelta(days=5), AS_OF))
    assert EvaluationReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_weak_spot_that_was_planted_is_found():
    generator = np.random.default_rng(0)
    shop = generator.choice(["north", "south", "web"], 4000)
    price = generator.normal(size=4000)
    loss = generator.random(4000) + 2.0 * ((shop == "web") & (price > 0.7))
    table = pa.table({"shop": shop, "price": price, "noise": generator.normal(size=4000)})
    best = find_weak_spots(table, ["shop", "price", "noise"], loss, 100)[0]
    assert "shop = web" in best.name
    assert "price in [0.6" in best.name
    assert best.loss > 2
    assert best.effect > 1


def test_regression_and_multiclass_are_evaluated(tmp_path):
    table = make_table(1500)
    x = table["x"].to_numpy()
    generator = np.random.default_rng(0)
    truth = 3 * x + generator.normal(size=1500)
    model = make_model(tmp_path / "r", task="regression", evaluation={"slices": ["shop"], "sensitive": ["shop"]})
    report = evaluate(
        model.spec, table, truth, 3 * x, ["x", "shop"],
        baselines=[Contender("dummy", np.full(1500, truth.mean()))], champion=None, cost=COST,
    )  # fmt: skip
    assert report.metrics["rmse"].value == pytest.approx(1, abs=0.1)
    assert report.baselines[0].gain.low > 1
    assert report.rarest_rows is None
    assert report.calibration == ()
    kinds = np.clip(np.round(x + 1), 0, 2).astype(int)
    scores = np.full((1500, 3), 0.1)
    scores[np.arange(1500), kinds] = 0.8
    model = make_model(tmp_path / "m", task="multiclass", evaluation={"sensitive": ["shop"], "metrics": ["accuracy"]})
    report = evaluate(
        model.spec, table, kinds, scores, ["x", "shop"],
        baselines=[Contender("dummy", np.full((1500, 3), 1 / 3))], champion=None, cost=COST,
    )  # fmt: skip
    assert report.metrics["accuracy"].value == 1
    assert report.metrics["log_loss"].value == pytest.approx(-np.log(0.8))
    assert report.rarest_rows == np.bincount(kinds).min()


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_class_that_the_test_rows_lack_is_counted(tmp_path, task):
    table = make_table(500)
    scores = np.full(500, 0.3) if task == "binary" else np.tile([0.5, 0.2, 0.3], (500, 1))
    label = np.zeros(500, dtype=int) if task == "binary" else np.arange(500) % 2 * 2
    report = evaluate(
        make_model(tmp_path, task=task).spec, table, label, scores, ["x"],
        baselines=[Contender("dummy", scores)], champion=None, cost=COST,
    )  # fmt: skip
    assert report.rarest_rows == 0
    if task == "multiclass":
        assert report.metrics["log_loss"].value == pytest.approx(-np.log([0.5, 0.3]).mean())


def test_latency_is_a_median_of_single_rows():
    import pandas as pd

    seen = []
    frame = pd.DataFrame({"x": range(10)})
    found = measure_latency_ms(lambda row: seen.append(len(row)), frame, repeats=5)
    assert seen == [1] * 8
    assert 0 <= found < 50
