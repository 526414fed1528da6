"""One problem of many keys: which incidents belong together, and how often people are told."""

from __future__ import annotations

import time

from include.ratchet.monitoring import causes
from include.ratchet.monitoring.act import Judgement
from include.ratchet.monitoring.incidents import OWN, follow, release
from include.ratchet.monitoring.policy import decide
from include.ratchet.monitoring.words import announce
from tests.include.ratchet.monitoring.many import DAY, fired, keys, look, make_spec, nulls
from tests.slack import find_breach

SPEC = make_spec()


class Fleet:
    """Keys whose looks a test makes; incidents go from run to run as the database would keep them."""

    def __init__(self, count=1000, *, pool=True):
        self.keys, self.day = keys(count, pool=pool), 0
        self.looks, self.known = {key: [] for key in self.keys}, {}

    def live(self, signals, gone=()):
        """One run; `signals` by key. Returns the messages."""
        judged, written, findings = [], {}, {}
        for key in self.keys:
            if key in gone:
                continue
            self.looks[key].append(look(key, self.day, *signals.get(key, ())))
            found = decide(SPEC.monitoring.policy, self.looks[key], [], self.looks[key][-1].as_of)
            judged.append((self.looks[key][-1], found))
            incident = follow(self.known.get(key), self.looks[key][-1], found, 3)
            if incident is not None:
                written[key] = incident
                findings[key] = list(self.looks[key][-1].fired)
        partition, end = judged[0][0].partition, judged[0][0].end
        lost = {key: release(self.known[key], partition, end, "the pooled model answers for it now")
                for key in gone if self.known[key].is_open}  # fmt: skip
        self.written = causes.group({**written, **lost}, findings, self.known, len(judged))
        self.known |= self.written
        self.day += 1
        told = [Judgement(one, found, self.known.get(one.key) if one.key in self.written else None, "")
                for one, found in judged]  # fmt: skip
        return announce(SPEC, partition, told, [self.written[key] for key in lost], {"run": "http://here"})


def test_one_broken_column_in_many_keys_and_the_pool_is_told_once():
    fleet = Fleet()
    hit = {key: [nulls(), fired("prediction", 1e-9, "score")] for key in [*fleet.keys[:800], fleet.keys[-1]]}
    (message,) = fleet.live(hit)
    assert "quality: price, share of nulls: opened in 801 of 1001 keys" in message.text
    assert find_breach({"channel": "c", "text": message.text, "blocks": list(message.blocks)}) is None
    assert len({one.group for one in fleet.known.values()}) == 1
    assert fleet.live(hit) == []
    changed = fleet.live(hit)
    assert changed == []  # an alert stays an alert
    assert [len(fleet.live({})), len(fleet.live({}))] == [0, 0]
    (message,) = fleet.live({})
    assert "closed in all of 801 keys, since 2026-03-01" in message.text
    assert fleet.live({}) == []


def test_three_keys_are_told_one_by_one_as_ever():
    fleet = Fleet(100)
    messages = fleet.live({key: [nulls()] for key in fleet.keys[:3]})
    assert [message.key for message in messages] == [f"incident:orders.k000{number}:1:1" for number in range(3)]
    for _ in range(2):
        assert fleet.live({}) == []
    assert len(fleet.live({})) == 3


def test_each_cause_is_its_own_message():
    fleet = Fleet(100)
    hit = {key: [nulls("price" if place % 2 else "shop")] for place, key in enumerate(fleet.keys[:40])}
    hit[fleet.keys[50]] = [fired("service", None, "volume")]
    messages = fleet.live(hit)
    assert len(messages) == 3
    assert sum("opened in 20 of 101 keys" in message.text for message in messages) == 2


def test_growth_is_told_only_when_it_is_much():
    fleet = Fleet()
    hit = {key: [nulls()] for key in fleet.keys[:400]}
    assert len(fleet.live(hit)) == 1
    hit |= {key: [nulls()] for key in fleet.keys[400:420]}
    assert fleet.live(hit) == []
    hit |= {key: [nulls()] for key in fleet.keys[420:601]}
    (message,) = fleet.live(hit)
    assert "grew from 400 to 601 of 1001 keys" in message.text
    assert all(fleet.known[key].told == "alert" for key in hit)
    assert fleet.live(hit) == []


