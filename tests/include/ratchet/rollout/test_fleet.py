"""The hand-overs of all segments of a model at once: one failing or conflicting stops no other, the guard stops all."""

from __future__ import annotations

import pytest

from include.ratchet.data.records import RecordTable
from include.ratchet.errors import NothingToRevertError, RegistryUnavailableError, RolloutError
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import CHALLENGER, CHAMPION, AliasState, Entry
from include.ratchet.rollout import actions, fleet, guard, store, transitions
from include.ratchet.rollout.fleet import answer, carry_out
from include.ratchet.rollout.revert import revert as go_back
from include.ratchet.rollout.routes import read_routes
from tests.include.ratchet.rollout.traffic import (
    BEGIN,
    DAY,
    KEY,
    NEXT,
    World,
    crown,
    keys_named,
    make_model,
    order,
)

KEYS = keys_named("AA", "B/6", "DL", "it's", "UA", "🛫", "all")


@pytest.fixture
def settings(either_database):
    crown(either_database)
    return either_database


@pytest.fixture
def world(settings, registry, tmp_path):
    """Seven keys in the first stage of their hand-overs, and one that is in none."""
    model = make_model(tmp_path, segments={"by": "carrier", "guard": {"max_reverted": 0.3, "min_handovers": 2}})
    for key in [*KEYS[:-1], *keys_named("idle")]:
        crown(settings, key=key)
    world = World(settings, model, {1: 0.15, 2: 0.1}, daily=240)
    for key in KEYS:
        begin(world, key)
    return world


def begin(world, key, version=2):
    return actions.start(world.settings, world.model, key, AliasState(version, BEGIN), order(), BEGIN)


def live(world, day=BEGIN, worse=()):
    """A day of every key's traffic; the challengers of some are much worse."""
    labels = []
    for key in KEYS:
        world.noise[2] = 0.6 if key in worse else 0.1
        labels += world.live(day, read_routes(world.settings)[key], landed=False, segment=key.segment)
    world.land(labels)


def look(world, day=1, once=None):
    return carry_out("look", world.settings, world.model, lambda: BEGIN + day * DAY, order(once=once))


def said(found):
    return {one.state.key: one.decision.action for one in found.outcomes}


def statuses(world):
    return {key: store.read(key, world.settings).status for key in KEYS}


def test_all_keys_move_by_one_reading_of_records(world, monkeypatch):
    live(world)
    between, readings = RecordTable.between, []

    def count(self, *arguments, **named):
        readings.append(self._kind)
        return between(self, *arguments, **named)

    monkeypatch.setattr(RecordTable, "between", count)
    found = look(world)
    assert said(found) == dict.fromkeys(KEYS, "advance")
    assert (found.conflicts, found.failures, found.trip) == ({}, {}, None)
    assert readings.count("requests") == 1
    assert {store.read(key, world.settings).at.name for key in KEYS} == {"canary 5 %"}
    numbers = store.read(KEYS[1], world.settings).numbers
    assert (numbers["paired"]["rows"], numbers["challenger"]["rows"]) == (180, 240)
    # Nothing is known of the next stage yet.
    assert said(look(world)) == dict.fromkeys(KEYS, "wait")


def test_the_same_order_finds_what_it_did(world):
    live(world)
    first, again, other = (look(world, once=once) for once in ("r1", "r1", "r2"))
    assert (again.outcomes, again.earlier) == ((), first.outcomes)
    assert (said(other), other.earlier) == (dict.fromkeys(KEYS, "wait"), ())


