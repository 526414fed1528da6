"""Feedback: worlds in which acting changes outcomes, and worlds in which it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from include.ratchet.dependencies.feedback import MIN_ROWS, Observed, estimate_feedback
from include.ratchet.spec import ModelSpec, get_model
from include.ratchet.spec.scaffold import make_model


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> ModelSpec:
    folder: Path = tmp_path_factory.mktemp("models")
    make_model(folder, "order_returns")
    path = folder / "order_returns/model.yaml"
    path.write_text(path.read_text().replace("metric: roc_auc", "metric: roc_auc, resamples: 100"))
    return get_model(folder, "order_returns").spec


def live(seed: int, *, rows: int = 20_000, share: float = 0.05, acting: float = 1.0, shares=None) -> Observed:
    """A calibrated model; acting on a row that it flags multiplies the chance of the outcome."""
    random = np.random.default_rng(seed)
    scores = random.beta(2, 3, rows)
    shares = np.full(rows, share) if shares is None else shares
    is_held = random.random(rows) < shares
    chance = np.where(~is_held & (scores >= 0.5), scores * acting, scores)
    return Observed((random.random(rows) < chance).astype(np.int8), scores, is_held, shares)


def truth(observed: Observed, acting: float, where=None) -> float:
    effect = np.where(observed.scores >= 0.5, observed.scores * (acting - 1), 0.0)
    return float(effect[where].mean() if where is not None else effect.mean())


def test_halved_outcomes_of_flagged_rows_are_recovered(spec):
    observed = live(1, rows=100_000, acting=0.5)
    found = estimate_feedback(spec, observed)
    flagged = observed.scores >= 0.5
    assert found.is_found
    for interval, expected in ((found.effect, truth(observed, 0.5)), (found.decided, truth(observed, 0.5, flagged))):
        assert interval.low < expected < interval.high
        assert interval.high - interval.low < 0.06
    assert found.undecided.low < 0 < found.undecided.high
    # Whoever measures on the rows that were acted on thinks worse of the model than it is.
    assert found.metric_bias.high < 0
    assert found.metric_held_out.value > found.metric_acted_on.value
    assert [band.held_out > band.acted_on + 0.1 for band in found.bands][-2:] == [True, True]
    assert found.held_rows == observed.is_held.sum()
    assert sum(band.held_rows for band in found.bands) == found.held_rows


@pytest.mark.parametrize("acting", [1.0, 0.5])
def test_interval_covers_the_truth_at_its_stated_rate(spec, acting):
    """400 worlds, 95 %: 380 expected, of which 4.4 is the standard deviation."""
    covered = {"effect": 0, "decided": 0}
    for seed in range(400):
        observed = live(seed, rows=4000, acting=acting)
        found = estimate_feedback(spec.model_copy(), observed)
        flagged = observed.scores >= 0.5
        for name, where in (("effect", None), ("decided", flagged)):
            interval, expected = getattr(found, name), truth(observed, acting, where)
            covered[name] += interval.low <= expected <= interval.high
    assert 366 <= covered["effect"] <= 398, covered
    assert 366 <= covered["decided"] <= 398, covered


def test_interval_of_rare_outcomes_is_not_of_no_width(spec):
    random = np.random.default_rng(0)
    rows = 5000
    held = random.random(rows) < 0.02
    observed = Observed((random.random(rows) < 0.002).astype(np.int8), random.random(rows) * 0.1, held,
                        np.full(rows, 0.02))  # fmt: skip
    assert observed.label[held].sum() == 0
    found = estimate_feedback(spec, observed)
    assert found.effect.low < 0 < found.effect.high
    assert not found.is_found


def test_changed_share_and_changed_world_do_not_mix(spec):
    """First 2 % of an easy time, then 40 % of a hard one: without weights its time would look like an effect."""
    rows = 40_000
    late = np.arange(rows) >= rows // 2
    shares = np.where(late, 0.4, 0.02)
    random = np.random.default_rng(5)
    scores = random.random(rows)
    held = random.random(rows) < shares
    label = (random.random(rows) < np.where(late, 0.6, 0.1)).astype(np.int8)
    naive = label[~held].mean() - label[held].mean()
    assert naive < -0.2
    found = estimate_feedback(spec, Observed(label, scores, held, shares))
    assert found.effect.low < 0 < found.effect.high


def test_regression_and_classes_have_an_outcome_too(spec):
    random = np.random.default_rng(2)
    rows = 4000
    held = random.random(rows) < 0.1
    scores = random.normal(size=rows)
    regression = spec.model_copy(update={"task": "regression", "evaluation": spec.evaluation.model_copy(
        update={"metric": "rmse"})})  # fmt: skip
    label = scores + random.normal(size=rows) + np.where(held, 0.0, 1.0)
    found = estimate_feedback(regression, Observed(label, scores, held, np.full(rows, 0.1)))
    assert found.effect.low < 1.0 < found.effect.high
    assert found.decided is None
    shares = random.dirichlet([1, 1, 1], rows)
    classes = spec.model_copy(update={"task": "multiclass", "evaluation": spec.evaluation.model_copy(
        update={"metric": "log_loss"})})  # fmt: skip
    code = np.array([random.choice(3, p=row) for row in shares])
    found = estimate_feedback(classes, Observed(code, shares, held, np.full(rows, 0.1)))
    assert found.effect.low < 0 < found.effect.high


def test_too_few_rows_say_nothing(spec):
    observed = live(3, rows=500, share=0.01)
    assert observed.is_held.sum() < MIN_ROWS
    assert estimate_feedback(spec, observed) is None
    nothing = np.zeros(0)
    assert estimate_feedback(spec, Observed(nothing, nothing, nothing.astype(bool), nothing)) is None
