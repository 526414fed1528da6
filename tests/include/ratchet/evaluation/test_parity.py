"""Rates by group are fairlearn's, intervals cover, and a change is paired."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)

from include.ratchet.evaluation.parity import Parity, compare_stretches, group_texts, measure_parity
from tests.include.ratchet.training.data import make_model


def make(rows=3000, seed=0):
    draw = np.random.default_rng(seed)
    groups = draw.choice(np.array(["a", "b", "c"]), rows, p=[0.5, 0.4, 0.1])
    chance = draw.random(rows)
    label = (draw.random(rows) < chance).astype(int)
    scores = np.clip(chance + 0.15 * (groups == "a") + draw.normal(0, 0.1, rows), 0, 1)
    return groups, label, scores, np.clip(chance + draw.normal(0, 0.1, rows), 0, 1)


def test_rates_and_gaps_are_fairlearns(tmp_path):
    groups, label, after, before = make()
    found = measure_parity(make_model(tmp_path).spec, "shop", groups, label, after, before)
    said = (after >= 0.5).astype(int)
    frame = MetricFrame(
        metrics={"positive_rate": selection_rate, "true_positive_rate": true_positive_rate,
                 "false_positive_rate": false_positive_rate},
        y_true=label, y_pred=said, sensitive_features=groups,
    )  # fmt: skip
    assert [one.group for one in found.groups] == ["a", "b", "c"]
    for one in found.groups:
        assert {change.rate: change.after.value for change in one.rates} == pytest.approx(
            frame.by_group.loc[one.group].to_dict()
        )
    gaps = {change.rate: change.after.value for change in found.gaps}
    assert gaps == pytest.approx(frame.difference().to_dict())
    assert gaps["positive_rate"] == pytest.approx(demographic_parity_difference(label, said, sensitive_features=groups))
    earlier = {change.rate: change.before.value for change in found.gaps}
    expected = demographic_parity_difference(label, (before >= 0.5).astype(int), sensitive_features=groups)
    assert earlier["positive_rate"] == pytest.approx(expected)
    for change in found.gaps:
        assert change.change.value == pytest.approx(change.after.value - change.before.value)


def test_a_change_is_paired_so_that_the_same_model_changes_nothing(tmp_path):
    groups, label, after, _ = make()
    found = measure_parity(make_model(tmp_path).spec, "shop", groups, label, after, after)
    changes = [*found.gaps, *(change for one in found.groups for change in one.rates)]
    assert {(one.change.value, one.change.low, one.change.high) for one in changes} == {(0.0, 0.0, 0.0)}


def test_a_real_change_is_seen_and_intervals_cover_the_truth(tmp_path):
    groups, label, after, before = make(20_000)
    found = measure_parity(make_model(tmp_path).spec, "shop", groups, label, after, before)
    (gap,) = [one for one in found.gaps if one.rate == "positive_rate"]
    assert gap.change.low > 0.08
    covered = 0
    for seed in range(40):
        some, truth, scores, _ = make(1500, seed)
        one = measure_parity(make_model(tmp_path).spec, "shop", some, truth, scores)
        rate = next(each.rates[0] for each in one.groups if each.group == "a")
        covered += rate.after.low <= 0.65 <= rate.after.high
    assert covered >= 35


def test_small_groups_are_counted_and_left_out(tmp_path):
    groups, label, after, _ = make(600)
    groups[:] = "a"
    groups[:50] = "t"
    found = measure_parity(make_model(tmp_path).spec, "shop", groups, label, after)
    assert found.too_few == {"t": 50}
    assert [one.group for one in found.groups] == ["a"]
    assert found.gaps == ()
    assert found.groups[0].rates[0].before is None


def test_a_rate_of_too_few_cases_is_open(tmp_path):
    groups, label, after, _ = make()
    label[groups == "c"] = 0
    found = measure_parity(make_model(tmp_path).spec, "shop", groups, label, after)
    rates = {one.group: [change.rate for change in one.rates] for one in found.groups}
    assert "true_positive_rate" not in rates["c"]
    assert "false_positive_rate" in rates["c"]


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks_have_their_own_rate(tmp_path, task):
    groups, label, after, _ = make()
    scores = np.column_stack([1 - after, after]) if task == "multiclass" else after
    found = measure_parity(make_model(tmp_path, task=task).spec, "shop", groups, label, scores)
    inside = groups == "b"
    expected = ((after > 0.5) == label)[inside].mean() if task == "multiclass" else np.abs(label - after)[inside].mean()
    (rate,) = next(one.rates for one in found.groups if one.group == "b")
    assert rate.rate == {"multiclass": "accuracy", "regression": "absolute_error"}[task]
    assert rate.after.value == pytest.approx(expected)


def test_result_goes_through_json_and_missing_values_are_a_group(tmp_path):
    groups, label, after, before = make()
    found = measure_parity(make_model(tmp_path).spec, "shop", groups, label, after, before)
    assert Parity.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert group_texts([None, 1, "x"]).tolist() == ["missing", "1", "x"]


def test_stretches_are_those_rows_alone_and_their_change_is_not_paired(tmp_path):
    groups, label, after, _ = make(6000)
    is_after = np.arange(6000) % 3 == 0
    spec = make_model(tmp_path).spec
    found = compare_stretches(spec, "shop", groups, label, after, is_after)
    for rows, side in ((is_after, "after"), (~is_after, "before")):
        alone = measure_parity(spec, "shop", groups[rows], label[rows], after[rows])
        for one, other in zip(found.gaps, alone.gaps, strict=True):
            assert getattr(one, side).value == pytest.approx(other.after.value)
    for change in found.gaps:
        assert change.change.low < 0 < change.change.high
        assert change.change.high - change.change.low > change.before.high - change.before.low
    few = np.zeros(6000, dtype=bool)
    few[:500] = True
    assert set(compare_stretches(spec, "shop", groups, label, after, few).too_few) == {"c"}
