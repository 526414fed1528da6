"""What stops a fleet's hand-overs: the edges of the decision, what is counted, and how it is lifted."""

from __future__ import annotations

import pytest

from include.ratchet.errors import GuardTrippedError, LedgerConflictError, RolloutError
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import AliasState, Entry
from include.ratchet.rollout import guard
from include.ratchet.rollout.actions import advance, revert, start, step
from include.ratchet.rollout.guard import Ended, check_reason, count_ended, find_trip, judge, lift, watch
from include.ratchet.rollout.revert import revert as go_back
from include.ratchet.spec.segments import FleetGuardSpec
from tests.include.ratchet.rollout.traffic import (
    BEGIN,
    DAY,
    KEY,
    NEXT,
    crown,
    keys_named,
    make_model,
    order,
)

KEYS = keys_named(*(f"S{number}" for number in range(10)))


@pytest.fixture
def settings(either_database):
    crown(either_database)
    return either_database


def ended(reverted, finished):
    return Ended(tuple(KEYS[number % 10] for number in range(reverted)), finished)


@pytest.mark.parametrize(
    ("reverted", "finished", "is_tripped"),
    [
        (0, 0, False),
        (1, 4, False),
        (2, 3, True),
        (4, 0, False),
        (5, 0, True),
        (2, 8, False),
        (3, 8, True),
        (0, 99, False),
    ],
)
def test_edges_of_the_decision(reverted, finished, is_tripped):
    """At most 20 % of at least 5."""
    found = judge(FleetGuardSpec(), ended(reverted, finished))
    assert (found is not None) is is_tripped


def test_decision_says_its_numbers():
    assert judge(FleetGuardSpec(), ended(3, 8)) == (
        "3 of 11 hand-overs of the last 28 days went back (27%), at most 20% may"
    )
    assert judge(FleetGuardSpec(max_reverted=1.0, min_handovers=1), ended(5, 0)) is None


@pytest.fixture
def fleet(settings, registry, tmp_path):
    """Begins and ends hand-overs of segments."""
    model = make_model(tmp_path, segments={"by": "carrier", "guard": {"max_reverted": 0.5, "min_handovers": 2}})
    versions = dict.fromkeys(KEYS, 1)
    for key in KEYS:
        crown(settings, key=key)

    def end(key, *, well, at=BEGIN):
        versions[key] += 1
        start(settings, model, key, AliasState(versions[key], at), order(), at)
        for _ in range(5 if well else 0):
            advance(settings, model, key, at, order())
        if not well:
            revert(settings, key, order())

    end.settings, end.model = settings, model
    return end


def test_what_ended_in_the_last_four_weeks_of_the_records_counts(fleet):
    fleet(KEYS[0], well=False, at=BEGIN)
    fleet(KEYS[0], well=True, at=BEGIN + 20 * DAY)
    fleet(KEYS[1], well=False, at=BEGIN + 21 * DAY)
    start(fleet.settings, fleet.model, KEYS[2], NEXT, order(), BEGIN)
    count = lambda day: count_ended(fleet.settings, "orders", BEGIN + day * DAY)  # noqa: E731
    assert count(28) == Ended((KEYS[0], KEYS[1]), 1)
    assert count(28.1) == Ended((KEYS[1],), 1)
    assert count(48.5) == Ended((KEYS[1],), 0)
    assert count(50) == Ended((), 0)
    assert count_ended(fleet.settings, "another", BEGIN) == Ended((), 0)


def test_champion_that_had_to_go_back_afterwards_counts_as_reverted(fleet):
    fleet(KEYS[0], well=True)
    fleet(KEYS[1], well=True)
    for _ in range(2):  # and forth again
        go_back(fleet.settings, KEYS[0], order())
    assert count_ended(fleet.settings, "orders", BEGIN + DAY) == Ended((KEYS[0],), 1)


def test_hand_over_that_another_champion_ended_does_not_count(fleet):
    start(fleet.settings, fleet.model, KEYS[0], NEXT, order(), BEGIN)
    moved = Entry(KEYS[0], "promotion", "by hand", "a test", "by hand", BEGIN, 9, BEGIN)
    ledger.move_champion(moved, 1, fleet.settings)
    assert step(fleet.settings, fleet.model, KEYS[0], BEGIN, order()).decision.action == "revert"
    assert count_ended(fleet.settings, "orders", BEGIN + DAY).count == 0


def test_it_trips_once_refuses_what_would_begin_and_counts_anew_once_it_is_lifted(fleet):
    settings, model, now = fleet.settings, fleet.model, BEGIN + DAY
    look = lambda: watch(settings, model, now, order().recorded_at)  # noqa: E731
    fleet(KEYS[0], well=True)
    fleet(KEYS[1], well=False)
    assert look() is None
    fleet(KEYS[2], well=False)
    trip = look()
    assert trip.reason == "2 of 3 hand-overs of the last 28 days went back (67%), at most 50% may"
    assert trip.reverted == (KEYS[2], KEYS[1])
    assert look() == find_trip(settings, "orders") == trip
    # Whoever trains holds its candidate, as with every other conflict.
    assert issubclass(GuardTrippedError, LedgerConflictError)
    with pytest.raises(GuardTrippedError, match=r"67%.*\./ratchet rollout orders resume --reason"):
        start(settings, model, KEYS[3], NEXT, order(), BEGIN)
    with pytest.raises(RolloutError, match="found no reason"):
        check_reason(settings, model, None)
    # What began before is done, whatever stands now.
    for _ in range(2):
        lift(settings, trip, order("Ada", "the data was wrong"))
    assert find_trip(settings, "orders") is None
    assert look() is None
    fleet(KEYS[3], well=False)
    assert look() is None
    fleet(KEYS[3], well=False)
    again = look()
    assert (again.name != trip.name, again.reverted) == (True, (KEYS[3],))
    rows = [row for row in ledger.history(KEY, settings) if row.kind == "rollout"]
    assert [(row.details["action"], row.actor) for row in rows] == [
        ("guard", guard.ACTOR), ("lift", "Ada"), ("guard", guard.ACTOR)
    ]  # fmt: skip
    assert "the data was wrong" in rows[1].reason


def test_order_that_began_one_before_the_guard_tripped_finds_it(fleet):
    first = order(once="training-1")
    begun = start(fleet.settings, fleet.model, KEYS[5], NEXT, first, BEGIN)
    for key in KEYS[:2]:
        fleet(key, well=False)
    assert watch(fleet.settings, fleet.model, BEGIN, order().recorded_at) is not None
    again = start(fleet.settings, fleet.model, KEYS[5], NEXT, first, BEGIN)
    assert (again.is_moved, again.state) == (False, begun.state)


def test_model_without_segments_has_no_guard(settings, registry, tmp_path):
    model = make_model(tmp_path)
    for version in range(2, 10):
        start(settings, model, KEY, AliasState(version, BEGIN), order(), BEGIN)
        revert(settings, KEY, order())
    assert watch(settings, model, BEGIN, order().recorded_at) is None
