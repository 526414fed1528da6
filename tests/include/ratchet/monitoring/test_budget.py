"""Which segments are trained again today: the most worth a second first, as far as the budget reaches."""

from __future__ import annotations

import numpy as np
import pytest

from include.ratchet.monitoring.budget import Wish, allot, rank, wish_of
from include.ratchet.monitoring.policy import Decision
from include.ratchet.pipeline.fleet.batches import Costs
from tests.include.ratchet.monitoring.many import fired, keys, look, make_spec

SPEC = make_spec()
NAMES = keys(6)


def decision(outcome="retrain"):
    return Decision(outcome, frozenset({"drift"}), None, None, "drift for 3 looks or more")


def test_fall_times_traffic_for_each_second_decides():
    wishes = [
        Wish(NAMES[0], gain=0.10, rows=100, seconds=10),  # 1.0
        Wish(NAMES[1], gain=0.01, rows=5000, seconds=10),  # 5.0
        Wish(NAMES[2], gain=0.10, rows=100, seconds=1),  # 10.0
        Wish(NAMES[3], gain=0.00, rows=9000, seconds=1),
        Wish(NAMES[4], gain=0.10, rows=100, seconds=10),
    ]
    assert rank(wishes) == [NAMES[2], NAMES[1], NAMES[0], NAMES[4], NAMES[3]]
    assert rank(wishes[::-1]) == rank(wishes)


@pytest.mark.parametrize(("budget", "spent", "granted"), [(2, 0, 2), (2, 1, 1), (2, 2, 0), (2, 9, 0), (50, 0, 5)])
def test_budget_of_the_day_is_shared_and_the_rest_waits_with_its_rank(budget, spent, granted):
    decisions = {key: decision() for key in NAMES[:5]} | {NAMES[5]: decision("alert")}
    wishes = [Wish(key, 0.1, 100 * (place + 1), 10) for place, key in enumerate(NAMES[:5])]
    found = allot(decisions, wishes, budget, spent)
    assert [key for key in rank(wishes) if found[key].outcome == "retrain"] == rank(wishes)[:granted]
    waiting = [found[key] for key in rank(wishes)[granted:]]
    assert {one.outcome for one in waiting} <= {"wait"}
    assert [one.reason.split()[2] for one in waiting] == [str(place) for place in range(granted + 1, 6)]
    assert all(f"{budget} retrainings a day" in one.reason and f"{spent} were" in one.reason for one in waiting)
    assert found[NAMES[5]] == decisions[NAMES[5]]


def test_realised_fall_goes_before_the_estimated_one():
    numbers = {"metric_window": 0.70, "metric_expected": 0.75, "estimate_window": 0.60, "estimate_expected": 0.75}
    wish = wish_of(SPEC, [look(NAMES[0], 0, fired("performance"), **numbers)], None)
    assert wish.gain == pytest.approx(0.05)
    del numbers["metric_window"], numbers["metric_expected"]
    assert wish_of(SPEC, [look(NAMES[0], 0, fired("estimate"), **numbers)], None).gain == pytest.approx(0.15)


def test_drift_alone_promises_little_and_more_where_more_has_drifted():
    gains = [wish_of(SPEC, [look(NAMES[0], 0, fired("drift", value=share), metric_window=0.76, metric_expected=0.75)],
                     None).gain for share in (0.2, 0.8)]  # fmt: skip
    assert gains == pytest.approx([0.0015, 0.006])


def test_lower_is_better_falls_upwards():
    spec = make_spec(evaluation={"metric": "log_loss"})
    wish = wish_of(spec, [look(NAMES[0], 0, fired("performance"), metric_window=0.6, metric_expected=0.5)], None)
    assert wish.gain == pytest.approx(0.1)


def test_seconds_are_those_that_were_measured_else_rows():
    looks = [look(NAMES[0], day, fired(), rows=rows) for day, rows in enumerate([50, *[100] * 7])]
    assert wish_of(SPEC, looks, None).rows == 100
    assert wish_of(SPEC, looks, None).seconds == 36_500
    assert wish_of(SPEC, looks, Costs(2.0, 1e-4)).seconds == pytest.approx(5.65)
    assert np.isfinite(wish_of(SPEC, [look(NAMES[0], 0, fired(), rows=0)], None).worth)