def test_conflicting_and_failing_keys_stop_no_other(world, monkeypatch):
    live(world)
    weigh, follow = fleet.weigh, transitions.follow

    def disturb(model, records):
        """While they are looked at, somebody moves the second, and something is wrong with the third's records."""
        if records.state.key == KEYS[1]:
            actions.pause(world.settings, KEYS[1], order("Ada"))
        if records.state.key == KEYS[2]:
            raise ZeroDivisionError("what nobody thought of")
        return weigh(model, records)

    def unreachable(key, aliases, settings):
        if key == KEYS[3]:
            raise RegistryUnavailableError("not now")
        follow(key, aliases, settings)

    monkeypatch.setattr(fleet, "weigh", disturb)
    monkeypatch.setattr(transitions, "follow", unreachable)
    found = look(world, once="r1")
    assert list(found.conflicts) == [KEYS[1]]
    assert {key: type(error) for key, error in found.failures.items()} == {
        KEYS[2]: ZeroDivisionError, KEYS[3]: RegistryUnavailableError
    }  # fmt: skip
    assert said(found) == dict.fromkeys([KEYS[0], *KEYS[4:]], "advance")
    with pytest.raises(ZeroDivisionError) as caught:
        found.raise_for_failure()
    assert caught.value.__notes__ == ["2 of the hand-overs failed, the first one is of orders/DL"]
    # The next try makes up for what the registry missed.
    monkeypatch.undo()
    monkeypatch.setattr(transitions, "follow", lambda *_: None)
    again = look(world, once="r1")
    assert {one.state.key for one in again.earlier} == {KEYS[0], *KEYS[3:]}
    assert said(again)[KEYS[2]] == "advance"


def test_hand_over_whose_champion_moved_is_void_without_stopping_others(world):
    live(world)
    moved = Entry(KEYS[0], "promotion", "by hand", "a test", "by hand", BEGIN, 9, BEGIN)
    ledger.move_champion(moved, 1, world.settings)
    found = look(world)
    assert said(found) == {KEYS[0]: "revert", **dict.fromkeys(KEYS[1:], "advance")}
    assert found.trip is None


def test_guard_pauses_all_refuses_others_and_a_person_lifts_it(world):
    paused_before = actions.pause(world.settings, KEYS[0], order("Ada", "a holiday")).state
    live(world, worse=KEYS[2:5])
    found = look(world)
    assert {key for key, action in said(found).items() if action == "revert"} == set(KEYS[2:5])
    assert found.trip.reason == "3 of 3 hand-overs of the last 28 days went back (100%), at most 30% may"
    running = [KEYS[1], *KEYS[5:]]
    assert statuses(world) == {**dict.fromkeys(KEYS, "paused"), **dict.fromkeys(KEYS[2:5], "reverted")}
    states = {key: store.read(key, world.settings) for key in running}
    assert {(state.actor, state.reason) for state in states.values()} == {(guard.ACTOR, found.trip.reason)}
    # It stays so; nobody is paused twice, nothing begins.
    assert look(world, 2).trip == found.trip
    assert {key: store.read(key, world.settings) for key in running} == states
    with pytest.raises(RolloutError, match="no hand-over begins"):
        begin(world, keys_named("idle")[0])
    with pytest.raises(RolloutError, match="no hand-over begins"):
        begin(world, KEYS[2], 3)
    # One that a person lets go on alone does.
    actions.resume(world.settings, KEYS[1], order("Ada"))
    look(world, 2)
    assert store.read(KEYS[1], world.settings).status == "running"
    for _ in range(2):
        lifted = carry_out("resume", world.settings, world.model, _nobody_asks, order("Ada", "a feed", once="form"))
    assert {one.state.key for one in lifted.earlier} == set(KEYS[5:])
    assert store.read(KEYS[0], world.settings) == paused_before
    assert guard.find_trip(world.settings, "orders") is None
    assert begin(world, KEYS[2], 3).is_moved
    assert look(world, 2).trip is None
    assert statuses(world)[KEYS[5]] == "running"


def test_everything_is_paused_resumed_advanced_and_taken_back_at_once(world):
    do = lambda action: carry_out(action, world.settings, world.model, lambda: BEGIN + DAY, order("Ada"))  # noqa: E731
    actions.pause(world.settings, KEYS[0], order())
    assert set(said(do("pause"))) == set(KEYS[1:])
    assert said(do("pause")) == {}
    assert said(do("resume")) == dict.fromkeys(KEYS, "resume")
    with pytest.raises(RolloutError, match="nothing to resume"):
        do("resume")
    live(world)
    assert said(do("advance")) == dict.fromkeys(KEYS, "advance")
    assert store.read(KEYS[1], world.settings).numbers["paired"]["rows"] == 180
    assert said(do("revert")) == dict.fromkeys(KEYS, "revert")
    assert store.count_statuses("orders", world.settings) == {"reverted": len(KEYS)}
    assert do("look").outcomes == ()


