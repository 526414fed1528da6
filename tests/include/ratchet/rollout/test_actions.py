"""Hand-overs as they are lived: day by day, by one write a step, whatever is cut off or happens at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from include.ratchet.errors import LedgerConflictError, RolloutError
from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.registry.ledger import CHALLENGER, CHAMPION, PREVIOUS, AliasState, Entry
from include.ratchet.rollout import store, transitions
from include.ratchet.rollout.actions import advance, pause, read_clock, resume, revert, start, step
from include.ratchet.rollout.routes import Route, read_routes
from tests.include.ratchet.rollout.traffic import (
    BEGIN,
    DAY,
    KEY,
    NEXT,
    World,
    crown,
    make_model,
    make_settings,
    order,
)

STAGES = ["shadow", "canary 5 %", "canary 25 %", "canary 50 %", "canary 100 %"]


def aliases(settings):
    return {alias: state.version for alias, state in ledger.read_aliases(KEY, settings).items()}


def moves(settings):
    return [entry.details["action"] for entry in ledger.history(KEY, settings) if entry.kind == "rollout"]


@pytest.fixture
def world(settings, registry, tmp_path):
    return World(settings, make_model(tmp_path, min_rows=150), {1: 0.15, 2: 0.1})


def live(world, days, *, late=0):
    """Live day by day: traffic by the routes of then, labels after `late` days, one look a night."""
    waiting, seen = [], []
    for number in range(days):
        day = BEGIN + number * DAY
        route = read_routes(world.settings)[KEY]
        waiting.append(world.live(day, route, landed=False))
        if number >= late:
            world.land(waiting[number - late])
        outcome = step(world.settings, world.model, KEY, day + DAY, order(once=f"night-{number}"))
        seen.append(outcome.decision.action)
        if not outcome.state.is_active:
            break
    return seen


def test_good_challenger_becomes_champion_stage_by_stage(world, settings, registry):
    begun = start(settings, world.model, KEY, NEXT, order("Ada"), BEGIN)
    assert begun.decision.action == "start"
    assert aliases(settings) == registry == {CHAMPION: 1, CHALLENGER: 2}
    assert live(world, 20) == ["advance", "advance", "advance", "advance", "finish"]
    assert aliases(settings) == registry == {CHAMPION: 2, PREVIOUS: 1}
    assert read_routes(settings) == {KEY: Route("direct", 2)}
    entries = [entry for entry in ledger.history(KEY, settings) if entry.kind == "rollout"]
    assert [entry.details["stage"] for entry in entries] == [*STAGES, "canary 100 %"]
    for entry in entries[1:]:
        assert entry.details["numbers"]["paired"]["rows"] >= 150
        assert entry.details["numbers"]["difference"]["high"] <= 0.05
        assert entry.version == 2
    assert entries[-1].details["spent_alpha"] == pytest.approx(0.05)
    promotion = ledger.history(KEY, settings)[-1]
    assert (promotion.kind, promotion.version, promotion.details["from"]) == ("promotion", 2, 1)


def test_bad_challenger_is_taken_back_before_it_answers_anybody(world, settings, registry):
    world.noise[2] = 0.6
    start(settings, world.model, KEY, NEXT, order(), BEGIN)
    assert live(world, 20)[-1] == "revert"
    assert aliases(settings) == registry == {CHAMPION: 1}
    assert "surely worse" in store.read(KEY, settings).reason
    assert read_routes(settings) == {KEY: Route("direct", 1)}


def test_challenger_that_turns_bad_is_taken_back_later(world, settings, registry):
    start(settings, world.model, KEY, NEXT, order(), BEGIN)
    assert live(world, 2) == ["advance", "advance"]
    world.noise[2] = 0.6
    day = BEGIN + 2 * DAY
    world.live(day, read_routes(settings)[KEY])
    assert step(settings, world.model, KEY, day + DAY, order()).decision.action == "revert"
    assert aliases(settings) == {CHAMPION: 1}


@pytest.mark.parametrize("fault", ["error", "null", "constant", "slow", "shifted"])
def test_faults_end_it_without_any_label(world, settings, fault):
    world.broken = {2: fault}
    start(settings, world.model, KEY, NEXT, order(), BEGIN)
    world.live(BEGIN, read_routes(settings)[KEY], landed=False)
    outcome = step(settings, world.model, KEY, BEGIN + DAY / 2, order())
    assert outcome.decision.action == "revert"
    assert outcome.decision.numbers["challenger"]["loss"]["rows"] == 0


def test_late_labels_are_waited_for(world, settings):
    start(settings, world.model, KEY, NEXT, order(), BEGIN)
    assert live(world, 9, late=2)[:3] == ["wait", "wait", "advance"]


def test_labels_that_never_come_take_it_back_in_the_end(world, settings):
    start(settings, world.model, KEY, NEXT, order(), BEGIN)
    assert live(world, 20, late=99) == [*["wait"] * 10, "revert"]
    assert "no decision within 10d" in store.read(KEY, settings).reason


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("shadow", ["finish"]),
        ("ab", ["wait", "finish"]),
        ("blue_green", ["advance", "finish"]),
        ("defer", ["wait"] * 6),
    ],
)
def test_life_of_every_other_strategy(settings, registry, tmp_path, strategy, expected):
    # The better one of an A/B test says other things than the champion, as it must.
    model = make_model(tmp_path, strategy=strategy, guards={"max_shift": 1.0})
    world = World(settings, model, {1: 0.3, 2: 0.02} if strategy == "ab" else {1: 0.15, 2: 0.1})
    start(settings, model, KEY, NEXT, order(), BEGIN)
    assert live(world, 6) == expected
    assert aliases(settings) == {CHAMPION: 2, PREVIOUS: 1}


def test_process_that_was_killed_before_the_registry_followed_is_made_up_for(world, settings, registry, monkeypatch):
    start(settings, world.model, KEY, NEXT, order(), BEGIN)
    assert live(world, 4) == ["advance"] * 4
    world.live(BEGIN + 4 * DAY, read_routes(settings)[KEY])
    followed = transitions.follow

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(transitions, "follow", die)
    with pytest.raises(KeyboardInterrupt):
        step(settings, world.model, KEY, BEGIN + 5 * DAY, order(once="night-4"))
    assert aliases(settings) == {CHAMPION: 2, PREVIOUS: 1}
    assert registry == {CHAMPION: 1, CHALLENGER: 2}
    monkeypatch.setattr(transitions, "follow", followed)
    # The same run again knows its own work; another run finds nothing in hand. Both leave the registry right.
    before = ledger.history(KEY, settings)
    again = step(settings, world.model, KEY, BEGIN + 5 * DAY, order(once="night-4"))
    assert (again.decision.action, again.is_moved) == ("finish", True)
    assert registry == {CHAMPION: 2, PREVIOUS: 1}
    registry.clear()
    other = step(settings, world.model, KEY, BEGIN + 5 * DAY, order(once="night-5"))
    assert (other.decision.action, other.is_moved) == ("none", False)
    assert registry == {CHAMPION: 2, PREVIOUS: 1}
    assert ledger.history(KEY, settings) == before


@pytest.mark.parametrize("at", ["append", "move", "remove_alias"])
def test_write_that_is_cut_off_in_the_middle_leaves_no_trace(world, settings, registry, monkeypatch, at):
    start(settings, world.model, KEY, NEXT, order(), BEGIN)
    for number in range(4):
        advance(settings, world.model, KEY, BEGIN + number * DAY, order())
    before = (store.read(KEY, settings), ledger.history(KEY, settings), aliases(settings), read_routes(settings))

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger, at, die)
        with pytest.raises(KeyboardInterrupt):
            advance(settings, world.model, KEY, BEGIN + 5 * DAY, order())
    assert before == (
        store.read(KEY, settings), ledger.history(KEY, settings), aliases(settings), read_routes(settings)
    )  # fmt: skip
    assert advance(settings, world.model, KEY, BEGIN + 5 * DAY, order()).decision.action == "finish"
    assert aliases(settings) == {CHAMPION: 2, PREVIOUS: 1}


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
@pytest.mark.parametrize("stage", [0, 4])
def test_looks_at_the_same_time_are_one_transition(request, registry, tmp_path, kind, stage):
    url = request.getfixturevalue("empty_database") if kind == "postgresql" else None
    settings = make_settings(tmp_path, url)
    upgrade(settings.database_url)
    crown(settings)
    world = World(settings, make_model(tmp_path), {1: 0.15, 2: 0.1})
    start(settings, world.model, KEY, NEXT, order(), BEGIN)
    for _ in range(stage):
        advance(settings, world.model, KEY, BEGIN, order())
    world.live(BEGIN, read_routes(settings)[KEY])
    history = len(ledger.history(KEY, settings))

    def attempt(number):
        try:
            return step(settings, world.model, KEY, BEGIN + DAY, order(once=f"run-{number}")).decision.action
        except LedgerConflictError:
            return "conflict"

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(attempt, range(4)))
    expected = "finish" if stage else "advance"
    assert found.count(expected) == 1
    # A slow one may look at the state afterwards, and finds nothing to do there.
    assert set(found) <= {expected, "conflict", "wait", "none"}
    assert len(ledger.history(KEY, settings)) == history + (2 if stage else 1)
    engine_of(settings.database_url).dispose()


def test_revert_wins_over_what_moves_meanwhile(world, settings, monkeypatch):
    start(settings, world.model, KEY, NEXT, order(), BEGIN)
    read, tried = store.read, []

    def read_late(key, one):
        """Something else moves between reading and writing, twice."""
        found = read(key, one)
        if len(tried) < 2:
            tried.append(found.revision)
            with monkeypatch.context() as patch:
                patch.setattr(store, "read", read)
                advance(settings, world.model, KEY, BEGIN, order())
        return found

    monkeypatch.setattr(store, "read", read_late)
    assert revert(settings, KEY, order("Ada", "complaints")).state.status == "reverted"
    assert tried == [1, 2]
    assert aliases(settings) == {CHAMPION: 1}
    entry = ledger.history(KEY, settings)[-1]
    assert (entry.actor, entry.details["action"], entry.details["from"]) == ("Ada", "revert", "canary 25 %")


def test_steps_by_hand_are_recorded_and_the_same_order_is_done_once(world, settings):
    start(settings, world.model, KEY, NEXT, order(), BEGIN)
    assert pause(settings, KEY, order("Ada", "a holiday")).state.status == "paused"
    with pytest.raises(RolloutError, match="nothing to pause"):
        pause(settings, KEY, order())
    world.live(BEGIN, read_routes(settings)[KEY])
    waiting = step(settings, world.model, KEY, BEGIN + DAY, order())
    assert (waiting.decision.action, waiting.decision.reason) == ("wait", "paused: a holiday")
    assert resume(settings, KEY, order("Ada")).state.status == "running"
    with pytest.raises(RolloutError, match="nothing to resume"):
        resume(settings, KEY, order())
    for _ in range(2):
        moved = advance(settings, world.model, KEY, BEGIN + DAY, order("Ada", once="form-1"))
    assert moved.state.at.name == "canary 5 %"
    assert moved.decision.numbers["challenger"]["rows"] == 300
    for _ in range(2):
        assert revert(settings, KEY, order("Ada", once="form-2")).state.status == "reverted"
    assert moves(settings) == ["start", "pause", "resume", "advance", "revert"]
    for action in (lambda: revert(settings, KEY, order()), lambda: pause(settings, KEY, order())):
        with pytest.raises(RolloutError, match="no version of orders is being handed over"):
            action()


def test_challenger_gives_way_to_a_newer_one_only_before_it_answers(world, settings):
    start(settings, world.model, KEY, NEXT, order(once="training-2"), BEGIN)
    third = AliasState(3, BEGIN + DAY)
    begun = start(settings, world.model, KEY, third, order(once="training-3"), BEGIN + DAY)
    assert (begun.state.challenger, begun.state.revision) == (3, 2)
    assert aliases(settings) == {CHAMPION: 1, CHALLENGER: 3}
    # What began once does not begin again, not even when it has given way.
    for once in ("training-2", "training-3"):
        again = start(settings, world.model, KEY, NEXT, order(once=once), BEGIN + DAY)
        assert (again.is_moved, again.state) == (False, begun.state)
    advance(settings, world.model, KEY, BEGIN + 2 * DAY, order())
    with pytest.raises(LedgerConflictError, match="version 3 is being handed over"):
        start(settings, world.model, KEY, AliasState(4, BEGIN), order(), BEGIN)
    revert(settings, KEY, order())
    assert start(settings, world.model, KEY, AliasState(4, BEGIN), order(), BEGIN).state.challenger == 4


def test_what_cannot_begin_is_said(settings, registry, tmp_path):
    model = make_model(tmp_path)
    with pytest.raises(RolloutError, match="champion already"):
        start(settings, model, KEY, AliasState(1, BEGIN), order(), BEGIN)
    with pytest.raises(RolloutError, match="strategy is direct"):
        start(settings, make_model(tmp_path, strategy="direct"), KEY, NEXT, order(), BEGIN)
    with pytest.raises(RolloutError, match="no champion"):
        start(settings, model, KEY._replace(segment="UA"), NEXT, order(), BEGIN)


def test_champion_that_moved_makes_it_void(world, settings):
    start(settings, world.model, KEY, NEXT, order(), BEGIN)
    advance(settings, world.model, KEY, BEGIN, order())
    moved = Entry(KEY, "promotion", "promotion:9", "a test", "by hand", BEGIN, 9, BEGIN)
    ledger.move_champion(moved, 1, settings)
    assert read_routes(settings) == {KEY: Route("direct", 9)}
    outcome = step(settings, world.model, KEY, BEGIN + DAY, order())
    assert outcome.decision.action == "revert"
    assert "champion is now 9" in outcome.decision.reason
    assert aliases(settings) == {CHAMPION: 9, PREVIOUS: 1}


def test_challenger_that_knew_less_than_the_champion_is_never_promoted(world, settings):
    start(settings, world.model, KEY, AliasState(2, BEGIN - 9 * DAY), order(), BEGIN)
    for _ in range(4):
        advance(settings, world.model, KEY, BEGIN, order())
    with pytest.raises(LedgerConflictError, match="an older one is never promoted"):
        advance(settings, world.model, KEY, BEGIN, order())
    assert aliases(settings) == {CHAMPION: 1, CHALLENGER: 2}


def test_deferring_model_that_is_taken_back_answers_nobody(settings, registry, tmp_path):
    model = make_model(tmp_path, strategy="defer")
    start(settings, model, KEY, NEXT, order(), BEGIN)
    assert read_routes(settings)[KEY].share == 0.05
    # The next version that passes its gates goes on deferring.
    start(settings, model, KEY, AliasState(3, BEGIN), order(), BEGIN + DAY)
    route = read_routes(settings)[KEY]
    assert (route.mode, route.champion, route.share) == ("defer", 3, 0.05)
    revert(settings, KEY, order())
    assert read_routes(settings)[KEY] == replace(route, share=0.0)
    start(settings, model, KEY, AliasState(3, BEGIN), order(), BEGIN + DAY)
    # A person lets it answer everything.
    assert advance(settings, model, KEY, BEGIN + 2 * DAY, order("Ada")).state.status == "finished"
    assert read_routes(settings)[KEY] == Route("direct", 3)


def test_hand_over_goes_on_in_another_process(world, settings, tmp_path):
    start(settings, world.model, KEY, NEXT, order(), BEGIN)
    assert live(world, 2) == ["advance", "advance"]
    engine_of(settings.database_url).dispose()
    engine_of.cache_clear()
    state = store.read(KEY, make_settings(tmp_path))
    assert state.at.name == "canary 25 %"
    assert json.loads(json.dumps(state.to_dict()))["route"]["share"] == 0.25
    # The spec's steps were changed meanwhile; the hand-over keeps its own.
    world.model = make_model(tmp_path, steps=[1, 100])
    world.live(BEGIN + 2 * DAY, read_routes(settings)[KEY])
    assert step(settings, world.model, KEY, BEGIN + 3 * DAY, order()).state.at.name == "canary 50 %"


def test_time_stands_still_while_nobody_asks(world, settings):
    """A year that is replayed later does not run out of time by the wall clock."""
    start(settings, world.model, KEY, NEXT, order(), BEGIN)
    much_later = BEGIN + 999 * DAY
    assert read_clock(settings, world.model, KEY, much_later) == BEGIN
    world.live(BEGIN, read_routes(settings)[KEY])
    clock = read_clock(settings, world.model, KEY, much_later)
    assert BEGIN + 0.99 * DAY < clock < BEGIN + DAY
