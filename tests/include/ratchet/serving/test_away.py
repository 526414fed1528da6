"""The database is away: who was known goes on, and the rest is told to come again."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy.exc import OperationalError

from include.ratchet.rollout import store
from include.ratchet.serving import deployments, keys
from include.ratchet.serving.keys import add_key, remove_key
from tests.include.ratchet.serving.conftest import AS_OF, MODEL, make_rows

pytestmark = pytest.mark.filterwarnings("default")
PATH = f"/v1/models/{MODEL}/predict"


def fail_slowly(*_):
    time.sleep(0.5)
    message = "SELECT a secret"
    raise OperationalError(message, {}, OSError("connection refused"))


def test_known_keys_go_on_at_once_while_the_database_is_away(serve, settings, monkeypatch):
    key = add_key("caller", ["predict"], AS_OF, settings)
    served = serve(auth="on")
    served.client.headers["X-API-Key"] = key
    assert served.predict(make_rows(1)).status_code == 200
    is_asked, is_over = threading.Event(), threading.Event()

    def hang(*_):
        is_asked.set()
        is_over.wait()
        fail_slowly()

    with monkeypatch.context() as away:
        away.setattr(keys, "engine_of", hang)
        try:
            assert is_asked.wait(10)
            # The database says nothing until the last of them has its answer: none can have waited for it.
            assert [served.predict(make_rows(1)).status_code for _ in range(20)] == [200] * 20
        finally:
            is_over.set()
    remove_key("caller", settings)
    served.wait_for(lambda: served.predict(make_rows(1)).status_code == 401, timeout_s=3)


def test_keys_that_could_never_be_read_are_503_until_they_can(serve, settings, monkeypatch):
    key = {"X-API-Key": add_key("caller", ["predict"], AS_OF, settings)}
    body = {"rows": make_rows(1)}
    with monkeypatch.context() as away:
        away.setattr(keys, "engine_of", fail_slowly)
        served = serve(auth="on")
        answer = served.client.post(PATH, json=body, headers=key)
        assert (answer.status_code, answer.json()["error"]) == (503, "no_database")
        assert "no API key is known yet; try again" in answer.json()["message"]
        assert answer.headers["retry-after"]
        assert served.client.post(PATH, json=body).status_code == 401
    served.wait_for(lambda: served.client.post(PATH, json=body, headers=key).status_code == 200)


def test_what_needs_the_database_is_told_to_come_again(serve, monkeypatch):
    served = serve()
    with monkeypatch.context() as away:
        away.setattr(deployments, "read_routes", fail_slowly)
        away.setattr(store, "read_active", fail_slowly)
        for answer in (served.predict(make_rows(1)), served.client.get(f"/v1/models/{MODEL}/rollout")):
            assert (answer.status_code, answer.json()["error"]) == (503, "no_database")
            assert answer.headers["retry-after"]
            assert "SELECT" not in answer.text
    assert served.predict(make_rows(1)).status_code == 200
