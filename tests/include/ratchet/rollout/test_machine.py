"""Decisions on evidence, one rule after the other, and the contract that every strategy keeps."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from include.ratchet.rollout.evidence import Arm, Evidence, Human
from include.ratchet.rollout.machine import find_breaches, is_final_switch, look
from include.ratchet.rollout.sequential import Moments
from include.ratchet.rollout.state import RolloutState, stage_alpha, stages_of
from include.ratchet.rollout.words import describe, facts_of, title_of
from include.ratchet.spec.serving import RolloutSpec
from tests.include.ratchet.rollout.traffic import BEGIN, DAY, KEY
from tests.slack import find_breach

STRATEGIES = ["shadow", "canary", "ab", "blue_green", "defer"]
ARM = Arm(2, 1000, 1000, 0.0, 0.0, 20.0, 900, Moments(1000, 0.5, 0.4))


def spec(strategy="canary", **changes) -> RolloutSpec:
    return RolloutSpec.model_validate({"strategy": strategy, "margin": 0.05, **changes})


def state(one: RolloutSpec, **changes) -> RolloutState:
    made = RolloutState(
        key=KEY, strategy=one.strategy, champion=1, challenger=None if one.strategy == "defer" else 2,
        challenger_as_of=BEGIN, stages=stages_of(one), stage=0, status="running", started_at=BEGIN, stage_since=BEGIN,
        alpha=stage_alpha(one), revision=1, salt="s", action="start", actor="a test", reason="good",
    )  # fmt: skip
    return replace(made, **changes)


def evidence(strategy="canary", *, after=2 * DAY, worse=0.0, deviation=0.2, rows=1000, **changes) -> Evidence:
    """The challenger's loss is so much more than the champion's."""
    arm = replace(ARM, rows=rows, scored=rows, loss=Moments(rows, 0.5 + worse, deviation))
    made = Evidence(
        since=BEGIN, as_of=BEGIN + after, champion=replace(ARM, version=1, loss=Moments(rows, 0.5, deviation)),
        challenger=None if strategy == "defer" else arm, paired=Moments(rows, worse, deviation), shift=0.05,
    )  # fmt: skip
    return replace(made, **changes)


def action(one: RolloutSpec, seen: Evidence, **changes) -> str:
    decision = look(one, state(one, **changes), seen)
    json.dumps(decision.numbers, default=str)
    return decision.action


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_contract(strategy):
    """Of every strategy: a broken guard goes back from every stage, good evidence leads to an end, none waits."""
    one = spec(strategy)
    for number, stage in enumerate(stages_of(one)):
        bad = evidence(strategy)
        key = "champion" if strategy == "defer" else "challenger"
        bad = replace(bad, **{key: replace(bad.subject, error_share=0.5)})
        for status in ("running", "paused", "waiting_approval"):
            assert action(one, bad, stage=number, status=status) == "revert"
        nothing = evidence(strategy, after=timedelta(0), rows=0)
        assert action(one, nothing, stage=number) == "wait"
        good = action(one, evidence(strategy, worse=-0.5), stage=number)
        if strategy == "defer":
            assert good == "wait"
        else:
            assert good == ("finish" if number == len(stages_of(one)) - 1 else "advance")
            surely_worse = evidence(strategy, worse=0.5)
            assert action(one, surely_worse, stage=number) == "revert"
        route = state(one, stage=number).to_route()
        assert (route.mode, route.share) == (stage.mode, stage.share)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_state_goes_through_json_unchanged(strategy):
    one = spec(strategy)
    made = state(one, asked_at=BEGIN, once="run/look", numbers={"a": 1.0})
    assert RolloutState.from_dict(json.loads(json.dumps(made.to_dict(), allow_nan=False))) == made
    assert made.to_dict()["route"] == made.to_route().to_dict()
    for status in ("finished", "reverted"):
        ended = replace(made, status=status, numbers={"b": float("nan")})
        json.dumps(ended.to_dict(), allow_nan=False)
        if strategy == "defer" and status == "reverted":
            # Nothing answers for people who took a model away from their work.
            assert ended.to_route().share == 0
        else:
            assert ended.to_route() is None


def test_stages_follow_the_spec():
    assert [one.name for one in stages_of(spec())] == ["shadow", *(f"canary {n} %" for n in (5, 25, 50, 100))]
    assert [one.share for one in stages_of(spec(shadow_first=False, steps=[10, 100]))] == [0.1, 1.0]
    assert stages_of(spec("direct")) == ()
    assert stage_alpha(spec()) == pytest.approx(0.01)
    assert state(spec(), stage=4).spent == pytest.approx(0.05)
    assert all(one.is_shadowed for one in stages_of(spec("blue_green")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"error_share": 0.02}, "errors in 2.00%"),
        ({"null_share": 0.01}, "no output in 1.00%"),
        ({"latency_p99_ms": 501.0}, "latency p99 of 501 ms"),
        ({"distinct": 1}, "the same output for all"),
    ],
)
def test_guards(changes, words):
    one, seen = spec(), evidence()
    assert find_breaches(one.guards, seen) == ()
    broken = replace(seen, challenger=replace(seen.challenger, **changes))
    assert words in "".join(find_breaches(one.guards, broken))
    assert words in look(one, state(one), broken).reason
    few = replace(broken, challenger=replace(broken.challenger, rows=199))
    assert find_breaches(one.guards, few) == ()


def test_guard_on_shift_and_on_a_champion_that_is_constant_too():
    one = spec()
    assert "shifted by 0.40" in look(one, state(one), evidence(shift=0.4)).reason
    seen = evidence()
    both = replace(
        seen, champion=replace(seen.champion, distinct=1), challenger=replace(seen.challenger, distinct=1)
    )  # fmt: skip
    assert find_breaches(one.guards, both) == ()


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (evidence(after=timedelta(hours=23)), "wait"),  # not long enough
        (evidence(rows=499), "wait"),  # too few rows
        (evidence(rows=499, worse=1.0), "wait"),  # even where all looks bad: the interval does not hold yet
        (evidence(worse=0.04, deviation=0.5), "wait"),  # neither surely good nor surely bad
        (evidence(worse=0.04, deviation=0.5, after=31 * DAY), "revert"),  # and for too long
        (evidence(worse=0.02, deviation=0.1), "advance"),  # worse, but surely not by the margin
        (evidence(worse=0.0, deviation=0.0), "advance"),  # the same
    ],
)
def test_stage_ends_when_it_is_sure(seen, expected):
    assert action(spec(), seen) == expected


def test_ab_ends_only_with_a_winner():
    one = spec("ab")
    assert action(one, evidence("ab", worse=-0.5)) == "finish"
    assert action(one, evidence("ab", worse=-0.01, deviation=0.01, after=DAY / 2)) == "wait"
    assert action(one, evidence("ab", worse=0.0)) == "wait"
    # Within the margin of a canary, but surely worse: an A/B test has no margin.
    assert action(one, evidence("ab", worse=0.04, deviation=0.05)) == "revert"
    assert action(one, evidence("ab", after=31 * DAY)) == "revert"


def test_blue_green_switches_as_soon_as_the_guards_have_spoken():
    one = spec("blue_green")
    assert action(one, evidence("blue_green", after=DAY / 24, rows=200)) == "advance"
    assert action(one, evidence("blue_green", after=DAY / 24, rows=199)) == "wait"
    assert action(one, evidence("blue_green", after=DAY / 24), stage=1) == "wait"
    assert action(one, evidence("blue_green"), stage=1) == "finish"


def test_person_is_asked_before_the_challenger_answers_everything():
    for strategy, asked in (("shadow", 0), ("canary", 3), ("ab", 0), ("blue_green", 0)):
        one = spec(strategy, approval={"required": True, "timeout": "2h"})
        found = [action(one, evidence(strategy, worse=-0.5), stage=number) for number in range(len(stages_of(one)))]
        assert found[asked] == "ask"
        assert found.count("ask") == 1
        assert is_final_switch(state(one, stage=asked))
        waiting = {"stage": asked, "status": "waiting_approval", "asked_at": BEGIN + DAY}
        assert action(one, evidence(strategy, worse=-0.5, after=DAY), **waiting) == "wait"
        assert action(one, evidence(strategy, worse=-0.5, after=1.1 * DAY), **waiting) == "revert"


def test_pause_stops_everything_but_going_back():
    one = spec()
    assert action(one, evidence(worse=-0.5), status="paused") == "wait"
    assert action(one, evidence(after=99 * DAY), status="paused") == "wait"
    assert action(one, evidence(worse=0.5), status="paused") == "revert"


def test_deferring_model_is_compared_with_people_and_never_moves():
    one, seen = spec("defer"), evidence("defer", after=99 * DAY)
    assert "no answer of a person" in look(one, state(one), seen).reason
    people = Human(300, 0.9, 0, "accuracy", 0.0, 0.0, Moments(0, 0.0, 0.0))
    assert (
        look(one, state(one), replace(seen, human=people)).reason == "people and version 1 agree on 90.0% of 300 rows"
    )
    people = replace(people, labelled=200, people=0.95, model=0.91)
    decision = look(one, state(one), replace(seen, human=people))
    assert "people 0.9500, model 0.9100" in decision.reason
    assert decision.action == "wait"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("action", ["start", "advance", "finish", "ask", "pause", "resume", "revert"])
def test_every_move_is_told_within_the_limits(tmp_path, strategy, action):
    one = spec(strategy)
    decision = look(one, state(one), evidence(strategy))
    moved = state(one, action=action, numbers=decision.numbers, reason="<b> & why")
    moved = RolloutState.from_dict(json.loads(json.dumps(moved.to_dict())))
    message = describe(moved, "http://x")
    body = {"channel": "#m", "text": message.text, "blocks": json.dumps(message.blocks)}
    assert find_breach(body) is None
    assert message.key == "rollout:orders:1"
    assert f"version {moved.challenger or 1}" in title_of(moved)
    if strategy != "defer":
        assert "challenger, version 2" in facts_of(moved)
