"""The tasks of a hand-over of a model divided into segments: what a run does with all of them, and what it says."""

from __future__ import annotations

import json

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.ratchet.data.connections import MappedConnections
from include.ratchet.errors import ModelNotFoundError, RolloutError
from include.ratchet.orchestration import rollouts
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.registry.ledger import CHAMPION, AliasState
from include.ratchet.rollout import actions, fleet, store, transitions
from include.ratchet.rollout import revert as reverting
from include.ratchet.rollout.routes import read_routes
from tests.include.ratchet.orchestration.runs import task_runner
from tests.include.ratchet.rollout.traffic import (
    BEGIN,
    DAY,
    KEY,
    World,
    crown,
    keys_named,
    make_model,
    make_settings,
    order,
)

KEYS = keys_named("AA", "B/6", "<!channel>", "*bold*", "x" * 300, "🛫", "all")
pytestmark = pytest.mark.filterwarnings(
    # The Slack provider 9.11 builds its notifier with arguments that Airflow 3.3 says will change.
    "ignore::airflow.exceptions.AirflowProviderDeprecationWarning"
)


@pytest.fixture
def run(tmp_path, monkeypatch, slack):
    """Runs a task of the model's hand-overs as some run of the DAG would."""
    settings = make_settings(tmp_path)
    upgrade(settings.database_url)
    for module in (actions, transitions, reverting):
        monkeypatch.setattr(module, "follow", lambda *_: None)
    segments = {"by": "carrier", "guard": {"max_reverted": 0.5, "min_handovers": 4}}
    model = make_model(tmp_path, segments=segments, approval={"required": True}, steps=[5, 100])
    world = World(settings, model, {1: 0.15, 2: 0.1, 3: 0.1}, daily=240)
    for key in [*KEYS, *keys_named("idle")]:
        crown(settings, key=key)
    workspace = Workspace(settings, MappedConnections({}), lambda: order().recorded_at)
    monkeypatch.setattr(Workspace, "model", lambda *_: world.model)
    monkeypatch.setattr(rollouts, "open_workspace", lambda: workspace)

    yield task_runner(monkeypatch, world)
    engine_of(settings.database_url).dispose()


def begin(run, keys=KEYS, version=2):
    """Hand-overs that trainings have begun, and told of."""
    for key in keys:
        once = order(once=f"training-{version}")
        actions.start(run.world.settings, run.world.model, key, AliasState(version, BEGIN), once, BEGIN)


def live(run, day=0, worse=()):
    labels = []
    for key in KEYS:
        run.world.noise[2] = 0.6 if key in worse else 0.1
        route = read_routes(run.world.settings)[key]
        labels += run.world.live(BEGIN + day * DAY, route, landed=False, segment=key.segment)
    run.world.land(labels)


def states(run):
    return {key: store.read(key, run.world.settings) for key in KEYS}


def test_many_that_move_alike_are_told_once_in_one_message(run, slack):
    with pytest.raises(AirflowSkipException, match="no version of orders is being handed over"):
        run("look", "orders", run_type="scheduled")
    begin(run)
    live(run)
    for _ in range(2):
        looked = run("look", "orders", as_of="2026-03-02", run_type="scheduled")
        assert (looked["action"], looked["counts"]) == ("advance", {"advance": 7})
        assert looked["reason"] == "7 hand-overs: 7 advance"
        assert {one["segment"]: one["stage"] for one in looked["keys"]} == {key.segment: "canary 5 %" for key in KEYS}
    (message,) = slack.messages
    assert message["text"].startswith("orders: 7 hand-overs go on. hand-overs: ")
    shown = json.dumps(message["blocks"])
    assert "<!channel>" not in shown
    assert "&lt;!channel&gt;" in shown
    waiting = run("look", "orders", run_id="r2", run_type="scheduled")
    assert (waiting["action"], waiting["counts"]) == ("wait", {"wait": 7})
    assert len(slack.messages) == 1
    with pytest.raises(AirflowSkipException, match="champion stays"):
        run("announce", "orders", waiting, None)


def test_few_are_told_one_by_one_and_one_alone_by_its_name(run, slack):
    begin(run)
    assert run("look", "orders", action="pause", segment="B/6", reason="odd")["status"] == "paused"
    assert run("look", "orders", run_id="r2", action="resume")["counts"] == {"resume": 1}
    assert [one["text"].split(":")[0] for one in slack.messages] == ["orders/B/6"] * 2
    assert run("look", "orders", run_id="r3", action="advance", segment="all")["stage"] == "canary 5 %"
    assert states(run)[KEY].at.name == "canary 5 %"
    assert states(run)[KEYS[0]].at.name == "shadow"
    with pytest.raises(ModelNotFoundError, match="orders has no segment 'B/7'.*did you mean 'B/6'"):
        run("look", "orders", segment="B/7")
    run.world.model = make_model(run.world.model.folder)
    with pytest.raises(ModelNotFoundError, match="not divided into segments"):
        run("look", "orders", segment="AA")


