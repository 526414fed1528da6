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
from tests.browser import open_browser, watch

pytestmark = pytest.mark.system

HANDED, APPROVED, WATCHED = (ModelKey(name) for name in ("flight_handed", "flight_approved", "flight_watched"))
SOON_MS, RUN_MS = 20_000, 240_000


@pytest.fixture(scope="module")
def visit(stack):
    """Opens a page in Airflow's frame, as somebody who logged in as people do."""
    with open_browser() as browser:
        context = browser.new_context(viewport={"width": 1400, "height": 900}, base_url=stack.layout.airflow_url)
        page = context.new_page()
        page.goto("/")
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", stack.layout.secrets["admin"])
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url)
        complaints = watch(page)

        def open_page(path):
            page.goto(f"/plugin/models/ratchet/{path}")
            frame = page.frame_locator("iframe[title=Models]")
            expect(frame.get_by_role("heading", level=1)).to_be_visible(timeout=SOON_MS)
            return frame

        yield open_page
        context.close()
        assert complaints == []


def order(frame, name, reason, ends="The run has ended well."):
    """Give an order, confirm it with a reason, and wait until its run is over."""
    frame.get_by_role("button", name=name, exact=True).first.click()
    dialog = frame.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(reason)
    dialog.locator("button[type=submit]").click()
    expect(dialog).to_contain_text(ends, timeout=RUN_MS)


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
        order(frame, name, f"{name} it, says a test")
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
    order(visit(f"model?name={HANDED.model}"), "Revert", "the other one was better")
    after = aliases(stack, HANDED)
    assert (after["champion"], after["previous"]) == (before["previous"], before["champion"])


def test_training_is_asked_for_and_approved(stack, visit):
    frame = visit(f"model?name={APPROVED.model}")
    frame.get_by_role("button", name="Retrain").click()
    dialog = frame.get_by_role("dialog")
    dialog.get_by_label("Know only what was known at").fill("2013-02-05")
    dialog.get_by_label("Trials").fill("1")
    dialog.get_by_label("Train even if nothing has changed").check()
    dialog.get_by_label("Reason").fill("a test wants one")
    dialog.get_by_role("button", name="Start the training").click()
    expect(dialog).to_contain_text("was asked for", timeout=SOON_MS)
    entry = action_of(stack, APPROVED, "retrain")
    run_id = entry.details["run"]
    run = stack.client.run("train_flight_approved", run_id)
    assert run["conf"]["trials"] == 1
    assert run["triggering_user_name"] == "admin"
    while stack.tasks("train_flight_approved", run_id)["approve"]["state"] != "awaiting_input":
        assert stack.client.run("train_flight_approved", run_id)["state"] in {"queued", "running"}
        time.sleep(1)
    frame = visit(f"model?name={APPROVED.model}")
    expect(frame.get_by_text("Make the new version of flight_approved champion?").first).to_be_visible(timeout=SOON_MS)
    order(frame, "Approve", "its gates are fine")
    verdict = next(row for row in ledger.history(APPROVED, stack.settings)
                   if row.kind == "verdict" and run_id in row.idempotency_key)  # fmt: skip
    assert (verdict.actor, verdict.details["asked"]) == ("admin", "a test wants one")
    assert aliases(stack, APPROVED)["champion"] == str(verdict.version)
    assert action_of(stack, APPROVED, "approve").reason == "its gates are fine"
    links = stack.client.request(
        "GET", f"/dags/train_flight_approved/dagRuns/{run_id}/taskInstances/judge.register/links"
    )["extra_links"]
    assert links["Model page"] == (
        f"/plugin/models/ratchet/model?name={APPROVED.model}&version={verdict.version}#candidates"
    )


def test_alarm_is_acknowledged(stack, visit):
    incident = store.read_incidents(WATCHED, stack.settings)[-1]
    assert incident.is_open
    order(visit(f"model?name={WATCHED.model}"), "Acknowledge", "the airport was closed", ends="is acknowledged")
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
