"""What predictions are worth, beside the same sums by hand, and the gates that a scope sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from include.ratchet.errors import SpecError
from include.ratchet.evaluation.business import (
    BusinessResult,
    check_business,
    mean_value,
    value_predictions,
    value_rows,
)
from include.ratchet.evaluation.comparison import CHAMPION, Comparison, Contender
from include.ratchet.evaluation.intervals import Interval
from include.ratchet.evaluation.report import EvaluationReport
from include.ratchet.evaluation.scope import hold_scope
from tests.include.ratchet.evaluation.test_gates import GOOD
from tests.include.ratchet.spec.test_scope import business, make_spec

VALUE = "CASE WHEN NOT decision THEN 0 WHEN y THEN 0.3 * price ELSE -2 END"
ROWS = 400


@pytest.fixture
def facts():
    generator = np.random.default_rng(3)
    price = generator.lognormal(3, 0.5, ROWS)
    return pa.table({"y": pa.array(generator.random(ROWS) < 0.3), "price": pa.array(price)})


def by_hand(facts, scores):
    y, price = facts["y"].to_numpy(), facts["price"].to_numpy()
    return np.where(scores < 0.5, 0.0, np.where(y, 0.3 * price, -2.0))


def test_values_are_those_of_the_expression_row_by_row(facts):
    scores = np.random.default_rng(1).random(ROWS)
    spec = make_spec(business(VALUE))
    found = value_rows(spec, spec.scope.business, facts, scores)
    np.testing.assert_allclose(found, by_hand(facts, scores))


def test_gain_is_that_of_the_same_rows_and_unknown_rows_count_for_nobody(facts):
    spec = make_spec(business(VALUE))
    good = np.where(facts["y"].to_numpy(), 0.9, 0.1)
    always, never = np.ones(ROWS), np.zeros(ROWS)
    # A price that is not known leaves the value of a decision open, and not that of the lack of one.
    price = facts["price"].to_numpy().copy()
    price[:50] = np.nan
    facts = facts.set_column(1, "price", pa.array(price, from_pandas=True))
    rivals = [Contender("never", never), Contender("always", always), Contender(CHAMPION, good, 7)]
    found = value_predictions(spec, facts, good, rivals, None)
    known = ~(np.isnan(price) & facts["y"].to_numpy())
    assert found.rows == known.sum() < ROWS
    means = [np.mean(by_hand(facts, of)[known]) for of in (good, never, always, good)]
    assert found.mean.value == pytest.approx(means[0])
    assert [one.gain.value for one in found.rivals] == pytest.approx([means[0] - mean for mean in means[1:]])
    assert found.champion.gain == Interval(0, 0, 0)
    assert found.champion.version == 7
    assert found.rivals[1].gain.low > 0
    assert found.rivals[1].gain.low < found.rivals[1].gain.value < found.rivals[1].gain.high


def test_less_may_be_better(facts):
    spec = make_spec(business("abs(score - price)", lower_is_better=True))
    price = facts["price"].to_numpy()
    found = value_predictions(spec, facts, price + 1, [Contender("far", price + 3)], None)
    assert (found.mean.value, found.rivals[0].gain.value) == pytest.approx((1, 2))


def test_class_is_decided_by_the_likeliest():
    spec = make_spec(
        business("CASE WHEN decision = fate THEN score ELSE -1 END"), task="multiclass",
        label={"column": "fate"}, columns={"fate": {"type": "string"}},
    )  # fmt: skip
    scores = np.array([[0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
    facts = pa.table({"fate": ["lost", "lost", "kept"]})
    found = value_rows(spec, spec.scope.business, facts, scores, np.array(["kept", "lost"]))
    assert found.tolist() == [0.8, -1, 0.6]


def test_mean_of_nothing_known_is_unknown():
    assert np.isnan(mean_value(np.array([np.nan, np.nan]))(np.ones((1, 2)))).all()


@pytest.mark.parametrize("value", ["price - CAST(y AS DATE)", "unknown_function(price)", "[price]"])
def test_expression_that_gives_no_number_is_explained_by_check(value):
    with pytest.raises(SpecError, match=r"orders: scope.business.value: found .* expected a number .*price \(double\)"):
        check_business(make_spec(business(value)))


def worth(mean, gain):
    champion = Comparison(CHAMPION, Interval(2, 1, 3), gain, 3)
    return BusinessResult("worth", "EUR", False, 900, mean, (champion,))


HELD = make_spec({
    "guardrails": {"log_loss": 0.01}, "constraints": {"latency_ms": 10},
    "references": {
        "people": {"kind": "human", "value": 0.6, "source": "two clerks, May"},
        "paper": {"kind": "state_of_the_art", "value": 0.99, "source": "a paper", "beat": False},
    },
    **business("price", min=1.5, margin=0.2),
}).scope  # fmt: skip
FINE = replace(
    GOOD, guardrails={"log_loss": Interval(0, -0.01, 0.01)}, business=worth(Interval(2, 1.5, 2.5), Interval(0, -0.2, 1))
)


def test_gates_of_a_scope_pass_what_is_good():
    found = list(hold_scope(HELD, FINE))
    assert [gate.name for gate in found] == [
        "beats people", "guardrail log_loss", "latency constraint", "worth", "worth against champion",
    ]  # fmt: skip
    assert all(gate.passed for gate in found), found


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({"metrics": {**GOOD.metrics, "roc_auc": Interval(0.61, 0.6, 0.62)}}, "beats people", "roc_auc 0.6100"),
        ({"guardrails": {"log_loss": Interval(0, -0.011, 0.01)}}, "guardrail log_loss", "-0.0110"),
        ({"latency_ms": 10.5}, "latency constraint", "10.50 ms"),
        ({"business": worth(Interval(2, 1.4, 2.5), Interval(0, -0.2, 1))}, "worth", "EUR a prediction"),
        ({"business": worth(Interval(2, 1.5, 2.5), Interval(0, -0.3, 1))}, "worth against champion", "-0.3000"),
    ],
)
def test_each_gate_of_a_scope_refuses_what_is_bad(change, name, words):
    refused = [gate for gate in hold_scope(HELD, replace(FINE, **change)) if not gate.passed]
    assert [(gate.name, gate.refusal) for gate in refused] == [(name, "reject")]
    assert words in refused[0].found


def test_without_rows_of_known_value_a_candidate_is_held_and_without_champion_it_is_not_compared():
    empty = replace(FINE, business=replace(FINE.business, rows=0))
    refused = [gate for gate in hold_scope(HELD, empty) if not gate.passed]
    assert [(gate.name, gate.refusal) for gate in refused] == [("worth", "hold")]
    first = replace(FINE, champion=None, guardrails={}, business=replace(FINE.business, rivals=()))
    assert [gate.name for gate in hold_scope(HELD, first)] == ["beats people", "latency constraint", "worth"]


def test_report_comes_back_from_json_as_it_was():
    assert EvaluationReport.from_dict(FINE.to_dict()) == FINE
