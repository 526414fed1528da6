"""The tasks of a hand-over: how a run becomes a step, what is skipped, and what is told."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.ratchet.data.connections import MappedConnections
from include.ratchet.orchestration import notify, rollouts
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.registry.ledger import CHALLENGER, CHAMPION, PREVIOUS
from include.ratchet.rollout import actions, store, transitions
from include.ratchet.rollout import revert as reverting
from include.ratchet.rollout.routes import read_routes
from tests.include.ratchet.orchestration.runs import task_runner
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


@pytest.fixture
def told(monkeypatch):
    """What would have been said over Slack."""
    messages = []
    monkeypatch.setattr(notify.SlackSender, "__call__", lambda _, message: messages.append(message.text) or "sent")
    return messages


@pytest.fixture
def run(tmp_path, monkeypatch, told):
    """Runs a task of the model's hand-over as some run of the DAG would."""
    settings = make_settings(tmp_path)
    upgrade(settings.database_url)
    crown(settings)
    for module in (actions, transitions, reverting):
        monkeypatch.setattr(module, "follow", lambda *_: None)
    world = World(settings, make_model(tmp_path, approval={"required": True}), {1: 0.15, 2: 0.1})
    workspace = Workspace(settings, MappedConnections({}), lambda: BEGIN + 99 * DAY)
    monkeypatch.setattr(Workspace, "model", lambda *_: world.model)
    monkeypatch.setattr(rollouts, "open_workspace", lambda: workspace)

    yield task_runner(monkeypatch, world)
    engine_of(settings.database_url).dispose()


def begin(run, stage=0):
    start = order(once="training-1")
    actions.start(run.world.settings, run.world.model, KEY, NEXT, start, BEGIN)
    for _ in range(stage):
        actions.advance(run.world.settings, run.world.model, KEY, BEGIN, order())


def live(run, day=0):
    run.world.live(BEGIN + day * DAY, read_routes(run.world.settings)[KEY])


def aliases(run):
    return {alias: state.version for alias, state in ledger.read_aliases(KEY, run.world.settings).items()}


def test_run_without_a_hand_over_is_skipped_with_a_clear_word(run, told):
    with pytest.raises(AirflowSkipException, match="no version of orders is being handed over"):
        run("look", "orders", run_type="scheduled")
    assert told == []


def test_look_goes_on_and_is_told_once(run, told):
    begin(run)
    live(run)
    looked = run("look", "orders", run_type="scheduled")
    assert (looked["action"], looked["is_champion_moved"]) == ("wait", False)  # the day is not over
    assert told == []  # the training told of the beginning
    for _ in range(2):
        looked = run("look", "orders", as_of="2026-03-02", run_id="r2", run_type="scheduled")
        assert (looked["action"], looked["stage"]) == ("advance", "canary 5 %")
    assert len(told) == 1
    assert told[0].startswith("orders: hand-over to version 2 goes on: canary 5 %")
    with pytest.raises(AirflowSkipException, match="champion stays"):
        run("announce", "orders", looked, None)


def test_move_that_nobody_told_is_told_by_the_next_run(run, told):
    begin(run, stage=1)
    actions.revert(run.world.settings, KEY, order("Ada", "complaints"))
    with pytest.raises(AirflowSkipException, match="the last hand-over is reverted"):
        run("look", "orders", run_type="scheduled")
    assert told == [
        "orders: hand-over to version 2 was taken back in canary 5 %, production stays as it was. complaints"
    ]


@pytest.mark.parametrize(("chosen", "action", "champion"), [("Approve", "advance", 1), ("Decline", "revert", 1)])
def test_person_is_asked_once_and_decides(run, told, chosen, action, champion):
    begin(run, stage=3)
    live(run)
    looked = run("look", "orders", as_of="2026-03-02")
    assert (looked["action"], looked["status"]) == ("ask", "waiting_approval")
    assert "version 2 answers everything" in run("need_person", looked)
    later = run("look", "orders", as_of="2026-03-02T06:00", run_id="r2", run_type="scheduled")
    assert later["action"] == "wait"
    with pytest.raises(AirflowSkipException, match="nobody needs to be asked"):
        run("need_person", later, run_id="r2")
    approval = {"chosen_options": [chosen], "responded_by_user": {"name": "Grace"}}
    for _ in range(2):
        answered = run("answer", "orders", looked, approval)
        assert answered["action"] == action
    assert aliases(run)[CHAMPION] == champion
    assert store.read(KEY, run.world.settings).actor == "Grace"
    assert len(told) == 2


def test_answer_that_comes_too_late_changes_nothing(run):
    begin(run, stage=3)
    live(run)
    looked = run("look", "orders", as_of="2026-03-02")
    run("look", "orders", run_id="r2", action="revert")
    with pytest.raises(AirflowSkipException, match="moved on while a person was asked"):
        run("answer", "orders", looked, {"chosen_options": ["Approve"], "responded_by_user": None})
    assert aliases(run) == {CHAMPION: 1}


def test_form_moves_on_and_a_new_champion_is_announced(run, told):
    begin(run)
    for number in range(4):
        assert run("look", "orders", action="advance", run_id=f"r{number}")["action"] == "advance"
    finished = run("look", "orders", action="advance", run_id="last", reason="enough seen")
    assert (finished["champion"], finished["is_champion_moved"]) == (2, True)
    (event,) = run("announce", "orders", finished)
    assert event.extra["champion"] == 2
    assert ledger.history(KEY, run.world.settings)[-2].actor == "Ada"
    # One action more goes back.
    for _ in range(2):
        back = run("look", "orders", action="revert", run_id="back")
        assert (back["champion"], back["is_champion_moved"]) == (1, True)
    assert aliases(run) == {CHAMPION: 1, PREVIOUS: 2}
    assert [one for one in told if "again" in one] == [
        "champion of orders is version 1 again; version 2 is the previous one. asked for by a manual run"
    ]


def test_form_reverts_pauses_and_resumes(run, told):
    begin(run, stage=1)
    assert run("look", "orders", action="pause", run_id="a")["status"] == "paused"
    assert run("look", "orders", action="resume", run_id="b")["status"] == "running"
    assert aliases(run) == {CHAMPION: 1, CHALLENGER: 2}
    for _ in range(2):
        assert run("look", "orders", action="revert", run_id="c", reason="complaints")["status"] == "reverted"
    assert aliases(run) == {CHAMPION: 1}
    assert len(told) == 3


def test_slower_run_is_skipped(run, monkeypatch):
    begin(run)
    live(run)
    read = store.read

    def read_stale(key, settings):
        found = read(key, settings)
        monkeypatch.setattr(store, "read", read)
        actions.advance(settings, run.world.model, KEY, BEGIN, order())
        return found

    monkeypatch.setattr(store, "read", read_stale)
    with pytest.raises(AirflowSkipException, match="moved since"):
        run("look", "orders", as_of="2026-03-02")


def test_unattended_run_goes_by_the_records_time(run):
    begin(run)
    live(run)
    run("look", "orders", run_type="scheduled")
    assert store.read(KEY, run.world.settings).status == "running"
    run.world.model = make_model(run.world.model.folder, min_rows=999)
    # The run's own time is far past the limit of a stage.
    assert run("look", "orders", run_id="r2", as_of="2026-06-01")["action"] == "revert"
