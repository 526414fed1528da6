"""What a run does with the looks of a thousand keys: the tasks, on a database, with a Slack that listens."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.ratchet.data.connections import MappedConnections
from include.ratchet.errors import IncidentNotFoundError, LedgerConflictError
from include.ratchet.monitoring import monitor, notes, store
from include.ratchet.monitoring.incidents import Incident
from include.ratchet.monitoring.monitor import past_requests
from include.ratchet.orchestration import monitors
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import fleet, ledger
from include.ratchet.registry.database import aliases, engine_of
from include.ratchet.registry.ledger import Entry
from include.ratchet.rollout.orders import Order
from include.ratchet.spec import Model, ModelKey
from tests.include.ratchet.monitoring.many import BEGIN, DAY, NAME, fired, keys, look, make_spec, nulls

pytestmark = pytest.mark.filterwarnings(
    # The Slack provider 9.11 builds its notifier with arguments that Airflow 3.3 says will change.
    "ignore::airflow.exceptions.AirflowProviderDeprecationWarning"
)


class World:
    """A model divided into many segments; its looks are made, not taken."""

    def __init__(self, settings, monkeypatch, **segments):
        self.settings = settings
        self.spec = make_spec(segments={"by": "shop", **segments})
        self.workspace = Workspace(settings, MappedConnections({}), lambda: BEGIN + 99 * DAY)
        monkeypatch.setattr(Workspace, "model", lambda *_: Model(spec=self.spec, folder=Path()))
        monkeypatch.setattr(monitors, "open_workspace", lambda: self.workspace)
        for link in ("link_training", "link_model"):
            monkeypatch.setattr(monitors, link, lambda *_: None)
        self.patch = monkeypatch

    def crown(self, names):
        with engine_of(self.settings.database_url).begin() as connection:
            connection.execute(aliases.insert(), [
                {"model": key.model, "segment": key.segment, "alias": "champion", "version": 1, "ledger_id": 0}
                for key in names
            ])  # fmt: skip

    def uncrown(self, key):
        with engine_of(self.settings.database_url).begin() as connection:
            ledger.remove_alias(connection, key, "champion")

    def see(self, names, day, signals, **numbers):
        store.write_looks([look(key, day, *signals.get(key, ()), **numbers) for key in names], self.settings)

    def run(self, names, day, run_type="scheduled", run_id="r1"):
        """The tasks `judge` and `act` of a run; what the first passes on, and the requests of the second."""
        run = SimpleNamespace(run_type=run_type, run_id=run_id, dag_id=f"monitor_{NAME}")
        self.patch.setattr(monitors, "get_current_context", lambda: {"dag_run": run, "params": {}})
        partition = f"{BEGIN + day * DAY:%Y-%m-%d}"
        batch = {"segments": [key.segment for key in names], "looks": [{"partition": partition}]}
        judged = json.loads(json.dumps(monitors.judge(NAME, [batch])))
        try:
            (event,) = list(monitors.act(NAME, judged))
        except AirflowSkipException:
            return judged, []
        return judged, event.extra["requests"]

    def outcomes(self, day):
        judged = monitor.judge_all(self.workspace, NAME, f"{BEGIN + day * DAY:%Y-%m-%d}")
        return {one.key: decision for one, decision in judged}


@pytest.fixture
def world(either_database, monkeypatch):
    return lambda **segments: World(either_database, monkeypatch, **segments)


def test_column_that_breaks_in_eight_hundred_keys_is_one_message(world, slack):
    fleet, names = world(), keys(1000, pool=True)
    fleet.crown(names)
    hit = {key: [nulls()] for key in [*names[:800], names[-1]]}
    fleet.see(names, 0, hit)
    judged, _ = fleet.run(names, 0)
    assert judged["counts"] == {"alert": 801, "none": 200}
    assert len(json.dumps(judged)) < 20_000
    (message,) = slack.messages
    assert "quality: price, share of nulls: opened in 801 of 1001 keys" in message["text"]
    fleet.run(names, 0, run_id="r2")
    assert len(slack.messages) == 1
    for day in range(1, 5):
        fleet.see(names, day, {})
        fleet.run(names, day)
    assert [("closed in all of 801 keys" in one["text"]) for one in slack.messages] == [False, True]
    assert not any(one.is_open for one in store.read_last_incidents(NAME, fleet.settings).values())


def test_run_that_was_cut_off_before_it_could_speak_speaks_when_it_is_tried_again(world, slack, monkeypatch):
    fleet, names = world(), keys(20)
    fleet.crown(names)
    fleet.see(names, 0, {key: [nulls()] for key in names})
    with monkeypatch.context() as patch:
        patch.setattr("include.ratchet.alerts.outbox.tell", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fleet.run(names, 0)
    assert len(store.read_last_incidents(NAME, fleet.settings)) == 20
    fleet.run(names, 0)
    (message,) = slack.messages
    assert "opened in 20 of 20 keys" in message["text"]


def test_lone_chance_alarm_is_revised_where_it_is_kept_and_asks_for_nothing(world):
    fleet, names = world(), keys(200)
    fleet.crown(names)
    for day in range(3):
        fleet.see(names, day, {names[0]: [fired("performance", fleet.spec.monitoring.alpha / 3)]})
        judged, requests = fleet.run(names, day)
        assert (judged["counts"], judged["keys"], requests) == ({"none": 200}, [], [])
    kept = store.read_look(names[0], "2026-03-03", fleet.settings)
    assert kept.signals[0].is_chance
    assert not kept.fired
    assert monitor.control(fleet.workspace, NAME, "2026-03-03") == 0  # the same again
    assert store.read_last_incidents(NAME, fleet.settings) == {}
    # A look that is taken again is as its key sees it, until it is held against the others again.
    fleet.see([names[0]], 2, {names[0]: [fired("performance", fleet.spec.monitoring.alpha / 3)]})
    assert monitor.control(fleet.workspace, NAME, "2026-03-03") == 1
    assert store.read_look(names[0], "2026-03-03", fleet.settings) == kept


def test_segments_share_a_budget_and_the_pooled_model_has_its_own(world):
    fleet, names = world(budget=10), keys(25, pool=True)
    fleet.crown(names)
    # More has drifted, the higher the number.
    moved = {key: [fired("drift", value=0.2 + place / 100)] for place, key in enumerate(names)}
    for day in range(4):
        fleet.see(names, day, moved)
    assert fleet.run(names, 2)[1] == []  # that is history: a later day has been looked at
    _, asked = fleet.run(names, 3)
    assert len(asked) == 11
    requested = {ledger.find_entry(one, fleet.settings).key for one in asked}
    assert ModelKey(NAME) in requested
    assert requested - {ModelKey(NAME)} == set(names[15:25])
    outcomes = fleet.outcomes(3)
    assert sum(one.outcome == "wait" for one in outcomes.values()) == 26
    waiting = outcomes[names[14]].reason
    assert "number 1 of 15 by expected gain a second; 10 retrainings a day" in waiting
    assert "10 were asked for before" in waiting
    fleet.see(names, 4, moved)
    _, asked = fleet.run(names, 4)
    assert len(asked) == 10  # another day
    past = past_requests(NAME, [key.segment for key in names], fleet.settings)
    assert sum(len(one) for one in past.values()) == 21


def test_answered_requests_are_known_for_all_keys_at_once(world):
    fleet_world, names = world(), keys(3)
    for number, key in enumerate(names):
        asked = Entry(key, "request", f"request:{number}", "a test", "drift", BEGIN, 1, BEGIN, {"cause": ["drift"]})
        ledger.record(asked, fleet_world.settings)
    answers = {"answers": ["request:1"]}
    ledger.record(Entry(names[0], "verdict", "verdict:0", "a test", "no", BEGIN, 2, BEGIN, {"answers": []}),
                  fleet_world.settings)  # fmt: skip
    ledger.record(Entry(names[0], "verdict", "verdict:9", "a test", "no", BEGIN, 2, BEGIN), fleet_world.settings)
    ledger.record(
        Entry(names[1], "verdict", "verdict:1", "a test", "no", BEGIN, 2, BEGIN, answers), fleet_world.settings
    )
    found = past_requests(NAME, [key.segment for key in names], fleet_world.settings)
    assert [found[key][0].is_open for key in names] == [True, False, True]
    assert fleet.count_requests(NAME, BEGIN, BEGIN + DAY, fleet_world.settings) == 3
    assert fleet.count_requests(NAME, BEGIN + DAY, BEGIN + 2 * DAY, fleet_world.settings) == 0


def test_segment_without_a_champion_is_looked_at_no_more_and_its_incident_closes(world, slack):
    fleet, names = world(), keys(5)
    fleet.crown(names)
    fleet.see(names, 0, {names[0]: [nulls()]})
    fleet.run(names, 0)
    fleet.uncrown(names[0])
    fleet.see(names[1:], 1, {})
    judged, _ = fleet.run(names[1:], 1)
    assert judged["counts"] == {"none": 4}
    assert "the pooled model answers for it now" in slack.messages[-1]["text"]
    incident = store.read_last_incidents(NAME, fleet.settings)[names[0]]
    assert (incident.is_open, incident.closed_at) == (False, BEGIN + 2 * DAY)
    assert names[0] not in monitor.keys_of(fleet.settings, NAME)
    fleet.run(names[1:], 1)
    assert len(slack.messages) == 2


def test_backfill_of_a_fleet_asks_nothing_and_tells_nobody(world, slack):
    fleet, names = world(), keys(10)
    fleet.crown(names)
    for day in range(3):
        fleet.see(names, day, {key: [fired("drift")] for key in names})
    judged, requests = fleet.run(names, 2, run_type="backfill")
    assert (judged["counts"], requests, slack.messages) == ({"retrain": 10}, [], [])
    assert store.read_last_incidents(NAME, fleet.settings) == {}


def test_two_writers_of_one_incident_are_told_apart_and_nothing_is_written(world):
    fleet, names = world(), keys(2)
    begun = 1, 1, "opened", BEGIN, None, ("drift",), "alert", 1, "2026-03-01", ""
    first, second = (Incident(key, *begun) for key in names)
    store.write_incidents([first], fleet.settings)
    with pytest.raises(LedgerConflictError, match="moved on since it was read"):
        store.write_incidents([first, second], fleet.settings)
    with pytest.raises(LedgerConflictError, match="k0000: incident 1 moved on"):
        store.write_incidents([second, replace(first, revision=3)], fleet.settings)
    assert list(store.read_last_incidents(NAME, fleet.settings)) == [names[0]]


def test_model_without_segments_is_not_controlled(world):
    alone = world()
    alone.spec = alone.spec.model_copy(update={"segments": None})
    key = ModelKey(NAME)
    alone.see([key], 0, {key: [fired("performance", 0.5)]})
    assert monitor.control(alone.workspace, NAME, "2026-03-01") == 0
    assert store.read_look(key, "2026-03-01", alone.settings).fired


def test_histories_are_the_newest_of_each_key(world):
    fleet, names = world(), keys(600)
    for day in range(4):
        fleet.see(names, day, {})
    found = store.read_histories(NAME, [key.segment for key in names], BEGIN + 3 * DAY, 2, fleet.settings)
    assert len(found) == 600
    assert {tuple(one.partition for one in own) for own in found.values()} == {("2026-03-02", "2026-03-03")}
    late = look(names[0], 3)
    store.write_looks([replace(late, as_of=late.as_of - DAY, rows=7)], fleet.settings)  # knew less
    assert store.read_look(names[0], late.partition, fleet.settings).rows == 1000
    assert store.find_overtaken(NAME, BEGIN + 3 * DAY, fleet.settings) == set()
    assert len(store.find_overtaken(NAME, BEGIN + 2 * DAY, fleet.settings)) == 600
    assert store.find_newest(NAME, fleet.settings) == BEGIN + 3 * DAY
    assert len(store.read_looks_at(NAME, BEGIN, fleet.settings)) == 600


def test_command_shows_a_fleet_by_cause_and_the_keys_with_signals(world, monkeypatch, capsys):
    from include.ratchet.cli import monitor as command

    fleet, names = world(), keys(50, pool=True)
    monkeypatch.setattr(command, "open_workspace", lambda: fleet.workspace)
    command.monitor(NAME)
    assert "orders has not been looked at yet" in capsys.readouterr().err
    fleet.crown(names)
    fleet.see(names, 0, {key: [nulls()] for key in names[:40]} | {names[45]: [fired("drift")]})
    fleet.run(names, 0)
    capsys.readouterr()
    command.monitor(NAME)
    shown = " ".join(capsys.readouterr().err.split())
    assert "2026-03-01: 51 keys, 41 with signals" in shown
    assert "incident, quality: price, share of nulls, in 40 keys, since 2026-03-01, open" in shown
    assert "incident, drift: columns, in orders/k0045" in shown
    assert "k0000" in shown
    assert "and 11 more keys with signals" in shown
    command.monitor(NAME, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["keys"], len(told["signals"]), told["signals"]["k0045"]) == (51, 41, ["drift of columns"])
    assert [(one["cause"], len(one["keys"]), one["open"]) for one in told["causes"]] == [
        ("quality: price, share of nulls", 40, 40), ("drift: columns", 1, 1),
    ]  # fmt: skip
    command.monitor(f"{NAME}/k0045")
    assert "drift of columns" in " ".join(capsys.readouterr().err.split())


def note(fleet, reason="I am at it", minutes=0, once="one-two-three"):
    return Order("ada", reason, fleet.workspace.clock() - timedelta(minutes=minutes), once=once)


def at(fleet, **away):
    fleet.workspace = replace(fleet.workspace, clock=lambda: BEGIN + 99 * DAY + timedelta(**away))


def test_silence_keeps_an_alarm_from_people_until_it_is_over(world, slack):
    fleet, names = world(), keys(2)
    fleet.crown(names)
    notes.silence(fleet.settings, names[0], fleet.workspace.clock() + DAY, note(fleet))
    fleet.see(names, 0, {names[0]: [nulls()]})
    fleet.run(names, 0)
    assert slack.messages == []
    opened = store.read_incidents(names[0], fleet.settings)[-1]
    assert (opened.is_open, opened.is_hushed, opened.told) == (True, True, "")
    fleet.see(names, 1, {names[0]: [nulls()]})
    fleet.run(names, 1)
    assert slack.messages == []
    at(fleet, days=2)
    fleet.see(names, 2, {names[0]: [nulls()]})
    fleet.run(names, 2)
    (message,) = slack.messages
    assert "incident 1 changed: quality" in message["text"]
    fleet.see(names, 3, {names[0]: [nulls()]})
    fleet.run(names, 3)
    assert len(slack.messages) == 1


def test_alarm_that_passed_under_a_silence_is_never_told(world, slack):
    fleet, names = world(), keys(2)
    fleet.crown(names)
    notes.silence(fleet.settings, ModelKey(NAME), fleet.workspace.clock() + DAY, note(fleet))
    fleet.see(names, 0, {names[0]: [nulls()]})
    for day in range(5):
        fleet.see(names, day, {names[0]: [nulls()]} if day == 0 else {})
        fleet.run(names, day)
    at(fleet, days=2)
    fleet.see(names, 5, {})
    fleet.run(names, 5)
    assert not store.read_incidents(names[0], fleet.settings)[-1].is_open
    assert slack.messages == []


def test_silence_can_be_ended_and_the_newest_word_counts(world):
    fleet, key = world(), keys(1)[0]
    now = fleet.workspace.clock()
    notes.silence(fleet.settings, key, now + DAY, note(fleet, minutes=5, once="first-word"))
    assert notes.find_silence(notes.read_silences(NAME, fleet.settings, now), key).actor == "ada"
    assert notes.read_silences(NAME, fleet.settings, now + 2 * DAY) == {}
    notes.silence(fleet.settings, key, now, note(fleet, once="second-word"))
    assert notes.read_silences(NAME, fleet.settings, now) == {}


def test_acknowledged_incident_calls_for_nobody_and_only_an_open_one_can_be(world, slack):
    fleet, names = world(), keys(1)
    policy = {"quality": "revert", "service": "revert", "streak": 1}
    fleet.spec = make_spec(alerts={"mention": "<!here>"}, monitoring={"policy": policy})
    fleet.patch.setattr(Workspace, "model", lambda *_: Model(spec=fleet.spec, folder=Path()))
    fleet.crown(names)
    fleet.see(names, 0, {names[0]: [nulls()]})
    fleet.run(names, 0)
    assert "<!here>" in json.dumps(slack.messages[-1])
    with pytest.raises(IncidentNotFoundError, match="incident 2 is not open; open: 1"):
        notes.acknowledge(fleet.settings, names[0], 2, note(fleet))
    for _ in range(2):
        notes.acknowledge(fleet.settings, names[0], 1, note(fleet))
    assert notes.read_acknowledged(NAME, fleet.settings)[names[0]].reason == "I am at it"
    assert len([row for row in ledger.history(names[0], fleet.settings) if row.kind == "acknowledgement"]) == 1
    fleet.see(names, 1, {names[0]: [nulls(), fired("service", None, "latency")]})
    fleet.run(names, 1)
    assert "incident 1 changed" in slack.messages[-1]["text"]
    assert "<!here>" not in json.dumps(slack.messages[-1])
