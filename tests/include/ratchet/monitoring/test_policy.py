"""From looks to actions: pure, so that every path is a list of looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.ratchet.monitoring.incidents import Incident, follow
from include.ratchet.monitoring.policy import Decision, PastRequest, decide
from include.ratchet.monitoring.signals import Look, Signal, strongest
from include.ratchet.spec import ModelKey
from include.ratchet.spec.monitoring import PolicySpec

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = ModelKey("orders")
POLICY = PolicySpec()


def signal(kind, *, is_fired=True):
    return Signal(kind, "price", "share", 1.0, 0.2, 1e-6, 1, is_fired, f"{kind} of price")


def look(day, *kinds, version=1, judged=("drift", "performance", "quality")):
    start = BEGIN + day * DAY
    return Look(KEY, f"{start:%Y-%m-%d}", start, start + DAY, start + DAY, version, 1000, 1.0, frozenset(judged),
                tuple(signal(kind) for kind in kinds))  # fmt: skip


def looks(*days, **options):
    return [look(number, *kinds, **options) for number, kinds in enumerate(days)]


def outcome(found, past=(), policy=POLICY):
    return decide(policy, found, past, found[-1].as_of).outcome


def asked(day, *, cause=("drift",), version=1, is_open=False, start=0):
    return PastRequest(BEGIN + day * DAY, version, frozenset(cause), is_open, BEGIN + start * DAY)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([()], "none"),
        ([("drift",)], "alert"),
        ([("drift",), ("drift",)], "alert"),
        ([("drift",), ("drift",), ("drift",)], "retrain"),
        ([("drift",), ("drift",), (), ("drift",)], "alert"),
        ([("drift",), ("drift",), ("performance",)], "alert"),
        ([("quality",)] * 9, "alert"),
        ([("drift",), ("drift",), ("drift",), ()], "none"),
    ],
)
def test_streak_decides(days, expected):
    assert outcome(looks(*days)) == expected


def test_look_that_could_not_judge_neither_counts_nor_ends_a_streak():
    found = looks(("drift",), ("drift",), (), ("drift",))
    found[2] = look(2, judged=("quality",))
    assert outcome(found) == "retrain"


def test_new_champion_begins_a_new_streak():
    found = [*looks(("drift",), ("drift",)), look(2, "drift", version=2)]
    assert outcome(found) == "alert"


def test_silenced_kind_is_no_signal():
    assert outcome(looks(("drift",)), policy=PolicySpec(drift="none")) == "none"


def test_revert_goes_before_retraining():
    policy = PolicySpec(performance="revert")
    assert outcome(looks(*[("performance", "drift")] * 3), policy=policy) == "revert"


def test_one_request_at_a_time_then_people_are_called():
    found = looks(*[("drift",)] * 6)
    assert outcome(found, [asked(3, is_open=True)]) == "wait"
    assert outcome(found, [asked(3)]) == "escalate"
    assert outcome(found, [asked(3)], PolicySpec(attempts=2, cooldown="1d")) == "retrain"


def test_request_of_another_cause_or_champion_does_not_count_as_an_attempt():
    found = looks(*[("drift",)] * 6)
    quick = PolicySpec(cooldown="1h")
    assert outcome(found, [asked(3, version=7)], quick) == "retrain"
    assert outcome(found, [asked(3, cause=("performance",))], quick) == "retrain"
    assert outcome(found, [asked(-5, start=-8)], quick) == "retrain"


def test_cooldown_and_budget_wait():
    found = looks(*[("drift",)] * 6)
    assert outcome(found, [asked(2, version=9)]) == "wait"
    assert outcome(found, [asked(-3, version=9), asked(-2, version=9)]) == "wait"
    assert outcome(found, [asked(-3, version=9)]) == "retrain"
    assert outcome(found, [asked(-30, version=9), asked(-29, version=9)]) == "retrain"


def test_hundred_days_of_drift_ask_a_few_times_only():
    """A storm: every day a signal, every request refused by the gates."""
    policy, past, requests = PolicySpec(attempts=99), [], 0
    for day in range(100):
        found = looks(*[("drift",)] * (day + 1))
        if outcome(found, past, policy) == "retrain":
            requests += 1
            past.append(asked(day + 1))
    assert requests <= 2 * (100 // 28 + 1)


def test_decision_names_its_window_and_cause():
    found = decide(
        POLICY, looks((), ("drift",), ("drift", "performance"), ("drift", "performance")), [], BEGIN + 9 * DAY
    )
    assert found.cause == {"drift"}
    assert (found.start, found.end) == (BEGIN + DAY, BEGIN + 4 * DAY)
    assert "drift" in found.reason


def live(days, quiet=3):
    """Incidents as days leave them, and what was told."""
    incident, told = None, []
    for number in range(len(days)):
        seen = looks(*days[: number + 1])
        after = follow(incident, seen[-1], decide(POLICY, seen, [], seen[-1].as_of), quiet)
        if after is not None:
            incident = after
            if after.event != "kept":
                told.append((number, after.event))
    return incident, told


def test_incident_is_told_thrice_whatever_its_length():
    incident, told = live([(), ("drift",), ("drift",), ("drift",), ("drift",), (), (), (), ()])
    assert told == [(1, "opened"), (3, "changed"), (7, "closed")]
    assert not incident.is_open
    assert incident.worst == "retrain"


def test_signal_that_comes_and_goes_is_one_incident():
    _, told = live([("quality",), (), ("quality",), (), ("quality",), (), (), ()])
    assert told == [(0, "opened"), (7, "closed")]


def test_next_problem_is_another_incident():
    incident, told = live([("quality",), (), (), (), ("drift",)])
    assert [event for _, event in told] == ["opened", "closed", "opened"]
    assert incident.number == 2


def test_same_look_again_changes_no_incident():
    seen = looks(("quality",))
    decision = decide(POLICY, seen, [], seen[-1].as_of)
    incident = follow(None, seen[-1], decision, 3)
    assert follow(incident, seen[-1], decision, 3) is None
    quiet = looks(("quality",), ())
    kept = follow(incident, quiet[-1], Decision("none", frozenset(), None, None, ""), 3)
    assert kept.quiet == 1
    assert follow(kept, quiet[-1], Decision("none", frozenset(), None, None, ""), 3) is None


def test_looks_and_incidents_survive_json():
    import json

    one = look(3, "drift")
    assert Look.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    incident, _ = live([("quality",), (), (), ()])
    assert Incident.from_dict(json.loads(json.dumps(incident.to_dict()))) == incident


def test_numbers_that_json_cannot_hold_do_not_reach_a_look():
    import numpy as np

    odd = [Signal("drift", "a", "s", float("nan"), 1.0, None, 1, False, ""),
           Signal("drift", "b", "s", np.float64(2), 1, np.float64("nan"), 1, np.True_, "")]  # fmt: skip
    (kept,) = strongest(odd)
    assert (kept.value, kept.p, kept.is_fired) == (2.0, None, True)
    assert type(kept.is_fired) is bool
