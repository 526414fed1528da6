"""What people reach: each against the others, in the model's own metric."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from include.ratchet.data.resolution import Ruling
from include.ratchet.labels.human import measure_humans
from include.ratchet.spec import ModelSpec
from tests.include.ratchet.data.orders import SPEC


def make_spec(task, metric=None, **label):
    base = {**SPEC, "task": task, "label": {"column": "is_returned", **label}}
    base["columns"] = {**SPEC["columns"], "is_returned": {"type": "float" if task == "regression" else "string"}}
    if task == "binary" and not label:
        base["columns"]["is_returned"] = {"type": "boolean"}
    return ModelSpec.model_validate({**base, "evaluation": {"metric": metric} if metric else {}})


def rulings(rows):
    return [Ruling(None, None, "", voices) for voices in rows]


def noisy(seed, labels, people=("ana", "bo", "cy"), share=0.2, rows=200):
    generator = np.random.default_rng(seed)
    truth = generator.choice(labels, rows)
    return [{who: label if generator.random() > share else generator.choice(labels) for who in people}
            for label in truth.tolist()]  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "oracle"),
    [
        ("f1", metrics.f1_score), ("recall", metrics.recall_score), ("precision", metrics.precision_score),
        ("balanced_accuracy", metrics.balanced_accuracy_score), ("accuracy", metrics.accuracy_score),
        (None, metrics.accuracy_score),  # roc_auc asks for scores
    ],
)  # fmt: skip
def test_two_people_in_every_metric_of_labels(metric, oracle):
    rows = [{name: bool(value) for name, value in row.items()} for row in noisy(1, [False, True], ("ana", "bo"))]
    found = measure_humans(make_spec("binary", metric), rulings(rows))
    assert found.metric == (metric or "accuracy")
    ana, bo = ([row[name] for row in rows] for name in ("ana", "bo"))
    assert found.value.value == pytest.approx(oracle([*bo, *ana], [*ana, *bo]))
    assert [one.labeller for one in found.labellers] == ["ana", "bo"]
    assert found.labellers[0].value.value == pytest.approx(oracle(bo, ana))
    assert found.value.low < found.value.value < found.value.high


def test_positive_class_of_the_spec_counts():
    rows = [{name: "yes" if value else "no" for name, value in row.items()} for row in noisy(1, [0, 1], ("ana", "bo"))]
    found = measure_humans(make_spec("binary", "recall", positive="yes"), rulings(rows))
    ana, bo = ([row[name] for row in rows] for name in ("ana", "bo"))
    assert found.labellers[1].value.value == pytest.approx(metrics.recall_score(ana, bo, pos_label="yes"))


def test_consensus_leaves_the_labeller_out_and_ties_aside():
    rows = [
        {"ana": "cat", "bo": "dog", "cy": "dog"},  # ana against dog; bo and cy against a tie: left out
        {"ana": "cat", "bo": "cat", "cy": "cat", "source": "dog"},  # the source is no person
        {"ana": "eel"},
    ]
    found = measure_humans(make_spec("multiclass", "accuracy"), rulings(rows))
    levels = {one.labeller: (one.rows, one.value.value) for one in found.labellers}
    assert levels == {"ana": (2, 0.5), "bo": (1, 1.0), "cy": (1, 1.0)}
    assert found.rows == 2


def test_multiclass_against_scikit_learn():
    rows = [{name: str(value) for name, value in row.items()} for row in noisy(2, ["a", "b", "c"], ("ana", "bo"))]
    found = measure_humans(make_spec("multiclass", "f1_macro"), rulings(rows))
    ana, bo = ([row[name] for row in rows] for name in ("ana", "bo"))
    assert found.value.value == pytest.approx(metrics.f1_score([*bo, *ana], [*ana, *bo], average="macro"))


def test_numbers_against_the_median_of_the_others():
    rows = [{"ana": 10.0 + x, "bo": 12.0 + x, "cy": 20.0 + x} for x in range(10)]
    found = measure_humans(make_spec("regression", "mae"), rulings(rows))
    assert {one.labeller: one.value.value for one in found.labellers} == {"ana": 6.0, "bo": 3.0, "cy": 9.0}


@pytest.mark.parametrize("rows", [[], [{"ana": True}], [{"ana": True, "source": True}]])
def test_nothing_to_compare_is_none(rows):
    assert measure_humans(make_spec("binary"), rulings(rows)) is None
