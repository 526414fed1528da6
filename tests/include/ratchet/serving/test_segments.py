"""A model divided into segments: each row is answered by its segment's own model, or by the pooled one in its stead."""

from __future__ import annotations

import threading
import time

import pytest

from include.ratchet.data.records import REQUESTS, RecordTable
from include.ratchet.data.tables import PARTITION_COLUMN
from include.ratchet.errors import RegistryUnavailableError
from include.ratchet.registry.database import engine_of, rollouts
from include.ratchet.replay.answer import check_answers
from include.ratchet.serving import deployments
from include.ratchet.serving.fitted import Fitted
from include.ratchet.serving.shipping import ship
from include.ratchet.spec import WHOLE, ModelKey, get_model, segment_name
from tests.include.ratchet.divided import copy_version, set_champion
from tests.include.ratchet.serving.conftest import (
    AS_OF,
    HOSTILE,
    KEY,
    MODEL,
    OWN,
    divide,
    key_of,
    make_rows,
    set_route,
)

pytestmark = pytest.mark.filterwarnings("default")


def rows_of(*regions):
    return [{**row, **({} if region is None else {"region": region})}
            for row, region in zip(make_rows(len(regions)), regions, strict=True)]  # fmt: skip


def ask(served, *regions, **more):
    answer = served.predict(rows_of(*regions), **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def shown(predictions):
    return [(one["segment"], one["version"], one.get("pooled_for")) for one in predictions]


def records(served, settings):
    ship(served.service.log, settings)
    return RecordTable(settings, get_model(settings.models_dir, MODEL), "requests").read().to_pylist()


def test_rows_are_answered_by_their_own_models_and_recorded_so(serve, divided):
    served = serve()
    found = ask(served, "web", "south", None, "north", "web", "south", request_id="mixed")
    assert [one["row"] for one in found] == list(range(6))
    assert shown(found) == [
        ("web", 1, None), (WHOLE, 2, "south"), (WHOLE, 2, None), ("north", 1, None), ("web", 1, None),
        (WHOLE, 2, "south"),
    ]  # fmt: skip
    assert {one["route"] for one in found} == {"champion"}
    assert ask(served, "north", request_id="mixed") == found
    kept = sorted(records(served, divided), key=lambda one: one["row"])
    assert [(one["segment"], one["version"], one["pooled_for"], one["score"]) for one in kept] == [
        (*place, one["score"]) for place, one in zip(shown(found), found, strict=True)
    ]
    table = RecordTable(divided, get_model(divided.models_dir, MODEL), "requests").read()
    checks = check_answers(divided, get_model(divided.models_dir, MODEL), table)
    assert [(one.segment, one.version, one.rows) for one in checks] == [(WHOLE, 2, 3), ("north", 1, 1), ("web", 1, 2)]
    assert all(one.is_identical for one in checks)
    alone = [ask(served, region)[0]["score"] for region in ("web", "south", None, "north")]
    assert alone[0] != ask(served, "north")[0]["score"] != alone[1]
    counts = served.client.get("/metrics").text
    assert f'ratchet_pooled_rows_total{{model="{MODEL}"}} 3.0' in counts
    assert f'ratchet_segments_loaded{{model="{MODEL}"}} 2.0' in counts
    assert f'ratchet_predictions_total{{model="{MODEL}",route="champion",version="segments"}}' in counts
    assert "north" not in counts


def test_many_rows_and_few_say_the_same_of_segments(serve, divided):
    served = serve()
    regions = [["web", "south", None, "north", *HOSTILE[:12]][number % 16] for number in range(96)]
    many = ask(served, *regions)
    few = [one for start in range(0, 96, 32) for one in ask(served, *regions[start : start + 32])]
    assert shown(many) == shown(few)


@pytest.mark.parametrize("value", HOSTILE)
def test_segments_of_any_name_have_a_model_of_their_own(serve, divided, value):
    key = key_of(value)
    served = serve()
    assert shown(ask(served, value)) == [(WHOLE, 2, key.segment)]
    set_champion(divided, key, 1)
    served.wait_for(lambda: shown(ask(served, value)) == [(key.segment, 1, None)], timeout_s=2)
    assert served.reports == []
    if "\0" not in value:
        assert (
            served.client.get(f"/v1/models/{MODEL}", params={"segment": key.segment}).json()["segment"] == key.segment
        )
    assert {one["segment"] for one in records(served, divided)} == {WHOLE, key.segment}


def test_without_a_pooled_model_rows_of_other_segments_are_refused(serve, registered, settings):
    divide(settings, ", pool: false")
    served = serve()
    assert shown(ask(served, "web", "north")) == [("web", 1, None), ("north", 1, None)]
    for region in ("south", None):
        answer = served.predict(rows_of("web", region, "north", region))
        assert (answer.status_code, answer.json()["error"]) == (409, "not_deployed")
        assert "segments.pool is false" in answer.json()["message"]
        assert [problem["path"] for problem in answer.json()["problems"]] == [["rows", 1], ["rows", 3]]
    about = served.client.get(f"/v1/models/{MODEL}").json()
    assert (about["route"], about["segments"]) == (None, {"by": ["region"], "own": 2, "pool": None})
    assert served.service.deployments._loading.keys() <= {KEY, *map(key_of, OWN)}


def test_change_of_one_segment_is_followed_within_two_seconds_while_all_are_answered(serve, divided):
    served = serve(poll_s=0.5)
    ask(served, "web", "north", "south")
    answers, stop = [], threading.Event()

    def call():
        while not stop.is_set():
            answers.append((time.monotonic(), served.predict(rows_of("web", "north", "south"))))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    set_champion(divided, key_of("north"), 2)
    changed = time.monotonic()
    time.sleep(2.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert {answer.status_code for _, answer in answers} == {200}
    found = [(at, shown(answer.json()["predictions"])) for at, answer in answers]
    assert {one[1] for at, one in found if at > changed + 2} == {("north", 2, None)}
    assert {(one[0], one[2]) for _, one in found} == {(("web", 1, None), (WHOLE, 2, "south"))}
    assert len(answers) > 50


def test_retired_segment_is_the_pools(serve, divided):
    served = serve()
    assert shown(ask(served, "web")) == [("web", 1, None)]
    set_champion(divided, key_of("web"), None)
    served.wait_for(lambda: shown(ask(served, "web")) == [(WHOLE, 2, "web")], timeout_s=2)
    assert served.service.deployments.find(KEY).loaded == 1


def test_version_that_cannot_be_loaded_keeps_the_old_one_of_its_segment_and_is_said_once(serve, divided, monkeypatch):
    monkeypatch.setattr(deployments, "_RETRY_S", 0.2)
    served = serve()
    ask(served, "web", "north")
    set_champion(divided, key_of("web"), 3)
    served.wait_for(lambda: len(served.reports) == 1)
    set_champion(divided, key_of("north"), 2)
    served.wait_for(lambda: shown(ask(served, "web", "north"))[1] == ("north", 2, None), timeout_s=2)
    time.sleep(0.5)
    assert shown(ask(served, "web")) == [("web", 1, None)]
    assert [report[:2] for report in served.reports] == [(key_of("web"), 3)]
    set_champion(divided, key_of("web"), 2)
    served.wait_for(lambda: shown(ask(served, "web")) == [("web", 2, None)], timeout_s=2)


def test_segment_that_cannot_be_loaded_at_all_is_the_pools_and_is_said_once(serve, divided, monkeypatch):
    monkeypatch.setattr(deployments, "_RETRY_S", 0.2)
    set_champion(divided, key_of("broken"), 1)
    served = serve()
    for _ in range(3):
        assert shown(ask(served, "broken", "web")) == [(WHOLE, 2, "broken"), ("web", 1, None)]
        time.sleep(0.3)
    assert [report[:2] for report in served.reports] == [(key_of("broken"), 1)]
    kept = [one for one in records(served, divided) if one["pooled_for"] == "broken"]
    assert len(kept) == 3
    answer = served.client.get(f"/v1/models/{MODEL}", params={"segment": "broken"})
    assert (answer.status_code, answer.json()["error"]) == (409, "not_deployed")


def test_registry_that_is_away_is_said_once_for_all_segments(serve, divided, monkeypatch):
    monkeypatch.setattr(deployments, "_RETRY_S", 0.2)
    served, whole = serve(), deployments.load_version
    ask(served, "south")

    def fail(*_):
        message = "MLflow does not answer"
        raise RegistryUnavailableError(message)

    monkeypatch.setattr(deployments, "load_version", fail)
    for _ in range(2):
        assert shown(ask(served, "north", "web")) == [(WHOLE, 2, "north"), (WHOLE, 2, "web")]
        time.sleep(0.3)
    monkeypatch.setattr(deployments, "load_version", whole)
    assert shown(ask(served, "north", "web")) == [("north", 1, None), ("web", 1, None)]
    assert len(served.reports) == 1


def test_segment_that_cannot_be_loaded_is_refused_without_a_pool(serve, registered, settings):
    divide(settings, ", pool: false")
    set_champion(settings, key_of("broken"), 1)
    served = serve()
    assert served.predict(rows_of("broken")).status_code == 500
    assert shown(ask(served, "web")) == [("web", 1, None)]


def test_pool_that_cannot_be_loaded_leaves_segments_answering(serve, divided):
    number = copy_version(divided, ModelKey(MODEL), is_broken=True)
    set_champion(divided, KEY, number)
    served = serve()
    assert shown(ask(served, "web")) == [("web", 1, None)]
    assert served.predict(rows_of("south")).status_code == 500
    assert [report[:2] for report in served.reports] == [(KEY, number)]


def test_segment_that_is_being_loaded_delays_no_other(serve, divided, monkeypatch):
    served, whole, begun = serve(), deployments.load_version, threading.Event()

    def load(model, key, number, places):
        if key == key_of("north"):
            begun.set()
            time.sleep(1.5)
        return whole(model, key, number, places)

    ask(served, "web", "south")
    monkeypatch.setattr(deployments, "load_version", load)
    slow = []
    threads = [threading.Thread(target=lambda: slow.append(shown(ask(served, "north", "web")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert begun.wait(5)
    started = time.monotonic()
    assert shown(ask(served, "web", "south")) == [("web", 1, None), (WHOLE, 2, "south")]
    assert time.monotonic() - started < 1
    for thread in threads:
        thread.join()
    assert slow == [[("north", 1, None), ("web", 1, None)]] * 8


def test_segments_used_longest_ago_are_let_go_and_answer_again(serve, divided):
    values = HOSTILE[:8]
    for value in values:
        set_champion(divided, key_of(value), 1)
    served = serve()
    first = ask(served, *values, "south")
    predictor = served.service.deployments.find(KEY)
    assert predictor.loaded == 9
    served.service.deployments._memory_mb = served.service.deployments.size_mb
    ask(served, values[0])
    assert shown(ask(served, "web", "north")) == [("web", 1, None), ("north", 1, None)]
    held = [one.key.segment for _, one in predictor.deployments()]
    assert {WHOLE, segment_name([values[0]]), "web", "north"} < set(held)
    assert len(held) < 11
    # Less than any two of them: each is loaded for its row, and what was loaded before it goes.
    served.service.deployments._memory_mb = 0.0
    assert [one["score"] for one in ask(served, *values, "south")] == [one["score"] for one in first]
    assert served.service.deployments.find(KEY) is predictor
    assert predictor.deployment is not None
    assert predictor.loaded == 2


def test_request_is_answered_by_what_it_holds_if_that_is_let_go_while_it_waits(serve, divided, monkeypatch):
    served = serve()
    ask(served, "web")
    predictor, whole = served.service.deployments.find(KEY), Fitted.predict

    def forget(self, features, task):
        predictor.let_go("web")
        predictor.let_go("north")
        return whole(self, features, task)

    monkeypatch.setattr(Fitted, "predict", forget)
    for _ in range(3):
        assert shown(ask(served, "web", "north", "south")) == [
            ("web", 1, None), ("north", 1, None), (WHOLE, 2, "south")
        ]  # fmt: skip


def test_routes_of_a_segment_are_its_own(serve, divided):
    route = {"mode": "canary", "champion": 1, "challenger": 2, "share": 0.5, "salt": "s", "is_shadowed": True}
    set_route(divided, None)
    with engine_of(divided.database_url).begin() as connection:
        connection.execute(rollouts.insert(), {"model": MODEL, "segment": "web", "revision": 1,
                                               "state": {"route": route}, "updated_at": AS_OF})  # fmt: skip
    served = serve()
    found = ask(served, *["web", "north"] * 20)
    assert {one["version"] for one in found[::2]} == {1, 2}
    assert {(one["version"], one["route"]) for one in found[1::2]} == {(1, "champion")}
    served.wait_for(lambda: served.service.log.waiting().rows == 60)
    kept = [one for one in records(served, divided) if one["route"] == "shadow"]
    assert len(kept) == 20
    assert {(one["segment"], one["mode"]) for one in kept} == {("web", "canary")}


def test_pinned_versions_are_the_pools_unless_a_segment_is_named(serve, divided):
    served = serve()
    assert shown(ask(served, "web", version=1)) == [(WHOLE, 1, None)]
    assert shown(ask(served, "south", "web", version=2, segment="web")) == [("web", 2, None)] * 2
    assert {one["route"] for one in records(served, divided)} == {"pinned"}
    for body, status, error in [
        ({"segment": "web"}, 422, "invalid"), ({"segment": 3, "version": 1}, 422, "invalid"),
        ({"segment": "wen", "version": 1}, 404, "unknown_segment"), ({"segment": "", "version": 1}, 422, "invalid"),
        ({"segment": "web", "version": 99}, 404, "unknown_version"),
        ({"segment": "x" * 301, "version": 1}, 422, "invalid"),
    ]:  # fmt: skip
        answer = served.predict(rows_of("web"), **body)
        assert (answer.status_code, answer.json()["error"]) == (status, error), body
    assert "did you mean 'web'?" in served.predict(rows_of("web"), segment="wen", version=1).json()["message"]


def test_protocol_version_two_names_segments(serve, divided):
    served = serve()
    row = rows_of("web")[0]
    inputs = [{"name": name, "datatype": "FP64" if name == "price" else "BYTES", "shape": [1], "data": [value]}
              for name, value in row.items()]  # fmt: skip
    answer = served.client.post(f"/v2/models/{MODEL}/infer", json={"inputs": inputs}).json()
    assert {one["name"]: one["data"] for one in answer["outputs"]}["segment"] == ["web"]
    path = f"/v2/models/{MODEL}/versions/2/infer"
    answer = served.client.post(path, json={"inputs": inputs, "parameters": {"segment": "north"}}).json()
    found = {one["name"]: one["data"] for one in answer["outputs"]}
    assert (found["segment"], found["version"]) == (["north"], [2])
    about = served.client.get(f"/v2/models/{MODEL}").json()
    assert {"name": "segment", "datatype": "BYTES", "shape": [-1]} in about["outputs"]
    frame = {"dataframe_records": [row]}
    assert len(served.client.post(f"/v1/models/{MODEL}/invocations", json=frame).json()["predictions"]) == 1


def test_descriptions_and_moves_are_of_the_segment_that_is_named(serve, divided):
    served = serve()
    about = served.client.get(f"/v1/models/{MODEL}").json()
    assert (about["segment"], about["segments"]) == (WHOLE, {"by": ["region"], "own": 2, "pool": 2})
    about = served.client.get(f"/v1/models/{MODEL}?segment=web").json()
    assert (about["segment"], about["versions"], about["route"]["champion"]) == ("web", [1], 1)
    set_champion(divided, key_of("web"), 1, alias="previous")
    set_champion(divided, key_of("web"), 2)
    standing = served.client.get(f"/v1/models/{MODEL}/rollout?segment=web").json()
    assert (standing["segment"], standing["aliases"]) == ("web", {"champion": 2, "previous": 1})
    moved = served.client.post(f"/v1/models/{MODEL}/revert?segment=web", json={"reason": "complaints"})
    assert (moved.status_code, moved.json()["rollout"]["aliases"]["champion"]) == (200, 1)
    for path in ("", "/rollout"):
        answer = served.client.get(f"/v1/models/{MODEL}{path}?segment=wep")
        assert (answer.status_code, answer.json()["error"]) == (404, "unknown_segment")
        assert "did you mean 'web'?" in answer.json()["message"]
        assert served.client.get(f"/v1/models/{MODEL}{path}?segment=%00").status_code == 404


def test_segments_are_listed_a_page_at_a_time(serve, divided):
    named = [one for one in HOSTILE if "\0" not in one]
    for value in named:
        set_champion(divided, key_of(value), 1)
    set_champion(divided, key_of("web"), 2, alias="challenger")
    set_champion(divided, key_of("new"), 1, alias="challenger")
    served = serve()
    found, after = [], None
    while True:
        given = {"limit": 5, **({} if after is None else {"after": after})}
        page = served.client.get(f"/v1/models/{MODEL}/segments", params=given).json()
        found += page["segments"]
        after = page["next"]
        if after is None:
            break
    assert {one["segment"] for one in found} == {key_of(value).segment for value in [*OWN, "new", *named]}
    assert len(found) == len({one["segment"] for one in found})
    by_name = {one["segment"]: (one["champion"], one["challenger"]) for one in found}
    assert (by_name["web"], by_name["new"], by_name["north"]) == ((1, 2), (None, 1), (1, None))
    for query in ("limit=0", "limit=x", "limit=1001", "after=%00"):
        assert served.client.get(f"/v1/models/{MODEL}/segments?{query}").status_code == 422


def test_undivided_model_has_no_segments(serve, settings):
    served = serve()
    (one,) = served.predict(make_rows(1)).json()["predictions"]
    assert one.keys() == {"row", "score", "class", "version", "route", "is_stale"}
    assert served.client.get(f"/v1/models/{MODEL}/segments").json() == {"segments": [], "next": None}
    assert "segments" not in served.client.get(f"/v1/models/{MODEL}").json()
    answer = served.predict(make_rows(1), version=1, segment="north")
    assert (answer.status_code, answer.json()["error"]) == (404, "unknown_segment")


def test_records_of_before_stay_readable_and_are_added_to(serve, settings):
    model = get_model(settings.models_dir, MODEL)
    served = serve()
    served.predict(make_rows(3), request_id="now")
    table = RecordTable(settings, model, "requests")
    seq, rows = next(served.service.log.read_after(MODEL, "requests", 0, 10))
    old = rows.drop_columns(["pooled_for"])
    assert table.append_table(old, "another log", seq)
    assert "pooled_for" not in table.schema().names
    assert (
        table.between(AS_OF, AS_OF.replace(day=2), ["segment", "pooled_for"]).to_pylist()
        == [{"segment": WHOLE, "pooled_for": None}] * 3
    )
    ship(served.service.log, settings)
    found = table.read()
    assert set(found.column_names) >= {*REQUESTS.names, PARTITION_COLUMN}
    assert (found.num_rows, found["pooled_for"].null_count) == (6, 6)
