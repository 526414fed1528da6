"""One contract over every gate: it passes the good, refuses the bad with its numbers, and is silent if not set."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from include.ratchet.errors import GateRefusedError
from include.ratchet.evaluation.comparison import Comparison
from include.ratchet.evaluation.fairness import FairnessResult
from include.ratchet.evaluation.gates import GATES, Circumstances, judge
from include.ratchet.evaluation.intervals import Interval
from include.ratchet.evaluation.report import EvaluationReport
from include.ratchet.evaluation.slices import SliceResult
from include.ratchet.evaluation.verdict import Verdict
from tests.include.ratchet.training.data import make_model

NOW, BEFORE = datetime(2020, 3, 1, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC)
GAIN, LOSS = Interval(0.03, 0.02, 0.04), Interval(-0.03, -0.04, -0.02)
LIMITS = {
    "min_metric": 0.6, "max_ece": 0.1, "max_fairness_gap": 0.1, "max_latency_ms": 10, "max_size_mb": 5,
    "window_margin": 0.0,
}  # fmt: skip
GROUPS = {"north": {"rows": 900.0}, "web": {"rows": 900.0}}
GOOD = EvaluationReport(
    metric="roc_auc", lower_is_better=False, rows=5000, rarest_rows=900,
    metrics={"roc_auc": Interval(0.7, 0.68, 0.72), "ece": Interval(0.03, 0.02, 0.04)},
    baselines=(Comparison("dummy", Interval(0.5, 0.5, 0.5), Interval(0.2, 0.18, 0.22)),),
    champion=Comparison("champion", Interval(0.67, 0.65, 0.69), GAIN, 3),
    window=Comparison("champion", Interval(0.67, 0.65, 0.69), GAIN, 3),
    slices=(SliceResult("shop = web", 900, Interval(0.7, 0.6, 0.8), GAIN),), weak_spots=(),
    fairness=(FairnessResult("shop", 0.05, 0.02, GROUPS),), calibration=(), latency_ms=2, size_mb=1,
    is_reproducible=True,
    pool=Comparison("pooled model", Interval(0.67, 0.65, 0.69), GAIN, 5),
)  # fmt: skip
PLAIN = Circumstances(is_data_valid=True, as_of=NOW, champion_as_of=BEFORE, has_window=True)

BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    # gate: changes of the report, changes of the circumstances, refusal, words
    "minimum sample": ({"rows": 499}, {}, "hold", "499 rows"),
    "data validated": ({}, {"is_data_valid": False}, "reject", "failed"),
    "minimum metric": ({"metrics": {"roc_auc": Interval(0.61, 0.59, 0.63)}}, {}, "reject", "0.6100 [0.5900, 0.6300]"),
    "beats baseline": (
        {"baselines": (Comparison("rate", Interval(0.7, 0.6, 0.8), Interval(0.0, -0.01, 0.01)),)}, {}, "reject", "rate",
    ),
    "not worse than champion": (
        {"champion": Comparison("champion", Interval(0.7, 0.6, 0.8), LOSS, 3)}, {}, "reject", "over version 3 -0.0300",
    ),
    "not worse than pool": (
        {"pool": Comparison("pooled model", Interval(0.7, 0.6, 0.8), LOSS, 5)}, {}, "reject", "version 5 -0.0300",
    ),
    "no slice worse": (
        {"slices": (SliceResult("shop = web", 900, GAIN, Interval(-0.2, -0.3, -0.1)),)}, {}, "reject", "shop = web",
    ),
    "calibration": ({"metrics": {**GOOD.metrics, "ece": Interval(0.2, 0.1, 0.3)}}, {}, "reject", "ece 0.2000"),
    "fairness": ({"fairness": (FairnessResult("shop", 0.2, 0.1, GROUPS),)}, {}, "reject", "0.2000 over shop"),
    "latency": ({"latency_ms": 11.0}, {}, "reject", "11.00 ms"),
    "size": ({"size_mb": 6.0}, {}, "reject", "6.00 MB"),
    "reproducible": ({"is_reproducible": False}, {}, "reject", "otherwise"),
    "wins on its window": (
        {"window": Comparison("champion", Interval(0.7, 0.6, 0.8), Interval(0.0, -0.1, 0.1), 3)}, {}, "reject", "gain",
    ),
    "may move production": ({}, {"champion_as_of": datetime(2020, 4, 1, tzinfo=UTC)}, "hold", "as of 2020-03-01"),
}  # fmt: skip


def spec(tmp_path, **gates):
    return make_model(tmp_path, gates={**LIMITS, **gates}, evaluation={"sensitive": ["shop"]}).spec


def test_every_gate_is_in_the_contract(tmp_path):
    verdict = judge(spec(tmp_path), GOOD, PLAIN)
    assert [gate.name for gate in verdict.gates] == list(BAD)
    assert len(GATES) == len(BAD)


def test_good_candidate_is_promoted(tmp_path):
    verdict = judge(spec(tmp_path), GOOD, PLAIN)
    assert verdict.outcome == "promote"
    assert verdict.failed == ()
    assert verdict.reason == "passed all 14 gates"
    verdict.raise_for_rejection("orders@1")


@pytest.mark.parametrize("name", BAD)
def test_gate_refuses_the_bad_one_alone_and_says_why(tmp_path, name):
    changes, circumstances, refusal, words = BAD[name]
    verdict = judge(spec(tmp_path), replace(GOOD, **changes), replace(PLAIN, **circumstances))
    (failed,) = verdict.failed
    assert (failed.name, failed.refusal) == (name, refusal)
    assert verdict.outcome == refusal
    assert words in failed.found
    assert failed.expected
    assert name in verdict.table()


def test_gates_that_the_spec_does_not_set_are_silent(tmp_path):
    bare = make_model(tmp_path, gates={"reproducible": False, "max_slice_drop": None}).spec
    verdict = judge(bare, replace(GOOD, champion=None, window=None, pool=None), Circumstances(True, NOW))
    assert [gate.name for gate in verdict.gates] == [
        "minimum sample", "data validated", "beats baseline", "may move production",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("groups", "outcome", "words"),
    [({}, "hold", "no group of"), ({"web": {"rows": 900.0}}, "promote", "only one group of")],
)
def test_fairness_that_was_not_measured_is_not_said_to_be_good(tmp_path, groups, outcome, words):
    verdict = judge(spec(tmp_path), replace(GOOD, fairness=(FairnessResult("shop", 0.0, 0.0, groups),)), PLAIN)
    (gate,) = (one for one in verdict.gates if one.name == "fairness")
    assert (verdict.outcome, gate.found) == (outcome, f"{words} evaluation.min_slice_rows test rows")
    between = (FairnessResult("shop", 0.0, 0.0, groups), FairnessResult("region", 0.2, 0.1, GROUPS))
    assert judge(spec(tmp_path), replace(GOOD, fairness=between), PLAIN).outcome == "reject"


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"gates": {"max_fairness_gap": 0.1}}, "expected columns in evaluation.sensitive"),
     ({"gates": {"max_ece": 0.1}, "task": "regression"}, "has no probabilities to calibrate")],
)  # fmt: skip
def test_gate_that_could_never_be_asked_is_an_error(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        make_model(tmp_path, **changes)


def test_a_segments_first_model_must_surely_beat_the_pool(tmp_path):
    even = Comparison("pooled model", Interval(0.7, 0.6, 0.8), Interval(0.001, -0.005, 0.007), 5)
    later = judge(spec(tmp_path), replace(GOOD, pool=even), PLAIN)
    first = judge(spec(tmp_path), replace(GOOD, pool=even, champion=None, window=None), Circumstances(True, NOW))
    assert (later.outcome, first.outcome) == ("promote", "hold")
    assert [gate.name for gate in first.failed] == ["better than pool"]


def test_too_few_rows_hold_whatever_else_the_numbers_say(tmp_path):
    bad = replace(GOOD, rows=10, latency_ms=99.0)
    assert judge(spec(tmp_path), bad, PLAIN).outcome == "hold"


def test_superiority_needs_more_than_non_inferiority(tmp_path):
    equal = replace(GOOD, champion=Comparison("champion", GAIN, Interval(0.0, -0.005, 0.005), 3))
    assert judge(spec(tmp_path), equal, PLAIN).outcome == "promote"
    verdict = judge(spec(tmp_path, versus_champion="superior"), equal, PLAIN)
    assert [gate.name for gate in verdict.failed] == ["better than champion"]


def test_lower_is_better_turns_the_minimum_around(tmp_path):
    loss = replace(GOOD, metric="log_loss", lower_is_better=True, metrics={"log_loss": Interval(0.5, 0.45, 0.55)})
    assert judge(spec(tmp_path, min_metric=0.6), loss, PLAIN).outcome == "promote"
    assert judge(spec(tmp_path, min_metric=0.52), loss, PLAIN).outcome == "reject"


def test_champion_that_cannot_be_compared_holds(tmp_path):
    verdict = judge(spec(tmp_path), replace(GOOD, champion=None), replace(PLAIN, champion_error="it needs column q"))
    assert verdict.outcome == "hold"
    assert "it needs column q" in verdict.reason


def test_backfill_never_moves_production(tmp_path):
    newer = replace(PLAIN, is_backfill=True, champion_as_of=None, has_window=False)
    assert judge(spec(tmp_path), replace(GOOD, champion=None), newer).outcome == "hold"


def test_rejection_is_an_error_with_the_table_that_survives_pickling(tmp_path):
    verdict = judge(spec(tmp_path), replace(GOOD, size_mb=9.0), PLAIN)
    with pytest.raises(GateRefusedError) as caught:
        verdict.raise_for_rejection("orders@1")
    assert "orders@1 is rejected: size: found 9.00 MB, expected at most 5 MB" in str(caught.value)
    assert "minimum sample" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict
