"""`erase` and `audit` as people and scripts meet them."""

from __future__ import annotations

import json

import pytest

from tests.include.ratchet.cli.test_commands import ratchet


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An installation with a model of persons, of whom nothing has landed yet."""
    folder = tmp_path_factory.mktemp("trust")
    ratchet("new", "order_returns", "--json", home=folder)
    spec = folder / "models/order_returns/model.yaml"
    spec.write_text(f"{spec.read_text()}\nprivacy: {{subject: shop}}\n")
    return folder


def test_erasure_says_what_it_did_and_enters_it_in_the_ledger(home):
    words = ("erase", "order_returns", "--subject", "north shop", "--reason", "request 17")
    done = ratchet(*words, "--json", home=home)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["trained"] == []
    assert "each can still be made again" in told["promise"]
    ledger = json.loads(ratchet("history", "order_returns", "--json", home=home).stdout)
    assert [(row["kind"], row["reason"]) for row in ledger] == [("erasure", "request 17")]
    assert "north" not in json.dumps(ledger)


def test_erasure_wants_a_yes_a_person_and_a_reason_that_names_nobody(home):
    words = ("erase", "order_returns", "--subject", "north shop")
    asked = ratchet(*words, "--reason", "request 17", home=home)
    assert asked.returncode == 1
    assert "It cannot be undone" in asked.stderr
    named = ratchet(*words, "--reason", "north shop asked", "--yes", home=home)
    assert named.returncode == 2
    assert "it names the person" in named.stderr
    assert ratchet("erase", "order_returns", "--subject", "", "--reason", "x", "--yes", home=home).returncode == 2


def test_audit_of_a_model_that_never_answered_says_so(home, tmp_path):
    page = tmp_path / "audit.html"
    done = ratchet("audit", "order_returns", "--at", "2026-01-01T12:00", "--output", str(page), home=home)
    assert done.returncode == 0, done.stderr
    assert "none yet" in done.stderr
    assert "<table>" in page.read_text()
    told = json.loads(ratchet("audit", "order_returns", "--json", home=home).stdout)
    assert (told["answers"], told["champion"], told["versions"]) == (0, None, [])
    lost = ratchet("audit", "order_returns", "--request", "nobody", "--json", home=home)
    assert json.loads(lost.stdout)["error"] == "RecordNotFoundError"
