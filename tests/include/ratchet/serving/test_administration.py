"""Going back and handing over by the API, while the service answers."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import text

from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of
from include.ratchet.registry.ledger import AliasState
from include.ratchet.rollout import actions
from include.ratchet.rollout.machine import Decision
from include.ratchet.rollout.orders import Order
from include.ratchet.serving.alarms import report_refused
from include.ratchet.serving.keys import add_key
from include.ratchet.spec import ModelKey, get_model
from tests.include.ratchet.serving.conftest import AS_OF, KEY, MODEL, make_rows
from tests.ports import free_port

pytestmark = pytest.mark.filterwarnings("default")
PATH = f"/v1/models/{MODEL}"
WHY = {"reason": "complaints about Monday"}


def version_of(served):
    return served.predict(make_rows(1)).json()["predictions"][0]["version"]


def champion(settings):
    return ledger.read_aliases(KEY, settings)["champion"].version


def begin(settings):
    """Version 1 is being handed over to, in a canary without a shadowed stage."""
    path = settings.models_dir / MODEL / "model.yaml"
    path.write_text(path.read_text() + "rollout: {strategy: canary, shadow_first: false, steps: [25, 100]}\n")
    model = get_model(settings.models_dir, MODEL)
    actions.start(settings, model, KEY, AliasState(1, AS_OF), Order("test", "a trial", AS_OF), AS_OF)


def test_revert_takes_effect_within_two_seconds_under_load_and_is_kept_in_the_callers_name(serve, settings):
    key = add_key("operator", ["admin"], AS_OF, settings)
    served = serve(auth="on", poll_s=0.5)
    served.client.headers["X-API-Key"] = key
    assert version_of(served) == 2
    answers, stop = [], threading.Event()

    def call():
        while not stop.is_set():
            answers.append(served.predict(make_rows(1)))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    moved = []
    asked = threading.Thread(target=lambda: moved.append(served.client.post(f"{PATH}/revert", json=WHY)))
    asked.start()
    # From the alias on: what comes after it, MLflow's aliases, is nobody's wait.
    served.wait_for(lambda: champion(settings) == 1, timeout_s=10)
    served.wait_for(lambda: version_of(served) == 1, timeout_s=2)
    asked.join()
    stop.set()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert moved[0].status_code == 200, moved[0].text
    assert moved[0].json()["words"].startswith(f"champion of {MODEL} is version 1 again")
    assert moved[0].json()["rollout"]["aliases"] == {"champion": 1, "previous": 2}
    assert moved[0].json()["is_registry_behind"] is False
    entry = ledger.history(KEY, settings)[-1]
    assert (entry.kind, entry.version, entry.actor, entry.reason) == ("revert", 1, "operator", WHY["reason"])


def test_same_order_sent_again_goes_back_once(serve, settings):
    served = serve()
    for _ in range(2):
        answer = served.client.post(f"{PATH}/revert", json=WHY, headers={"X-Request-Id": "monday"})
        assert answer.json()["rollout"]["aliases"]["champion"] == 1
    assert [entry.actor for entry in ledger.history(KEY, settings) if entry.kind == "revert"] == ["anybody"]


def test_only_admins(serve, settings):
    caller = add_key("caller", ["predict", "feedback"], AS_OF, settings)
    served = serve(auth="on")
    for method, path in (("POST", "revert"), ("POST", "rollout/pause"), ("GET", "rollout")):
        assert served.client.request(method, f"{PATH}/{path}", json=WHY).status_code == 401
        refused = served.client.request(method, f"{PATH}/{path}", json=WHY, headers={"X-API-Key": caller})
        assert refused.status_code == 403
        assert "expected admin" in refused.json()["message"]
    assert champion(settings) == 2


def test_nothing_to_go_back_to_says_so(serve, settings):
    with engine_of(settings.database_url).begin() as connection:
        connection.execute(text("DELETE FROM aliases WHERE alias = 'previous'"))
    answer = serve().client.post(f"{PATH}/revert", json=WHY)
    assert (answer.status_code, answer.json()["error"]) == (409, "nothing_to_revert")
    assert f"see ./ratchet history {MODEL}" in answer.json()["message"]


@pytest.mark.parametrize("action", ["look", "advance", "pause", "resume", "revert"])
def test_without_a_hand_over_there_is_no_step(serve, action):
    answer = serve().client.post(f"{PATH}/rollout/{action}", json=WHY)
    assert (answer.status_code, answer.json()["error"]) == (409, "no_such_step")
    assert f"no version of {MODEL} is being handed over; see" in answer.json()["message"]


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": 1}, {"reason": "a\u0000b"}, {**WHY, "version": 1}])
def test_order_that_is_none_is_refused(serve, settings, body):
    assert serve().client.post(f"{PATH}/revert", json=body).status_code == 422
    assert champion(settings) == 2


def test_unknown_model(serve):
    served = serve()
    for answer in (served.client.post("/v1/models/orders/revert", json=WHY), served.client.get("/v1/models/a/rollout")):
        assert (answer.status_code, answer.json()["error"]) == (404, "unknown_model")


def test_hand_over_is_paused_resumed_advanced_and_taken_back(serve, settings):
    begin(settings)
    served = serve()
    stands = served.client.get(f"{PATH}/rollout").json()
    assert stands["weights"] == {"2": 0.75, "1": 0.25}
    assert (stands["route"]["mode"], stands["state"]["status"]) == ("canary", "running")
    assert stands["evidence"]["asks_for"] == "wait"
    assert stands["evidence"]["numbers"]["champion"]["version"] == 2
    found = []
    for action in ("pause", "resume", "look", "advance", "revert"):
        answer = served.client.post(f"{PATH}/rollout/{action}", json=WHY)
        assert answer.status_code == 200, answer.text
        found.append((answer.json()["rollout"]["state"]["status"], answer.json()["rollout"]["weights"]))
    assert found == [
        ("paused", {"2": 0.75, "1": 0.25}), ("running", {"2": 0.75, "1": 0.25}), ("running", {"2": 0.75, "1": 0.25}),
        ("running", {"2": 0.0, "1": 1.0}), ("reverted", {"2": 1.0}),
    ]  # fmt: skip
    kept = [(one.details["action"], one.actor) for one in ledger.history(KEY, settings) if one.kind == "rollout"]
    assert kept[1:] == [(action, "anybody") for action in ("pause", "resume", "advance", "revert")]
    assert served.client.get(f"{PATH}/rollout").json()["evidence"] is None


def test_revert_ends_a_hand_over_first(serve, settings):
    begin(settings)
    answer = serve().client.post(f"{PATH}/revert", json=WHY).json()
    assert "version 2 stays champion" in answer["words"]
    assert answer["rollout"]["aliases"] == {"champion": 2, "previous": 1}


def test_look_that_ended_a_hand_over_gives_the_same_answer_again(serve, settings, monkeypatch):
    begin(settings)
    monkeypatch.setattr(actions, "decide", lambda *_: Decision("revert", "version 1 is surely worse"))
    served = serve()
    first, again = (
        served.client.post(f"{PATH}/rollout/look", json=WHY, headers={"X-Request-Id": "one"}) for _ in range(2)
    )
    assert first.json()["rollout"]["state"]["status"] == "reverted"
    assert (again.status_code, again.json()) == (200, first.json())
    assert served.client.post(f"{PATH}/rollout/look", json=WHY, headers={"X-Request-Id": "two"}).status_code == 409


def test_every_move_is_told_once_and_nobody_waits_for_it(serve, settings):
    begin(settings)
    with registry(wait_s=1.0) as (url, told):
        served = serve(webhook=url)
        for name, path in (("look", "rollout/look"), ("a", "rollout/advance"), ("b", "revert"), ("c", "revert")):
            for _ in range(2):
                started = time.monotonic()
                answer = served.client.post(f"{PATH}/{path}", json=WHY, headers={"X-Request-Id": name})
                assert answer.status_code == 200, answer.text
                assert time.monotonic() - started < 1
                wait_for_alerts(served)
    assert [body["text"].partition(".")[0] for _, _, body in told] == [
        f"{MODEL}: hand-over to version 1 goes on: canary 100 %",
        f"{MODEL}: hand-over to version 1 was taken back in canary 100 %, production stays as it was",
        f"champion of {MODEL} is version 1 again; version 2 is the previous one",
    ]


def test_alert_that_cannot_be_sent_fails_nothing(serve, settings, monkeypatch):
    served = serve(webhook=f"http://127.0.0.1:{free_port()}")
    assert served.client.post(f"{PATH}/revert", json=WHY).status_code == 200
    wait_for_alerts(served)
    (kept,) = (settings.home / "store" / "alerts" / MODEL).iterdir()
    assert "not sent" in kept.read_text()


def wait_for_alerts(served):
    """Until each is told, or kept."""
    served.wait_for(lambda: all(one.name != "alert" for one in threading.enumerate()))


@contextmanager
def registry(wait_s: float = 0.0) -> Iterator[tuple[str, list]]:
    """A server that notes what it is told, such as MLflow's."""
    told = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.append((self.command, self.path, body))
            time.sleep(wait_s)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_DELETE = do_POST  # noqa: N815 - the name that the base class looks for

        def log_message(self, *words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", told
        server.shutdown()


@pytest.fixture
def bare(serve, settings, monkeypatch):
    """A service with both versions loaded, in an environment without MLflow and what else is Airflow's side."""
    served = serve()
    served.predict(make_rows(1), version=1)
    for name in list(sys.modules):
        if name.partition(".")[0] in ("mlflow", "airflow", "great_expectations"):
            monkeypatch.delitem(sys.modules, name)
    for name in ("mlflow", "airflow", "great_expectations"):
        monkeypatch.setitem(sys.modules, name, None)
    return served


def test_without_mlflows_client_its_server_is_told_over_http(bare, settings):
    with registry() as (url, told):
        bare.service.settings = replace(settings, mlflow_url=url)
        answer = bare.client.post(f"{PATH}/revert", json=WHY)
    assert answer.status_code == 200, answer.text
    assert answer.json()["is_registry_behind"] is False
    path = "/api/2.0/mlflow/registered-models/alias"
    assert sorted(told, key=str) == [
        ("DELETE", path, {"name": MODEL, "alias": "challenger"}),
        ("POST", path, {"name": MODEL, "alias": "champion", "version": "1"}),
        ("POST", path, {"name": MODEL, "alias": "previous", "version": "2"}),
    ]
    bare.wait_for(lambda: version_of(bare) == 1, timeout_s=2)


def test_registry_that_is_away_holds_nothing_up(bare, settings):
    bare.service.settings = replace(settings, mlflow_url=f"http://127.0.0.1:{free_port()}")
    started = time.monotonic()
    answer = bare.client.post(f"{PATH}/revert", json=WHY, headers={"X-Request-Id": "one"})
    assert answer.json()["is_registry_behind"] is True
    again = bare.client.post(f"{PATH}/revert", json=WHY, headers={"X-Request-Id": "one"})
    assert again.json()["rollout"]["aliases"] == {"champion": 1, "previous": 2}
    bare.wait_for(lambda: version_of(bare) == 1, timeout_s=2)
    assert time.monotonic() - started < 10


def test_versions_that_cannot_serve_are_told_one_after_the_other_and_nobody_waits(settings):
    with registry(wait_s=0.5) as (url, told):
        report = report_refused(settings, {"RATCHET_SLACK_WEBHOOK": f"{url}/hook"})
        started = time.monotonic()
        for key in (KEY, ModelKey(MODEL, "web"), KEY):
            report(key, 3, ValueError("no model"))
        assert time.monotonic() - started < 0.4
        deadline = time.monotonic() + 10
        while len(told) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.7)
    assert [body["text"].partition(",")[0] for _, _, body in told] == [
        f"{MODEL}: version 3 cannot serve", f"{MODEL}/web: version 3 cannot serve",
    ]  # fmt: skip