def test_one_failing_key_fails_the_task_after_the_others_were_moved_and_told(run, slack, monkeypatch):
    begin(run)
    live(run)
    weigh = fleet.weigh

    def fail(model, records):
        if records.state.key == KEYS[0]:
            raise ZeroDivisionError("what nobody thought of")
        return weigh(model, records)

    with monkeypatch.context() as patch:
        patch.setattr(fleet, "weigh", fail)
        with pytest.raises(ZeroDivisionError):
            run("look", "orders", as_of="2026-03-02")
    assert [state.at.name for state in states(run).values()] == ["shadow", *["canary 5 %"] * 6]
    assert run("look", "orders", as_of="2026-03-02")["counts"] == {"advance": 7}
    told = [one["text"] for one in slack.messages]
    assert [text[: text.index(".")] for text in told] == [
        "orders: 6 hand-overs go on", "orders/AA: hand-over to version 2 goes on: canary 5 %",
    ]  # fmt: skip


def test_one_question_is_asked_of_all_and_the_answer_goes_for_those_that_have_not_moved(run, slack):
    begin(run)
    run("look", "orders", action="advance", run_id="a")
    live(run)
    looked = run("look", "orders", as_of="2026-03-03", run_id="r2")
    assert looked["action"] == "ask"
    question = run("need_person", looked, run_id="r2")
    assert question.startswith("a person's word is wanted before 7 challengers answer everything: ")
    assert "B/6 (version 2)" in question
    actions.revert(run.world.settings, KEYS[0], order("Grace"))
    approval = {"chosen_options": ["Approve"], "responded_by_user": {"name": "Grace"}}
    for _ in range(2):
        answered = run("answer", "orders", looked, approval, run_id="r2")
        assert answered["counts"] == {"advance": 6}
    assert {(state.at.name, state.actor) for key, state in states(run).items() if key != KEYS[0]} == {
        ("canary 100 %", "Grace")
    }
    assert "6 hand-overs go on" in slack.messages[-1]["text"]
    last = run("look", "orders", action="advance", run_id="r3")
    assert (last["action"], last["is_champion_moved"]) == ("finish", True)
    (event,) = run("announce", "orders", last)
    assert event.extra["champions"] == {key.segment: 2 for key in KEYS[1:]}
    assert ledger.read_aliases(KEYS[1], run.world.settings)[CHAMPION].version == 2
    # Grace went back at the command line; the next run says so, once.
    for number in range(2):
        with pytest.raises(AirflowSkipException, match="no version of orders is being handed over"):
            run("look", "orders", run_id=f"later-{number}")
    assert len(slack.about("orders/AA: hand-over to version 2 was taken back")) == 1


def test_guard_stops_all_and_is_told_once(run, slack):
    begin(run)
    live(run, worse=KEYS[:5])
    looked = run("look", "orders", as_of="2026-03-02")
    assert looked["counts"] == {"revert": 5, "advance": 2}
    assert looked["trip"] == "5 of 5 hand-overs of the last 28 days went back (100%), at most 50% may"
    assert [state.status for state in states(run).values()] == ["reverted"] * 5 + ["paused"] * 2
    for number in range(2):
        assert run("look", "orders", run_id=f"later-{number}", run_type="scheduled")["counts"] == {"wait": 2}
    (stopped,) = slack.about("orders: its hand-overs are stopped")
    assert "5 of 5 hand-overs" in stopped["text"]
    assert "./ratchet rollout orders resume" in stopped["text"]
    assert len(slack.messages) == 1 + 1 + 2  # five that went back, two that went on before they were paused
    assert slack.about("paused") == []
    with pytest.raises(RolloutError, match="no hand-over begins"):
        begin(run, keys_named("idle"))
    with pytest.raises(RolloutError, match="found no reason"):
        run("look", "orders", action="resume", run_id="form")
    for _ in range(2):
        resumed = run("look", "orders", action="resume", reason="a feed was down", run_id="form")
        assert resumed["counts"] == {"resume": 2}
    begin(run, keys_named("idle"))
    assert run("look", "orders", run_id="last", run_type="scheduled")["trip"] is None


def test_revert_without_a_segment_ends_all_and_without_any_the_pools_champion_goes_back(run):
    begin(run)
    assert run("look", "orders", action="revert", reason="complaints")["counts"] == {"revert": 7}
    begin(run, [KEY], 3)
    for number in range(3):
        run("look", "orders", action="advance", run_id=f"a{number}")
    assert ledger.read_aliases(KEY, run.world.settings)[CHAMPION].version == 3
    back = run("look", "orders", action="revert", run_id="back")
    assert (back["champion"], back["is_champion_moved"]) == (1, True)
    assert ledger.read_aliases(KEYS[0], run.world.settings)[CHAMPION].version == 1


def test_time_stands_still_while_nobody_asks(run):
    begin(run)
    looked = run("look", "orders", run_type="scheduled")
    assert looked["counts"] == {"wait": 7}
    assert fleet.read_clock(run.world.settings, run.world.model, BEGIN + 99 * DAY) == BEGIN
