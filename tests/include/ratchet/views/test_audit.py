"""How an answer came about, asked afterwards of a model that has lived."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from include.ratchet.errors import RecordNotFoundError
from include.ratchet.registry import ledger
from include.ratchet.registry.card import render_html
from include.ratchet.registry.database import engine_of
from include.ratchet.registry.ledger import Entry
from include.ratchet.registry.versions import get_version
from include.ratchet.spec import ModelKey
from include.ratchet.views.audit import audit_model, render_audit
from tests.include.ratchet.replay.lived import AS_OF, KEY, live, read_orders, record

# MLflow 3.17 without its server warns of its own SQLAlchemy usage and leaves connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("default")

DAY = "2026-02-27"
NOON = datetime(2026, 2, 27, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    found = live(tmp_path_factory.mktemp("audited"))
    orders = read_orders(found, DAY, 200)
    record(found, orders.slice(0, 150), "early", version=1)
    record(found, orders.slice(150), "late", version=2, change=lambda row: row.update(score=row["score"] + 1e-9))
    entry = Entry(KEY, "revert", "revert:by-hand", "Ada", "the new one is <b>odd</b>", datetime.now(UTC), 1, AS_OF)
    ledger.move_champion(entry, 2, found.settings)
    yield found
    engine_of(found.settings.database_url).dispose()


def test_versions_that_answered_are_told_with_what_made_them(workspace):
    found = audit_model(workspace, KEY, NOON + timedelta(hours=12))
    assert found.answers == 200
    by_number = {one.number: one for one in found.versions}
    assert {number: (one.answers, one.identical) for number, one in by_number.items()} == {1: (150, 150), 2: (50, 0)}
    one, version = by_number[1], get_version(KEY, 1, workspace.settings)
    assert one.made["training set"] == version.lineage.snapshot
    assert one.made["training rows"] > 10_000
    assert one.made["table versions"] == dict(version.lineage.source_versions)
    assert one.code["lock"] == version.lineage.lock_hash
    assert one.here == ()
    assert one.gates
    assert one.outcome in {"promote", "hold", "reject"}
    assert [step.kind for step in one.trail] == ["verdict", "promotion", "revert"]
    assert one.approved_by == ("command line", "Ada")
    assert one.erased_rows == 0
    assert found.missing == ()


def test_only_what_was_predicted_by_then_is_looked_at(workspace):
    found = audit_model(workspace, KEY, NOON)
    assert 50 < found.answers < 150
    assert found.last <= NOON
    assert [one.number for one in found.versions] == [1]


def test_today_is_what_the_present_champion_would_say(workspace):
    at = NOON + timedelta(hours=12)
    assert ledger.read_aliases(KEY, workspace.settings)["champion"].version == 1
    today = audit_model(workspace, KEY, at).today
    assert (today.version, today.rows) == (1, 200)
    # Its own answers are the same bits, the other's are not.
    assert today.changed == 50
    assert 0 < today.largest_change < 1


def test_request_is_audited_by_its_id(workspace):
    found = audit_model(workspace, KEY, datetime.now(UTC), "late-3")
    assert (found.answers, [one.number for one in found.versions]) == (1, [2])
    assert found.at == found.first
    with pytest.raises(RecordNotFoundError, match="late-999"):
        audit_model(workspace, KEY, datetime.now(UTC), "late-999")


def test_without_answers_the_ledger_says_who_was_champion(workspace):
    now = datetime.now(UTC)
    found = audit_model(workspace, KEY, now)
    assert (found.answers, found.champion, found.today) == (0, 1, None)
    assert [(one.number, one.answers) for one in found.versions] == [(1, 0)]
    assert "was answered" in found.missing[0]
    before = audit_model(workspace, KEY, datetime(2020, 1, 1, tzinfo=UTC))
    assert (before.champion, before.versions, before.answers) == (None, (), 0)
    assert audit_model(workspace, ModelKey(KEY.model), now).key == str(KEY)


def test_page_is_harmless_and_json_holds_it_all(workspace):
    found = audit_model(workspace, KEY, NOON + timedelta(hours=12))
    page = render_html(render_audit(found), "Audit")
    for words in ("Version 1 of order_returns", "What would be answered today", "made again here", "Gates"):
        assert words in page
    assert "<b>odd" not in page
    assert "&lt;b&gt;odd" in page
    told = json.loads(json.dumps(found.to_dict(), default=str))
    assert told["versions"][0]["gates"][0]["name"]
