"""A model's health: the worst that is known decides, and something is always to be done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.ratchet.spec import ModelKey
from include.ratchet.views.health import ORDER, Known, judge
from tests.include.ratchet.views.filled import BEGIN, hand_over, incident

KEY = ModelKey("orders")
WELL = Known(True, False, False, 3, True, None, None, BEGIN)


@pytest.fixture
def state(either_database):
    return hand_over(either_database, KEY)


@pytest.mark.parametrize(("change", "health", "next_step"), [
    ({}, "healthy", "train by schedule"),
    ({"next_training": None}, "healthy", "train it on request"),
    ({"is_paused": True}, "healthy", "unpause its training in Airflow"),
    ({"has_look": False}, "unwatched", "train by schedule"),
    ({"champion": None, "has_look": False}, "untrained", "train by schedule"),
    ({"champion": None, "next_training": None}, "untrained", "train it"),
    ({"is_asked": True}, "waiting", "approve or decline"),
    ({"incident": incident(KEY)}, "warning", "look at the incident"),
    ({"incident": incident(KEY, "escalate"), "is_asked": True}, "failing", "retraining did not help: find out why"),
    ({"incident": incident(KEY, "revert")}, "failing", "the previous champion is to come back"),
    ({"has_dags": False, "incident": incident(KEY, "revert")}, "broken", "see what is wrong with the spec"),
])  # fmt: skip
def test_worst_decides(change, health, next_step):
    found = judge(replace(WELL, **change))
    assert (found.health, found.next) == (health, next_step)
    assert found.why


def test_time_is_known_only_of_what_a_schedule_does():
    assert judge(WELL).next_at == BEGIN
    assert judge(replace(WELL, incident=incident(KEY))).next_at is None


def test_every_outcome_of_the_policy_has_a_next_step():
    assert all(judge(replace(WELL, incident=incident(KEY, one))).next for one in ("alert", "wait", "retrain"))


def test_handover_says_where_it_is(state):
    running = judge(replace(WELL, rollout=state))
    assert running.health == "healthy"
    assert running.why == "version 4 is being handed over, canary 25 %"
    asking = judge(replace(WELL, rollout=replace(state, status="waiting_approval")))
    assert (asking.health, asking.why) == ("waiting", "a person's word is wanted on version 4")
    assert judge(replace(WELL, rollout=replace(state, status="paused"))).next == "resume or revert"


def test_order_begins_with_the_worst():
    assert ORDER[0] == "broken"
    assert ORDER[-1] == "healthy"
