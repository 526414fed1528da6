"""Records of many keys' stages: read once, in bounded memory, and each key sees what it would see alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from include.ratchet.data.records import RecordTable
from include.ratchet.rollout import stretch
from include.ratchet.rollout.actions import start
from include.ratchet.rollout.evidence import gather, weigh
from include.ratchet.rollout.routes import read_routes
from include.ratchet.rollout.stretch import read_stages
from tests.include.ratchet.rollout.traffic import BEGIN, DAY, NEXT, World, crown, keys_named, make_model, order

NAMES = ["AA", "UA", "EWR/IAH", "it's", '"; drop', "🛫", "~all", "all"]


@pytest.fixture
def fleet(settings, registry, tmp_path):
    """Segments of hostile names that are all being handed over, with a day of traffic each."""
    model = make_model(tmp_path, strategy="shadow", segments={"by": "carrier"})
    keys = keys_named(*NAMES)
    world = World(settings, model, {1: 0.1, 2: 0.2}, daily=60)
    states, labels = [], []
    for number, key in enumerate(keys):
        if not key.is_pool:
            crown(settings, key=key)
        states.append(start(settings, model, key, NEXT, order(), BEGIN).state)
        world.noise[2] = 0.1 + number / 10
        labels += world.live(BEGIN, read_routes(settings)[key], landed=False, segment=key.segment)
    world.land(labels)
    return world, states


@pytest.fixture
def readings(monkeypatch):
    """How often records were read, and labels."""
    seen = {"records": 0, "outcomes": 0}
    between, outcomes = RecordTable.between, stretch.read_outcomes

    def count(self, *arguments, **named):
        seen["records"] += self._kind == "requests"
        return between(self, *arguments, **named)

    def count_outcomes(*arguments):
        seen["outcomes"] += 1
        return outcomes(*arguments)

    monkeypatch.setattr(RecordTable, "between", count)
    monkeypatch.setattr(stretch, "read_outcomes", count_outcomes)
    return seen


def weigh_all(world, looks, **options):
    return {one.state.key: weigh(world.model, one)
            for one in read_stages(world.settings, world.model, looks, **options)}  # fmt: skip


def test_one_reading_gives_each_key_what_it_would_see_alone(fleet, readings):
    world, states = fleet
    found = weigh_all(world, [(state, BEGIN + 2 * DAY) for state in states])
    assert readings == {"records": 1, "outcomes": 1}
    assert found == {state.key: gather(world.settings, world.model, state, BEGIN + 2 * DAY) for state in states}
    assert {(one.champion.rows, one.challenger.rows, one.paired.rows) for one in found.values()} == {(60, 60, 60)}
    assert len({one.challenger.loss.mean for one in found.values()}) == len(NAMES)


def test_records_that_are_too_many_are_read_in_parts(fleet, readings):
    world, states = fleet
    looks = [(state, BEGIN + 2 * DAY) for state in states]
    whole = weigh_all(world, looks)
    # 120 records each: two keys at a time; and one, of which each has more than may be held.
    for max_rows, expected in ((250, 4), (10, 8)):
        readings["records"] = 0
        assert weigh_all(world, looks, max_rows=max_rows) == whole
        assert readings["records"] == expected


def test_each_key_has_its_own_stage_and_instant(fleet):
    world, states = fleet
    early, late, not_yet, *_ = states
    late = replace(late, stage_since=BEGIN + DAY / 2)
    not_yet = replace(not_yet, stage_since=BEGIN + 5 * DAY)
    looks = [(early, BEGIN + DAY), (late, BEGIN + DAY), (not_yet, BEGIN + DAY), (states[4], BEGIN + timedelta(hours=6))]
    found = weigh_all(world, looks)
    assert [found[state.key].champion.rows for state, _ in looks] == [60, 30, 0, 15]
    assert found[states[4].key].paired.rows == 0  # labels take six hours
    assert found[early.key].paired.rows == 45


def test_what_no_key_asks_for_is_not_read(fleet, readings):
    world, _ = fleet
    assert weigh_all(world, []) == {}
    assert readings == {"records": 0, "outcomes": 0}