def test_few_that_become_many_are_told_as_a_group_from_then_on():
    fleet = Fleet(100)
    hit = {key: [nulls()] for key in fleet.keys[:2]}
    assert len(fleet.live(hit)) == 2
    hit |= {key: [nulls()] for key in fleet.keys[2:10]}
    (message,) = fleet.live(hit)
    assert "grew from 2 to 10" in message.text
    for _ in range(2):
        assert fleet.live({}) == []
    (message,) = fleet.live({})
    assert "closed in all of 10 keys" in message.text


def test_what_becomes_graver_is_one_message():
    fleet = Fleet(200)
    hit = {key: [fired("drift")] for key in fleet.keys[:100]}
    assert [len(fleet.live(hit)), len(fleet.live(hit))] == [1, 0]
    (message,) = fleet.live(hit)
    assert "drift: columns: retrain in 100 of 201 keys" in message.text
    assert fleet.live(hit) == []


def test_closed_is_told_when_the_last_one_has_closed():
    fleet = Fleet(50)
    hit = {key: [nulls()] for key in fleet.keys[:20]}
    fleet.live(hit)
    del hit[fleet.keys[0]]
    told = [fleet.live(hit) for _ in range(4)]
    assert told == [[], [], [], []]
    assert not fleet.known[fleet.keys[0]].is_open
    assert sum(len(fleet.live({})) for _ in range(4)) == 1


def test_next_time_is_another_group():
    fleet = Fleet(50)
    hit = {key: [nulls()] for key in fleet.keys[:20]}
    fleet.live(hit)
    first = {one.group for one in fleet.known.values()}
    for _ in range(3):
        fleet.live({})
    assert len(fleet.live(hit)) == 1
    assert {one.group for one in fleet.known.values()}.isdisjoint(first)


def test_key_that_is_watched_no_more_closes_and_says_why():
    fleet = Fleet(20)
    fleet.live({fleet.keys[0]: [nulls()]})
    (message,) = fleet.live({}, gone=[fleet.keys[0]])
    assert "the pooled model answers for it now" in message.text
    assert find_breach({"channel": "c", "text": message.text, "blocks": list(message.blocks)}) is None
    assert fleet.known[fleet.keys[0]].closed_at is not None


def test_same_run_again_writes_nothing_and_tells_the_same():
    fleet = Fleet(50)
    hit = {key: [nulls()] for key in fleet.keys[:20]}
    first = fleet.live(hit)
    known = dict(fleet.known)
    looks = [own[-1] for own in fleet.looks.values()]
    again = {one.key: follow(known.get(one.key), one, decide(SPEC.monitoring.policy, [one], [], one.as_of), 3)
             for one in looks}  # fmt: skip
    assert not any(again.values())
    nothing = decide(SPEC.monitoring.policy, [], [], looks[0].as_of)
    told = [Judgement(one, nothing, known.get(one.key), "") for one in looks]
    assert [one.key for one in announce(SPEC, looks[0].partition, told, [], {})] == [one.key for one in first]


def test_cause_is_the_signal_that_most_share_and_explains_the_others():
    one, two, three = keys(3)
    found = causes.find_causes({
        one: [nulls("price"), nulls("shop"), fired("drift")], two: [nulls("shop")], three: [fired("drift")],
    })  # fmt: skip
    shop = "quality: shop, share of nulls"
    assert found == {one: shop, two: shop, three: "drift: columns"}
    assert causes.find_causes({one: [nulls("price"), nulls("shop")]}, [shop])[one] == shop


def test_incidents_of_a_fleet_are_summed_up_by_cause():
    fleet = Fleet(50)
    fleet.live({key: [nulls()] for key in fleet.keys[:20]} | {fleet.keys[30]: [fired("drift")]})
    large, single = sorted(causes.summarise(fleet.known.values()), key=lambda one: -len(one.keys))
    assert (large.cause, len(large.keys), large.is_open) == ("quality: price, share of nulls", 20, 20)
    assert "in 20 keys, since 2026-03-01, open" in str(large)
    assert "orders/k0030" in str(single)
    assert large.since + DAY == fleet.looks[fleet.keys[0]][0].end


def test_thousand_keys_take_no_time_and_keep_their_own_numbers():
    fleet, begun = Fleet(), time.perf_counter()
    hit = {key: [nulls()] for key in fleet.keys}
    fleet.live(hit)
    assert time.perf_counter() - begun < 2
    assert {one.message == OWN for one in fleet.written.values()} == {False}
    assert {one.number for one in fleet.written.values()} == {1}
