"""The Models pages in a browser on the stack that has lived: they show what is, and each order has its effect."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from mlflow import MlflowClient
from playwright.sync_api import expect

from include.ratchet.monitoring import notes, store
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import CHAMPION
from include.ratchet.registry.versions import get_version
from include.ratchet.rollout import actions
from include.ratchet.rollout import store as rollouts
from include.ratchet.rollout.orders import Order
from include.ratchet.spec import ModelKey, get_model
from tests.system.conftest import SOON_MS, give_order

pytestmark = pytest.mark.system

HANDED, APPROVED, WATCHED = (ModelKey(name) for name in ("flight_handed", "flight_approved", "flight_watched"))
RUN_MS = 240_000


def aliases(stack, key):
    return MlflowClient(stack.layout.mlflow_url, stack.layout.mlflow_url).get_registered_model(key.slug).aliases


def action_of(stack, key, name):
    return [row for row in ledger.history(key, stack.settings)
            if row.kind == "action" and row.details["action"] == name][-1]  # fmt: skip


def test_fleet_is_the_stacks_own(stack, visit):
    frame = visit("models?sort=model")
    for name in ("flight_approved", "flight_delay", "flight_handed", "flight_strict", "flight_watched"):
        expect(frame.get_by_role("link", name=name, exact=True)).to_be_visible()
    row = frame.locator("tr", has=frame.get_by_role("link", name=HANDED.model, exact=True))
    version = ledger.read_aliases(HANDED, stack.settings)[CHAMPION].version
    expect(row).to_contain_text(f"v{version}")
    failing = frame.locator("tr", has=frame.get_by_role("link", name=WATCHED.model, exact=True))
    expect(failing).to_contain_text("failing")
    frame.get_by_role("link", name=WATCHED.model, exact=True).click()
    expect(frame.get_by_role("heading", level=1)).to_contain_text(WATCHED.model, timeout=SOON_MS)


def test_model_is_shown_from_its_metric_to_its_reports(visit):
    frame = visit(f"model?name={WATCHED.model}&version=2")
    # Charts are drawn when they come into sight.
    frame.locator("#metric").scroll_into_view_if_needed()
    expect(frame.locator("#metric .js-plotly-plot")).to_be_visible(timeout=SOON_MS)
    drift = frame.locator("#drift")
    drift.scroll_into_view_if_needed()
    expect(drift.locator(".js-plotly-plot").first).to_be_visible(timeout=SOON_MS)
    drift.get_by_role("button", name="Show distribution").click()
    expect(drift.get_by_text("rows that version")).to_be_visible(timeout=SOON_MS)
    candidate = frame.locator("#candidates")
    for words in (
        "minimum metric",
        "What it was made from",
        "Training set",
        "requests answered by it",
        "Gain over champion",
    ):
        expect(candidate.get_by_text(words, exact=False).first).to_be_attached(timeout=SOON_MS)
    timeline = frame.locator("#timeline")
    for words in ("version 2 became champion", "a retraining was asked for", "incident 1 is over"):
        expect(timeline.get_by_text(words).first).to_be_visible()
    reports = frame.locator("#reports")
    reports.get_by_role("button", name="2013-").first.click()
    report = frame.frame_locator("#reports iframe")
    expect(report.locator("body")).to_contain_text("Drift", timeout=SOON_MS)


def test_handover_is_paused_resumed_advanced_and_taken_back(stack, visit):
    model = get_model(stack.settings.models_dir, HANDED.model)
    version = get_version(HANDED, 2, stack.settings)
    state, now = ledger.AliasState(2, version.as_of), datetime.now(UTC)
    as_of = actions.read_clock(stack.settings, model, HANDED, now)
    actions.start(stack.settings, model, HANDED, state, Order("a test", "once more", now), as_of)
    assert aliases(stack, HANDED)["challenger"] == "2"
    for name, status in (("Pause", "paused"), ("Resume", "running"), ("Advance", "running"), ("Revert", "reverted")):
        frame = visit(f"model?name={HANDED.model}")
        give_order(frame, name, f"{name} it, says a test")
        found = rollouts.read(HANDED, stack.settings)
        assert (found.status, found.actor) == (status, "admin")
        entry = action_of(stack, HANDED, name.lower())
        assert (entry.actor, entry.reason) == ("admin", f"{name} it, says a test")
        run = stack.client.run(entry.details["dag"], entry.details["run"])
        assert (run["state"], run["triggering_user_name"]) == ("success", "admin")
        assert run["note"] == f"{name.lower()}: {name} it, says a test"
    assert "challenger" not in aliases(stack, HANDED)
    assert found.stage == 1
    before = aliases(stack, HANDED)
    give_order(visit(f"model?name={HANDED.model}"), "Revert", "the other one was better")
    after = aliases(stack, HANDED)
    assert (after["champion"], after["previous"]) == (before["previous"], before["champion"])


def ask_for_training(stack, visit, as_of):
    """Ask for one by the form; the id of the run, which waits for a person's word."""
    frame = visit(f"model?name={APPROVED.model}")
    frame.get_by_role("button", name="Retrain").click()
    dialog = frame.get_by_role("dialog")
    dialog.get_by_label("Know only what was known at").fill(as_of)
    dialog.get_by_label("Trials").fill("1")
    dialog.get_by_label("Train even if nothing has changed").check()
    dialog.get_by_label("Reason").fill("a test wants one")
    dialog.get_by_role("button", name="Start the training").click()
    expect(dialog).to_contain_text("was asked for", timeout=SOON_MS)
    run_id = action_of(stack, APPROVED, "retrain").details["run"]
    run = stack.client.run("train_flight_approved", run_id)
    assert run["conf"]["trials"] == 1
    assert run["triggering_user_name"] == "admin"
    deadline = time.monotonic() + 240
    while stack.tasks("train_flight_approved", run_id)["approve"]["state"] != "awaiting_input":
        assert time.monotonic() < deadline, stack.explain("train_flight_approved", run_id)
        assert stack.client.run("train_flight_approved", run_id)["state"] in {"queued", "running"}
        time.sleep(1)
    return run_id


