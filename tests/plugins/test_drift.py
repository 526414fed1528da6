"""Reports of what moved, in the browser: drawn by a script of their own, in a sandbox that reaches nothing."""

from __future__ import annotations

import pytest

from include.ratchet.data.blobs import open_blobs
from include.ratchet.monitoring.report import PAGE, report_path
from include.ratchet.spec import ModelKey
from tests.plugins.conftest import headers_of

ADDRESS = "/ratchet/drift/orders/2026-03-01/"


@pytest.fixture
def page(settings):
    store = open_blobs(settings)
    store.put(report_path(ModelKey("orders"), "2026-03-01", PAGE), b"<h1>moved</h1><script>draw()</script>")
    store.put("monitoring/secret/report.html", b"secret")
    return ADDRESS


def test_report_is_served_in_a_sandbox(server, login, page):
    answer = server.get(page, headers=login)
    assert answer.status_code == 200
    assert answer.text.startswith("<h1>moved</h1>")
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["sandbox"] == "allow-scripts"  # of no origin: it has no cookie and reads no page
    assert policy["default-src"] == "'none'"
    assert not {"connect-src", "form-action", "object-src"} & set(policy)


def test_report_needs_a_login_and_the_right_to_see_the_dag(server, page):
    assert server.get(page).status_code == 401
    assert server.get(page, headers=headers_of("nobody", None)).status_code == 403


@pytest.mark.parametrize("path", ["orders/2026-03-02/", "secret/..%2f..%2fsecret/", "..%2fsecret/x/"])
def test_what_was_not_drawn_is_not_there(server, login, page, path):
    answer = server.get(f"/ratchet/drift/{path}", headers=login)
    assert answer.status_code == 404
    assert "secret</" not in answer.text
    assert answer.text != "secret"
