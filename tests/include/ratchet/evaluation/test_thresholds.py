"""Plans are the cheapest that meet their criterion: by brute force, and by fairlearn where that can say."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from fairlearn.postprocessing import ThresholdOptimizer
from sklearn.base import BaseEstimator, ClassifierMixin

from include.ratchet.evaluation.thresholds import GroupRule, WhatIf, plan_thresholds
from tests.include.ratchet.training.data import make_model

GAP = {"demographic parity": "positive_rate", "equal opportunity": "true_positive_rate"}


def make(rows=8000, seed=0, levels=25):
    """Scores of few levels, so that every threshold can be tried."""
    draw = np.random.default_rng(seed)
    groups = draw.choice(np.array(["a", "b"]), rows, p=[0.6, 0.4])
    chance = draw.beta(2, 3, rows)
    label = (draw.random(rows) < np.clip(chance + 0.2 * (groups == "a"), 0, 1)).astype(int)
    noise = draw.normal(0, np.where(groups == "a", 0.05, 0.25))
    return groups, label, np.round(np.clip(chance + noise, 0, 1) * levels) / levels


def spec(tmp_path, false_positive=1.0, false_negative=1.0, threshold=0.5):
    evaluation = {"costs": {"false_positive": false_positive, "false_negative": false_negative}, "threshold": threshold}
    return make_model(tmp_path, evaluation=evaluation).spec


def halves(groups, label):
    """The rows that plans are chosen on, by the definition: every other one of each group and outcome."""
    chosen = np.zeros(len(label), dtype=bool)
    for group, outcome in itertools.product(np.unique(groups), (0, 1)):
        chosen[np.flatnonzero((groups == group) & (label == outcome))[::2]] = True
    return chosen


def paid(said, label, costs):
    return float(np.where(label == 1, costs[1] * (1 - said), costs[0] * said).mean() * 1000)


def plans_of(found):
    return {plan.name: plan for plan in found.plans}


@pytest.mark.parametrize("costs", [(1.0, 1.0), (1.0, 4.0), (5.0, 1.0)])
def test_one_threshold_is_the_cheapest_and_costs_are_counted_by_hand(tmp_path, costs):
    groups, label, scores = make()
    found = plan_thresholds(spec(tmp_path, *costs), "shop", groups, label, scores)
    chosen, plans = halves(groups, label), plans_of(found)
    tried = {limit: paid(scores[chosen] >= limit, label[chosen], costs) for limit in [*np.unique(scores), 2.0]}
    rule = plans["one threshold"].rules[0]
    assert tried[rule.threshold] == min(tried.values())
    kept = ~chosen
    assert found.rows == kept.sum()
    assert plans["one threshold"].cost.value == pytest.approx(paid(scores[kept] >= rule.threshold, label[kept], costs))
    assert plans["as it is"].cost.value == pytest.approx(paid(scores[kept] >= 0.5, label[kept], costs))
    assert plans["as it is"].change.high == plans["as it is"].change.low == 0
    assert plans["one threshold"].change.value == pytest.approx(
        plans["one threshold"].cost.value - plans["as it is"].cost.value
    )


@pytest.mark.parametrize("name", GAP)
def test_thresholds_of_groups_meet_their_criterion_at_the_least_cost(tmp_path, name):
    groups, label, scores = make()
    found = plan_thresholds(spec(tmp_path), "shop", groups, label, scores)
    plan, chosen = plans_of(found)[name], halves(groups, label)
    in_a, in_b = chosen & (groups == "a"), chosen & (groups == "b")
    limits = [*np.unique(scores), 2.0]

    def rate(rows, limit):
        own = rows & (label == 1) if name == "equal opportunity" else rows
        return (scores[own] >= limit).mean()

    def cost(one, other):
        return paid(np.where(groups == "a", scores >= one, scores >= other)[chosen], label[chosen], (1, 1))

    own = {rule.group: rule.threshold for rule in plan.rules}
    reached = abs(rate(in_a, own["a"]) - rate(in_b, own["b"]))
    # As near as the levels of the scores let any pair of thresholds come at no greater cost.
    pairs = [(abs(rate(in_a, one) - rate(in_b, other)), cost(one, other)) for one in limits for other in limits]
    assert reached < 0.06
    assert plan.gaps[GAP[name]] < plans_of(found)["as it is"].gaps[GAP[name]]
    assert cost(own["a"], own["b"]) <= min(price for gap, price in pairs if gap <= 0.002) + 1e-9


class Given(ClassifierMixin, BaseEstimator):
    """Says the scores that it is given."""

    def fit(self, rows, label):
        self.classes_, self.fitted_ = np.array([0, 1]), True
        return self

    def predict(self, rows):
        return np.ravel(rows)


def test_equalised_odds_are_those_of_fairlearn(tmp_path):
    groups, label, scores = make()
    found = plan_thresholds(spec(tmp_path), "shop", groups, label, scores)
    plan, chosen = plans_of(found)["equalised odds"], halves(groups, label)
    said = np.zeros(len(label))
    for rule in plan.rules:
        said[groups == rule.group] = rule.decide(scores[groups == rule.group])
    for outcome in (0, 1):
        means = [said[chosen & (groups == group) & (label == outcome)].mean() for group in ("a", "b")]
        assert means[0] == pytest.approx(means[1], abs=1e-9)
    other = ThresholdOptimizer(
        estimator=Given().fit(None, None), constraints="equalized_odds", objective="accuracy_score", prefit=True,
        predict_method="predict", grid_size=1001,
    ).fit(scores[chosen, None], label[chosen], sensitive_features=groups[chosen])  # fmt: skip
    chances = other._pmf_predict(scores[chosen, None], sensitive_features=groups[chosen])[:, 1]
    assert paid(said[chosen], label[chosen], (1, 1)) == pytest.approx(paid(chances, label[chosen], (1, 1)), abs=1.0)
    assert any(rule.by_lot > 0 for rule in plan.rules)


def test_alike_groups_need_no_thresholds_of_their_own(tmp_path):
    groups, label, scores = make()
    draw = np.random.default_rng(9)
    found = plan_thresholds(spec(tmp_path), "shop", draw.permutation(groups), label, scores)
    plans = plans_of(found)
    assert plans["demographic parity"].change.low < plans["one threshold"].change.high
    assert max(plans["one threshold"].gaps.values()) < 0.08


@pytest.mark.parametrize("case", ["one group", "few rows", "one class"])
def test_nothing_is_planned_where_nothing_can_be_compared(tmp_path, case):
    groups, label, scores = make(1000)
    if case == "one group":
        groups[:] = "a"
    if case == "few rows":
        groups[:] = "a"
        groups[:100] = "b"
    if case == "one class":
        label[groups == "b"] = 1
    assert plan_thresholds(spec(tmp_path), "shop", groups, label, scores) is None


def test_scores_that_are_all_the_same_are_decided_as_a_whole(tmp_path):
    groups, label, _ = make(2000)
    found = plan_thresholds(spec(tmp_path), "shop", groups, label, np.full(2000, 0.3))
    for plan in found.plans:
        assert plan.gaps["positive_rate"] < 0.05
    assert found == WhatIf.from_dict(json.loads(json.dumps(found.to_dict())))


def test_rule_mixes_as_it_says():
    rule = GroupRule("a", 0.8, 0.4, weight=0.25, drawn=0.1, chance=0.5)
    assert rule.decide(np.array([0.9, 0.5, 0.1])) == pytest.approx([0.95, 0.9 * 0.75 + 0.05, 0.05])