@pytest.mark.parametrize(("word", "as_of"), [("Decline", "2013-02-05"), ("Approve", "2013-02-06")])
def test_training_is_asked_for_and_a_person_decides(stack, visit, word, as_of):
    before = aliases(stack, APPROVED)
    run_id = ask_for_training(stack, visit, as_of)
    frame = visit(f"model?name={APPROVED.model}")
    expect(frame.get_by_text("Make the new version of flight_approved champion?").first).to_be_visible(timeout=SOON_MS)
    give_order(frame, word, f"{word} it, says a test")
    assert action_of(stack, APPROVED, word.lower()).reason == f"{word} it, says a test"
    verdict = next(row for row in ledger.history(APPROVED, stack.settings)
                   if row.kind == "verdict" and run_id in row.idempotency_key)  # fmt: skip
    assert (verdict.actor, verdict.details["asked"]) == ("admin", "a test wants one")
    is_champion = aliases(stack, APPROVED).get("champion") == str(verdict.version)
    assert is_champion == (word == "Approve")
    if not is_champion:
        assert aliases(stack, APPROVED) == before
        answer = [row for row in ledger.history(APPROVED, stack.settings) if row.kind == "approval"][-1]
        assert (answer.actor, answer.version, answer.reason) == ("admin", verdict.version, "promotion was not approved")
    links = stack.client.request(
        "GET", f"/dags/train_flight_approved/dagRuns/{run_id}/taskInstances/judge.register/links"
    )["extra_links"]
    assert links["Model page"] == (
        f"/plugin/models/ratchet/model?name={APPROVED.model}&version={verdict.version}#candidates"
    )


def test_alarm_is_acknowledged(stack, visit):
    incident = store.read_incidents(WATCHED, stack.settings)[-1]
    assert incident.is_open
    give_order(visit(f"model?name={WATCHED.model}"), "Acknowledge", "the airport was closed", ends="is acknowledged")
    entry = notes.read_acknowledged(WATCHED.model, stack.settings)[WATCHED]
    assert (entry.actor, entry.reason, entry.details["incident"]) == (
        "admin", "the airport was closed", incident.number,
    )  # fmt: skip
    expect(visit(f"model?name={WATCHED.model}").get_by_text("the airport was closed").first).to_be_visible()


def test_request_is_found_replayed_and_asked_of_another_version(visit):
    frame = visit(f"requests?name={HANDED.model}&version=1")
    frame.locator("tbody tr").first.get_by_role("link").first.click()
    expect(frame.get_by_role("heading", name="Ask again")).to_be_visible(timeout=SOON_MS)
    expect(frame.get_by_text("scheduled_departure").first).to_be_visible()
    frame.get_by_label("Compare with version").fill("2")
    frame.get_by_role("button", name="Replay").click()
    expect(frame.get_by_text("Identical to the bit.")).to_be_visible(timeout=RUN_MS)
    expect(frame.get_by_text("Version 2", exact=False).last).to_be_visible()
