"""Validation pages in the browser: who may read them, what they may do, and that nothing else can be read."""

from __future__ import annotations

import http.client
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from include.ratchet.data.blobs import open_blobs
from tests.plugins.conftest import headers_of

PAGE = "/ratchet/reports/orders/orders/2013-01-01..2013-01-31/scheduled__2013-02-01/index.html"
PATH = PAGE.removeprefix("/ratchet/reports/")


@pytest.fixture
def page(settings):
    store = open_blobs(settings)
    store.put(f"validation/{PATH}", b"<h1>fine</h1><script>alert(1)</script>")
    store.put(f"validation/{PATH.replace('index.html', 'results.json')}", b'{"passed": true}')
    store.put("runs/secret/index.html", b"secret")
    store.put("validation/orders/secret.txt", b"secret")
    (settings.home / "passwords.json").write_text("secret")
    return PAGE


def test_page_is_served_to_who_is_logged_in(server, login, page):
    answer = server.get(page, headers=login)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text.startswith("<h1>fine</h1>")
    results = server.get(page.replace("index.html", "results.json"), headers=login)
    assert results.json() == {"passed": True}


def test_page_may_run_nothing(server, login, page):
    headers = server.get(page, headers=login).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert not {"script-src", "connect-src", "object-src"} & set(policy)
    assert policy["form-action"] == policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert "private" in headers["cache-control"]


def test_program_without_login_is_refused(server, page):
    answer = server.get(page)
    assert answer.status_code == 401
    assert "fine" not in answer.text


def test_wrong_token_is_refused(server, page):
    answer = server.get(page, headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code in {401, 403}
    assert "fine" not in answer.text


def test_person_without_login_is_sent_there_and_back(server, page):
    answer = server.get(page, headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 303
    assert "fine" not in answer.text
    where = urlsplit(answer.headers["location"])
    assert where.netloc == server.base_url.netloc.decode()
    assert urlsplit(parse_qs(where.query)["next"][0]).path == page
    assert server.get(answer.headers["location"]).status_code == 307  # Airflow takes the address and hands it on


def test_login_without_rights_is_refused(server, page):
    answer = server.get(page, headers=headers_of("nobody", None))
    assert answer.status_code == 403
    assert "fine" not in answer.text


def test_cookie_of_the_ui_is_enough(server, login, page):
    token = login["Authorization"].removeprefix("Bearer ")
    answer = server.get(page, headers={"Cookie": f"_token={token}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(server, login, page, method):
    assert server.request(method, page, headers=login).status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "../../passwords.json",
        "..%2f..%2fpasswords.json",
        "orders/../../runs/secret/index.html",
        "orders/%2e%2e/%2e%2e/runs/secret/index.html",
        "orders/..%2f..%2fruns/secret/x/index.html",
        "%2e%2e/runs/secret/x/index.html",
        "orders/secret.txt",
        "orders/orders/day/run/../../../secret.txt",
        "orders/orders/day/run%00/index.html",
        "orders/orders/day/run/index.html%00.txt",
        "orders\\..\\..\\runs/a/b/c/index.html",
        "/etc/a/b/c/index.html",
    ],
)
def test_nothing_outside_is_read(server, login, page, path):
    status, text = get_raw(server, f"/ratchet/reports/{path}", login)
    assert status == 404
    assert "secret" not in text


PARTS = ["..", ".", "orders", "runs", "secret", "", "%", "a/b", "..\\", "\0"]


@effort(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(parts=st.lists(st.sampled_from(PARTS), min_size=4, max_size=4))
def test_no_path_leads_outside(server, login, page, parts):
    path = "/".join(quote(part, safe="") for part in parts)
    for sent in (path, "/".join(part.replace("\0", "%00") for part in parts)):
        status, text = get_raw(server, f"/ratchet/reports/{sent}/index.html", login)
        assert status in {400, 404}
        assert text != "secret"


def get_raw(server, path, headers):
    """A request whose path no client puts in order."""
    connection = http.client.HTTPConnection(server.base_url.host, server.base_url.port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_missing_page_says_which(server, login, settings):
    answer = server.get(PAGE, headers=login)
    assert answer.status_code == 404
    assert "orders 2013-01-01..2013-01-31" in answer.json()["detail"]
