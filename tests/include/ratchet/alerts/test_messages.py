"""Messages keep to Slack's limits whatever models and data are called, and are told once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ratchet.alerts.blocks import escape
from include.ratchet.alerts.messages import (
    Message,
    deadline_message,
    failure_message,
    fleet_message,
    verdict_message,
    warning_message,
)
from include.ratchet.alerts.outbox import is_told, tell
from include.ratchet.evaluation.gates import judge
from include.ratchet.evaluation.verdict import GateResult, Verdict
from include.ratchet.spec import ModelKey
from include.ratchet.validation import ValidationReport
from include.ratchet.validation.reports import Finding
from tests.include.ratchet.evaluation.test_gates import GOOD, PLAIN, spec
from tests.include.ratchet.training.data import make_settings
from tests.slack import find_breach

NOW = datetime(2020, 3, 1, tzinfo=UTC)
LINKS = {"run": "http://127.0.0.1/run?a=1&b=2", "model card": "http://127.0.0.1/card"}


def body(message: Message) -> dict:
    return {"channel": "#models", "text": message.text, "blocks": json.dumps(message.blocks)}


@pytest.mark.parametrize("outcome", ["promote", "hold", "reject", "declined"])
def test_verdict_shows_gates_candidate_champion_and_links(tmp_path, outcome):
    one = spec(tmp_path)
    verdict = judge(one, replace(GOOD, size_mb=9.0), PLAIN)
    message = verdict_message(one, ModelKey("orders"), "run-1", outcome, 7, verdict, GOOD, LINKS)
    text = json.dumps(message.blocks)
    assert "version 7" in message.text
    for words in ("size", "9.00 MB", "0.7000 [0.6800, 0.7200]", "champion (version 3)", "model card", "minimum sample"):
        assert words in text
    assert find_breach(body(message)) is None


@given(name=st.text(min_size=1, max_size=400), rows=st.integers(1, 80))
def test_messages_keep_to_the_limits_and_hold_no_markup_of_data(tmp_path_factory, name, rows):
    one = spec(tmp_path_factory.mktemp("m"))
    gates = tuple(GateResult(name, False, name * 3, name, "reject") for _ in range(rows))
    key = ModelKey("orders", name)
    for message in (
        verdict_message(one, key, "r", "reject", 1, Verdict("reject", gates), GOOD, {name: "http://x"}),
        failure_message(one, "train_orders", "r", name, name * 50, "http://x"),
        deadline_message(one, "train_orders", "r", "4h", "http://x"),
        warning_message(one, "r", [warned(name, rows)], "http://x"),
        fleet_message(one, name, name, {name * 20: [(key, name * 9)] * rows, "none": []}, {name: "http://x"}),
        fleet_message(one, name, name, {f"{name}{place}": [(key, "")] for place in range(rows)}, {}, is_grave=True),
    ):
        assert find_breach(body(message)) is None


def warned(name: str, count: int) -> ValidationReport:
    findings = tuple(Finding("expect_x", name, f"found {name}") for _ in range(count))
    return ValidationReport("orders", name, name, "r", "2020-03-01", 10, count, (), findings, "a", "b")


def test_message_about_many_counts_those_that_it_does_not_list(tmp_path):
    one = spec(tmp_path)
    keys = [(ModelKey("orders", f"S{number}"), "surely worse") for number in range(500)]
    message = fleet_message(one, "what", "500 went back", {"went back": keys}, LINKS)
    assert (message.key, message.model) == ("fleet:orders:what", "orders")
    assert message.text.startswith("orders: 500 went back. went back: S0: surely worse; S1: ")
    assert message.text.endswith("S19: surely worse; and 480 more")
    assert find_breach(body(message)) is None


def test_markup_in_data_is_text():
    assert escape("<!channel> & <http://evil|click>") == "&lt;!channel&gt; &amp; &lt;http://evil|click&gt;"


def test_alert_is_kept_and_told_once(tmp_path):
    settings, message, sent = make_settings(tmp_path), Message("k", "orders", "text", ()), []

    def send(one: Message) -> str:
        sent.append(one)
        return "sent"

    assert not is_told("orders", "k", settings)
    assert tell(message, send, settings, NOW) == "sent"
    assert tell(message, send, settings, NOW) == "told before"
    assert sent == [message]
    assert is_told("orders", "k", settings)
    (path,) = (tmp_path / "store/alerts/orders").iterdir()
    kept = json.loads(path.read_text())
    assert (kept["text"], kept["outcome"], kept["kept_at"]) == ("text", "sent", NOW.isoformat())


def test_alert_whose_telling_was_cut_off_is_told_again(tmp_path):
    settings, message = make_settings(tmp_path), Message("k", "orders", "text", ())

    def die(_: Message) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tell(message, die, settings, NOW)
    assert not is_told("orders", "k", settings)
    assert tell(message, lambda _: "sent", settings, NOW) == "sent"