@pytest.mark.parametrize(("is_approved", "action"), [(True, "advance"), (False, "revert")])
def test_a_persons_word_goes_for_every_key_that_asked_and_has_not_moved_since(world, is_approved, action):
    segments = {"by": "carrier", "guard": {"max_reverted": 1}}
    world.model = make_model(world.model.folder, segments=segments, steps=[100], approval={"required": True})
    for key in KEYS:
        begin(world, key, 3)  # in place of the one before, by the stages of now
    world.noise[3] = 0.1
    live(world)
    assert said(look(world, once="r1/look")) == dict.fromkeys(KEYS, "ask")
    actions.advance(world.settings, world.model, KEYS[0], BEGIN + DAY, order("Ada"))
    actions.pause(world.settings, KEYS[1], order("Ada"))
    for _ in range(2):
        found = answer(world.settings, world.model, "r1/look", BEGIN + DAY, order("Ada", once="r1/answer"),
                       is_approved=is_approved)  # fmt: skip
        assert {one.state.key: one.decision.action for one in found.done} == dict.fromkeys(KEYS[2:], action)
    assert store.read(KEYS[0], world.settings).status == "running"
    assert store.read(KEYS[1], world.settings).status == "paused"


def test_another_models_keys_are_left_alone(world):
    assert store.read_fleet("orders_2", world.settings) == ()
    assert store.read_by_hand("orders_2", world.settings, BEGIN) == ()
    assert len(store.read_by_hand("orders", world.settings, BEGIN)) == len(KEYS)
    begin(world, KEYS[0], 3)
    actions.pause(world.settings, KEYS[0], order(once="form"))
    assert len(store.read_by_hand("orders", world.settings, BEGIN)) == len(KEYS) - 1


def test_segment_with_its_first_champion_goes_back_to_the_pool(world):
    settings, (key,) = world.settings, keys_named("idle")
    for _ in range(2):
        found = go_back(settings, key, order("Ada", "complaints", once="form"))
        assert (found.before, found.after, found.is_rollout) == (1, 1, False)
        assert "version 1 of the pooled model answers for it" in found.words
    assert ledger.read_aliases(key, settings) == {}
    (row,) = [row for row in ledger.history(key, settings) if row.kind == "segment"]
    assert (row.actor, row.reason, row.details["from"]) == ("Ada", "pooled: complaints", 1)
    with pytest.raises(NothingToRevertError, match="orders/idle has no champion"):
        go_back(settings, key, order())
    # One that has something of its own goes back to that.
    ledger.move_champion(Entry(KEYS[0], "promotion", "p", "a", "b", BEGIN, 5, BEGIN), 1, settings)
    actions.revert(settings, KEYS[0], order())
    assert go_back(settings, KEYS[0], order()).after == 1
    actions.revert(settings, KEY, order())
    with pytest.raises(NothingToRevertError, match="previous"):
        go_back(settings, KEY, order())
    assert ledger.read_aliases(KEYS[1], settings).keys() == {CHAMPION, CHALLENGER}


def test_without_a_pool_there_is_nothing_to_go_back_to(settings, registry):
    for alias in (CHAMPION,):
        with ledger.engine_of(settings.database_url).begin() as connection:
            ledger.remove_alias(connection, KEY, alias)
    (key,) = keys_named("UA")
    crown(settings, key=key)
    with pytest.raises(NothingToRevertError, match="previous"):
        go_back(settings, key, order())
    assert ledger.read_aliases(key, settings)[CHAMPION] == AliasState(1, BEGIN - DAY) != NEXT


def _nobody_asks():
    raise AssertionError
