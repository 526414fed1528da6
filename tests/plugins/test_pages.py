"""The Models pages' server: who sees what, who may do what, and that nothing is said twice or lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from include.ratchet.monitoring import notes
from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.spec import ModelKey
from include.ratchet.spec.scaffold import make_model
from tests.include.ratchet.views.filled import fill, hand_over, incident, open_incidents
from tests.plugins.conftest import headers_of

API = "/ratchet/api/v1"
NAME = "orders"
KEY = ModelKey(NAME)
HOSTILE = "<img src=x onerror=alert(1)>/\"'🦊"
READS = ("", "/segments", "/timeline", "/series", "/drift", "/candidates", "/reports", "/records", "/questions")
ASKED = {"reason": "because of Monday", "once": "0123-4567-89ab"}
ORDERS = {
    "actions/retrain": ASKED, "actions/look": ASKED, "actions/advance": ASKED, "actions/pause": ASKED,
    "actions/resume": ASKED, "actions/revert": ASKED, "replay": {"request_id": "r1", "once": ASKED["once"]},
    "approval": {**ASKED, "dag": f"train_{NAME}", "run": "r", "task": "approve", "is_approved": True},
    "acknowledgement": {**ASKED, "incident": 1}, "silence": {**ASKED, "hours": 8},
}  # fmt: skip


@pytest.fixture
def filled(settings, monkeypatch):
    """One model with its database; Airflow has no DAG of it."""
    models = settings.home / "models"
    monkeypatch.setenv("RATCHET_MODELS_DIR", str(models))
    make_model(models, NAME)
    upgrade(settings.database_url)
    fill(settings, [KEY, ModelKey(NAME, HOSTILE)])
    yield settings
    engine_of(settings.database_url).dispose()


@pytest.fixture
def admin(server):
    return headers_of("ada", "admin")


def get(server, headers, path="", **params):
    return server.get(f"{API}/models/{NAME}{path}", headers=headers, params=params)


def post(server, headers, path, body=None, **params):
    return server.post(f"{API}/models/{NAME}/{path}", headers=headers, json=body or ORDERS[path], params=params)


def test_pages_have_a_strict_policy_and_a_login(server, login, filled):
    for page in ("models", "model", "requests"):
        answer = server.get(f"/ratchet/{page}", headers=login)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "unsafe" not in policy
        assert server.get(f"/ratchet/{page}").status_code == 401
        assert server.get(f"/ratchet/{page}", headers={"Accept": "text/html"}).status_code == 303
    assert server.get("/ratchet/other", headers=login).status_code == 404
    assert server.get("/ratchet/", headers=login).headers["location"] == "models"


def test_no_page_has_a_script_or_style_of_its_own(server, login, filled):
    text = server.get("/ratchet/models", headers=login).text
    assert "<style" not in text
    assert "style=" not in text
    assert text.count("<script") == text.count(' src="static/') > 0
    assert "http" not in text


def test_scripts_come_from_the_installed_package(server):
    answer = server.get("/ratchet/static/plotly.js")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "plotly.js v2" in answer.text[:200]
    for path in ("..%2fapp.py", "%2e%2e/app.py", "nothing.js"):
        assert server.get(f"/ratchet/static/{path}").status_code == 404


def test_the_schema_of_our_facet_is_where_events_say_it_is(server):
    from include.ratchet.exports.facets import SCHEMA

    found = server.get(f"/ratchet/facets/{SCHEMA}")
    assert found.status_code == 200
    assert "ModelVersionDatasetFacet" in found.json()["$defs"]
    assert server.get("/ratchet/facets/..%2ffacets.py").status_code == 404


def test_fleet_lists_what_the_folder_and_airflow_have(server, login, filled):
    page = server.get(f"{API}/models", headers=login, params={"search": NAME}).json()
    (row,) = page["rows"]
    # The tests' Airflow has not parsed any of its DAGs.
    assert (row["model"], row["health"], row["champion"], row["segments"]) == (NAME, "broken", 3, 1)
    assert page["total"] == 1
    assert server.get(f"{API}/models", headers=login, params={"limit": 0}).status_code == 422
    assert server.get(f"{API}/models", headers=login, params={"sort": "luck"}).status_code == 422


def test_every_read_answers_and_needs_the_right_to_read(server, login, filled):
    for path in READS:
        answer = get(server, login, path)
        assert answer.status_code == 200, (path, answer.text)
        assert get(server, {}, path).status_code == 401
        assert get(server, headers_of("nobody", None), path).status_code == 403
    assert server.get(f"{API}/models", headers=headers_of("nobody", None)).json()["rows"] == []


def test_model_says_what_the_caller_may_do(server, login, admin, filled):
    assert get(server, login).json()["may"] == dict.fromkeys(("retrain", "rollout", "approve", "replay", "note"), False)
    assert get(server, admin).json()["may"] == dict.fromkeys(("retrain", "rollout", "approve", "replay", "note"), True)


@pytest.mark.parametrize("order", ORDERS)
def test_viewer_is_refused_every_order(server, login, filled, order):
    answer = post(server, login, order)
    assert answer.status_code == 403
    assert "may not act on" in answer.json()["detail"]
    assert post(server, {}, order).status_code == 401
    assert not any(row.actor == "reader" for row in ledger.history(KEY, filled))


@pytest.mark.parametrize("order", ORDERS)
def test_order_of_another_site_is_refused(server, admin, filled, order):
    answer = post(server, {**admin, "Sec-Fetch-Site": "cross-site"}, order)
    assert (answer.status_code, answer.json()["detail"]) == (403, "this was asked for by another site")


@pytest.mark.parametrize("order", [name for name in ORDERS if name != "replay"])
@pytest.mark.parametrize("body", [{}, {"reason": "  a  "}, {"reason": "x" * 1001}, {"once": "no"}, {"more": 1}])
def test_order_without_a_reason_or_a_name_is_refused(server, admin, filled, order, body):
    changed = {**ORDERS[order], **body} if body else {}
    assert server.post(f"{API}/models/{NAME}/{order}", headers=admin, json=changed).status_code == 422
    assert not any(row.actor == "ada" for row in ledger.history(KEY, filled))


@pytest.mark.parametrize("order", ["actions/retrain", "actions/revert", "replay", "approval"])
def test_what_airflow_refuses_is_said_in_its_words_and_not_entered(server, admin, filled, order):
    answer = post(server, admin, order)
    assert answer.status_code == 404
    assert NAME in json.dumps(answer.json())
    assert not any(row.kind == "action" for row in ledger.history(KEY, filled))


def test_approval_of_another_models_run_is_refused(server, admin, filled):
    answer = post(server, admin, "approval", {**ORDERS["approval"], "dag": "train_secret"})
    assert answer.status_code == 422
    assert "train_secret" in answer.json()["detail"]


def test_acknowledgement_is_entered_once_with_who_when_and_why(server, admin, filled):
    open_incidents(filled, incident(KEY))
    assert post(server, admin, "acknowledgement").json()["message"] == "incident 1 is acknowledged"
    assert post(server, admin, "acknowledgement").status_code == 200
    rows = [row for row in ledger.history(KEY, filled) if row.kind == "acknowledgement"]
    assert [(row.actor, row.reason) for row in rows] == [("ada", "because of Monday")]
    assert datetime.now(UTC) - rows[0].recorded_at < timedelta(minutes=5)
    shown = get(server, admin).json()["model"]["incidents"][0]
    assert (shown["acknowledged_by"], shown["note"]) == ("ada", "because of Monday")
    other = post(server, admin, "acknowledgement", {**ASKED, "incident": 7})
    assert other.status_code == 404
    assert "incident 7 is not open; open: 1" in other.json()["detail"]


def test_silence_is_shown_and_ended(server, admin, filled):
    post(server, admin, "silence")
    assert get(server, admin).json()["model"]["silence"]["by"] == "ada"
    assert get(server, admin, segment=HOSTILE).json()["model"]["silence"]["by"] == "ada"
    assert post(server, admin, "silence", {**ASKED, "once": "another-word", "hours": 0}).status_code == 200
    assert get(server, admin).json()["model"]["silence"] is None
    assert notes.read_silences(NAME, filled, datetime.now(UTC)) == {}


def test_hostile_segment_is_found_by_its_name(server, login, filled):
    (row,) = get(server, login, "/segments").json()["rows"]
    assert row["segment"] == HOSTILE
    assert get(server, login, segment=HOSTILE).json()["model"]["row"]["champion"] == 3
    assert get(server, login, "/timeline", segment=HOSTILE).json()["total"] == 3


def test_handover_shows_its_stages_and_numbers(server, login, filled):
    hand_over(filled, KEY, numbers={"champion": {"rows": 10, "loss": {"mean": float("nan")}}})
    shown = get(server, login).json()["model"]["rollout"]
    assert (shown["stages"], shown["stage"]) == (["shadow", "canary 25 %", "canary 100 %"], 1)
    assert shown["evidence"] == {"champion": {"rows": 10, "loss": {"mean": None}}}


def test_unknown_model_and_broken_spec_are_said(server, login, filled):
    answer = server.get(f"{API}/models/ordres", headers=login)
    assert answer.status_code == 404
    assert "did you mean 'orders'" in answer.json()["detail"]
    path = filled.home / "models" / NAME / "model.yaml"
    path.write_text(path.read_text().replace("task: binary", "task: guess"))
    page = get(server, login).json()["model"]
    assert page["spec"] is None
    assert "model.yaml" in page["problem"]
    assert "task: found 'guess'" in page["problem"]
    assert get(server, login, "/series").status_code == 422


def test_version_that_is_not_there_and_silent_registry_are_said(server, login, filled, mlflow_url, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    answer = get(server, login, "/candidates/99")
    assert answer.status_code == 404
    assert "has no version 99" in answer.json()["detail"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert get(server, login, "/candidates/1").status_code == 502


def test_day_that_nobody_looked_at_and_record_that_is_not_there_are_said(server, login, filled):
    answer = get(server, login, "/distribution", partition="2030-01-01", column="price")
    assert answer.status_code == 404
    assert "nobody has looked at 2030-01-01" in answer.json()["detail"]
    answer = get(server, login, "/record", request_id=HOSTILE)
    assert answer.status_code == 404
    assert "found no record" in answer.json()["detail"]


def test_api_describes_itself(server, filled):
    found = server.get(f"{API}/openapi.json").json()
    paths = found["paths"]
    assert {f"/models/{{model}}{path}" for path in READS} <= set(paths)
    for operations in paths.values():
        for operation in operations.values():
            assert operation["description"]
            assert operation["responses"]["200"]["content"]["application/json"]["schema"]


def test_segment_with_every_sign_reaches_the_engine_as_it_is(server, login, filled):
    name = "100 % \\ / ? # & + ~1 \u202eevil"
    answer = server.get(f"{API}/models/{NAME}?segment={quote(name, safe='')}", headers=login)
    assert answer.json()["model"]["row"]["segment"] == name
