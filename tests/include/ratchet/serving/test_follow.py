"""The service follows champion and routes while it answers."""

from __future__ import annotations

import threading
import time

import pytest

from include.ratchet.data.records import RecordTable
from include.ratchet.errors import WarmUpError
from include.ratchet.serving import deployments
from include.ratchet.serving.fitted import Fitted
from include.ratchet.serving.predictor import Predictor
from include.ratchet.serving.shipping import ship
from include.ratchet.spec import ModelKey, get_model
from tests.include.ratchet.serving.conftest import KEY, MODEL, make_rows, set_route

pytestmark = pytest.mark.filterwarnings("default")


def route(mode, share=0.0, is_shadowed=False):
    return {"mode": mode, "champion": 2, "challenger": 1, "share": share, "salt": "s", "is_shadowed": is_shadowed}


def records(served, settings):
    ship(served.service.log, settings)
    return RecordTable(settings, get_model(settings.models_dir, MODEL), "requests").read().to_pylist()


def versions(served, count=60):
    found = {}
    for row in make_rows(count):
        one = served.predict([row]).json()["predictions"][0]
        found[row["order_id"]] = one["version"]
    return found


def test_change_of_champion_takes_effect_within_two_seconds_without_a_dropped_request(serve, settings):
    served = serve(poll_s=0.5)
    served.predict(make_rows(1))
    answers, stop = [], threading.Event()

    def call():
        while not stop.is_set():
            answers.append((time.monotonic(), served.predict(make_rows(1))))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    set_route(settings, None, champion=1)
    changed = time.monotonic()
    time.sleep(2.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert all(answer.status_code == 200 for _, answer in answers)
    late = {answer.json()["predictions"][0]["version"] for at, answer in answers if at > changed + 2}
    assert late == {1}
    assert len(answers) > 50


def test_canary_is_sticky_and_grows(serve, settings):
    set_route(settings, route("canary", 0.2))
    served = serve()
    first = versions(served)
    assert 0 < sum(version == 1 for version in first.values()) < 30
    assert versions(served) == first
    set_route(settings, route("canary", 0.6))
    served.wait_for(lambda: served.service.deployments.find(KEY).deployment.route.share == 0.6)
    second = versions(served)
    assert all(second[key] == 1 for key, version in first.items() if version == 1)
    assert sum(version == 1 for version in second.values()) > sum(version == 1 for version in first.values())


def test_shadow_is_recorded_and_never_answers(serve, settings):
    set_route(settings, route("shadow"))
    served = serve()
    answers = served.predict(make_rows(8), request_id="seen").json()["predictions"]
    assert {one["version"] for one in answers} == {2}
    served.wait_for(lambda: served.service.log.waiting().rows == 16)
    found = records(served, settings)
    twins = [one for one in found if one["route"] == "shadow"]
    assert [one["request_id"] for one in twins] == ["seen"] * 8
    assert {one["version"] for one in twins} == {1}
    assert all(one["score"] is not None for one in twins)


def break_version(monkeypatch, number):
    whole = Fitted.predict

    def predict(self, features, task):
        if self.number == number:
            raise RuntimeError("out of order")
        return whole(self, features, task)

    monkeypatch.setattr(Fitted, "predict", predict)


def test_broken_shadow_hurts_nobody_and_is_recorded(serve, settings, monkeypatch):
    set_route(settings, route("shadow"))
    break_version(monkeypatch, 1)
    served = serve()
    assert served.predict(make_rows(3)).status_code == 200
    served.wait_for(lambda: served.service.log.waiting().rows == 6)
    errors = {one["error"] for one in records(served, settings) if one["route"] == "shadow"}
    assert errors == {"RuntimeError: out of order"}


def test_slow_shadow_delays_nobody(serve, settings, monkeypatch):
    set_route(settings, route("shadow"))
    whole = Fitted.predict

    def predict(self, features, task):
        if self.number == 1:
            time.sleep(1)
        return whole(self, features, task)

    monkeypatch.setattr(Fitted, "predict", predict)
    served = serve()
    served.predict(make_rows(1))
    started = time.monotonic()
    for _ in range(5):
        assert served.predict(make_rows(1)).status_code == 200
    assert time.monotonic() - started < 1


def test_champion_stands_in_for_a_challenger_that_fails(serve, settings, monkeypatch):
    set_route(settings, route("canary", 1.0))
    break_version(monkeypatch, 1)
    served = serve()
    answers = served.predict(make_rows(4)).json()["predictions"]
    assert {(one["version"], one["route"]) for one in answers} == {(2, "champion")}
    found = records(served, settings)
    failed = [one for one in found if one["error"]]
    assert [(one["version"], one["route"], one["score"]) for one in failed] == [(1, "challenger", None)] * 4
    assert len(found) == 8


def test_nobody_stands_in_for_a_version_that_was_asked_for(serve, settings, monkeypatch):
    set_route(settings, route("canary", 1.0))
    break_version(monkeypatch, 1)
    served = serve()
    answer = served.predict(make_rows(1), version=1)
    assert (answer.status_code, answer.json()["error"]) == (500, "failed")
    assert served.predict(make_rows(1)).json()["predictions"][0]["route"] == "champion"


def test_pinned_rows_are_recorded_as_such(serve, settings):
    set_route(settings, route("canary", 1.0))
    served = serve()
    for version in (1, 2):
        (answer,) = served.predict(make_rows(1), version=version).json()["predictions"]
        assert (answer["version"], answer["route"]) == (version, "pinned")
    assert [(one["version"], one["route"]) for one in records(served, settings)] == [(1, "pinned"), (2, "pinned")]


def test_deferred_rows_are_left_to_people_and_recorded_with_the_models_score(serve, settings):
    set_route(settings, {**route("defer", 0.3), "challenger": None})
    served = serve()
    answers = served.predict(make_rows(40)).json()["predictions"]
    deferred = [one for one in answers if one["route"] == "defer"]
    assert 15 < len(deferred) < 40
    assert all(one["answer"] == "defer" and "score" not in one for one in deferred)
    found = [one for one in records(served, settings) if one["route"] == "defer"]
    assert len(found) == len(deferred)
    assert all(one["score"] is not None and one["output"] == '{"answer":"defer"}' for one in found)


def test_blue_green_has_both_loaded(serve, settings):
    set_route(settings, route("blue_green", 0.0))
    served = serve()
    assert {one["version"] for one in served.predict(make_rows(9)).json()["predictions"]} == {2}
    assert served.client.get(f"/v1/models/{MODEL}").json()["versions"] == [1, 2]
    set_route(settings, route("blue_green", 1.0))
    served.wait_for(lambda: served.predict(make_rows(1)).json()["predictions"][0]["version"] == 1, timeout_s=2)


def test_version_that_fails_its_warm_up_keeps_the_old_one_and_is_said_once(serve, settings, monkeypatch):
    served = serve()
    served.predict(make_rows(1))
    whole = deployments.load_version

    def load(model, key, number, places):
        if number == 1:
            message = "orders@1: predicts otherwise"
            raise WarmUpError(message)
        return whole(model, key, number, places)

    monkeypatch.setattr(deployments, "load_version", load)
    monkeypatch.setattr(deployments, "_RETRY_S", 0.2)
    set_route(settings, None, champion=1)
    served.wait_for(lambda: len(served.reports) == 1)
    time.sleep(0.5)
    assert len(served.reports) == 1
    assert served.reports[0][:2] == (KEY, 1)
    assert served.predict(make_rows(1)).json()["predictions"][0]["version"] == 2
    monkeypatch.setattr(deployments, "load_version", whole)
    served.wait_for(lambda: served.predict(make_rows(1)).json()["predictions"][0]["version"] == 1)


def test_database_that_is_gone_stops_nothing(serve, settings, monkeypatch):
    served = serve()
    served.predict(make_rows(1))

    def fail(_):
        message = "no connection"
        raise OSError(message)

    monkeypatch.setattr(deployments, "read_routes", fail)
    time.sleep(0.4)
    assert served.predict(make_rows(1)).status_code == 200
    assert 'ratchet_watch_failures_total{what="watch"}' in served.client.get("/metrics").text


def test_least_recently_used_models_are_let_go(settings):
    class Held(Predictor):
        def __init__(self, name, used_at):
            self.key, self.used_at, self.is_closed, self._deployed = ModelKey(name), used_at, False, {}

        size_mb = 40.0

        def close(self):
            self.is_closed = True

    found = deployments.Deployments(settings, 100.0, "", lambda *_: None)
    held = [Held("old", 1.0), Held("older", 0.5), Held("new", 2.0), Held("newest", 0.1)]
    found._loaded = {one.key: one for one in held}
    found._make_room(ModelKey("newest"))
    assert [one.key.model for one in held if one.is_closed] == ["old", "older"]
    assert found.size_mb == 80.0


def test_model_that_was_let_go_is_loaded_again_by_the_next_request(serve):
    served = serve()
    served.predict(make_rows(1))
    predictor = served.service.deployments.find(KEY)
    served.service.deployments._loaded.clear()
    predictor.close()
    assert served.predict(make_rows(1)).status_code == 200
    assert served.service.deployments.find(KEY) is not predictor
