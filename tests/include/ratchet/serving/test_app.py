"""The service's own protocol: answers, records, refusals."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from include.ratchet.data.records import RecordTable
from include.ratchet.features import Inputs, build_histories, scoring_rows
from include.ratchet.features.online import EVER
from include.ratchet.registry.lineage import read_kernels
from include.ratchet.registry.versions import get_version, load_estimator
from include.ratchet.serving.histories import SqlStore
from include.ratchet.serving.keys import add_key, remove_key
from include.ratchet.serving.shipping import ship
from include.ratchet.spec import get_model
from include.ratchet.training.fit import predict
from include.ratchet.training.frames import features_frame
from tests.include.ratchet.serving.conftest import AS_OF, KEY, MODEL, make_rows

# MLflow 3.17 without its server warns of its own SQLAlchemy usage and leaves connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("default")


def shipped(served, settings, kind="requests"):
    ship(served.service.log, settings)
    model = get_model(settings.models_dir, MODEL)
    return RecordTable(settings, model, kind).read().sort_by([("request_id", "ascending"), ("row", "ascending")])


def test_answers_are_those_of_the_registered_version_over_batch_features(serve, settings, trained):
    served, rows = serve(), make_rows(40)
    answer = served.predict(rows, request_id="one")
    assert answer.status_code == 200, answer.text
    content = answer.json()
    assert (content["request_id"], content["model"]) == ("one", MODEL)
    model = get_model(settings.models_dir, MODEL)
    whole = Inputs.open(settings.__class__(**{**settings.__dict__, "store": str(trained / "store")}), model)
    times = [datetime.fromisoformat(row["ordered_at"]) for row in rows]
    table = pa.table({**{name: [row[name] for row in rows] for name in ("order_id", "shop", "price")},
                      "ordered_at": pa.array(times, pa.timestamp("us", "UTC"))})  # fmt: skip
    features = scoring_rows(model, KEY, whole, table, settings=settings)
    version = get_version(KEY, 2, settings)
    estimator = load_estimator(model, version, settings)
    expected = predict(estimator, features_frame(features, version.lineage.features), "binary")
    assert [one["score"] for one in content["predictions"]] == expected.tolist()
    assert {one["version"] for one in content["predictions"]} == {2}
    assert {one["route"] for one in content["predictions"]} == {"champion"}
    assert not any(one["is_stale"] for one in content["predictions"])
    records = shipped(served, settings)
    assert records.num_rows == 40
    assert records["score"].to_pylist() == expected.tolist()
    assert records["feature_shop_return_rate_7d"].to_pylist() == features["shop_return_rate_7d"].to_pylist()
    assert records["event_time"].to_pylist() == times
    assert json.loads(records["payload"][3].as_py()) == rows[3]
    assert json.loads(records["key"][3].as_py()) == ["new-3"]
    assert set(records["_partition"].to_pylist()) == {"2026-03-01"}
    assert min(records["latency_ms"].to_pylist()) > 0
    assert records["known_until"][0].as_py() == AS_OF
    assert set(records["kernels"].to_pylist()) == {read_kernels()}


def test_request_sent_again_gets_the_first_answer_and_is_recorded_once(serve, settings):
    served = serve()
    first = served.predict(make_rows(1), request_id="again")
    second = served.predict(make_rows(1, price=999.0), request_id="again")
    assert first.json() == second.json()
    assert second.headers["x-repeated"] == "true"
    assert served.predict(make_rows(1)).json()["request_id"] != "again"
    assert shipped(served, settings)["request_id"].to_pylist().count("again") == 1


def test_requests_of_many_callers_are_answered_together_and_each_gets_its_own(serve, settings):
    served = serve()
    served.predict(make_rows(1))
    found = {}

    def call(number):
        row = make_rows(1, start=AS_OF + timedelta(minutes=number), order_id=f"o{number}", price=float(number + 1))
        found[number] = served.predict(row, request_id=f"r{number:03d}").json()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = shipped(served, settings)
    by_id = dict(zip(records["request_id"].to_pylist(), records["score"].to_pylist(), strict=True))
    assert len(found) == 60
    for number, answer in found.items():
        assert answer["request_id"] == f"r{number:03d}"
        assert answer["predictions"][0]["score"] == by_id[f"r{number:03d}"]
    assert len({answer["predictions"][0]["score"] for answer in found.values()}) > 50
    batches = served.client.get("/metrics").text
    assert f'ratchet_batch_rows_count{{model="{MODEL}"}}' in batches


@pytest.mark.parametrize(
    ("row", "path", "expected"),
    [
        ({"price": "dear"}, ["rows", 0, "price"], "a number, at least 0"),
        ({"price": -1}, ["rows", 0, "price"], "a number, at least 0"),
        ({"price": True}, ["rows", 0, "price"], "a number"),
        ({"ordered_at": "2026-03-01T00:00:00"}, ["rows", 0, "ordered_at"], "an ISO 8601 instant with its zone"),
        ({"ordered_at": "yesterday"}, ["rows", 0, "ordered_at"], "an ISO 8601 instant with its zone"),
        ({"ordered_at": "2026-02-20T00:00:00Z"}, ["rows", 0, "ordered_at"], "at or after 2026-02-27T00:00:00+00:00"),
        ({"shop": None}, ["rows", 0, "shop"], "text"),
        ({"pricee": 1}, ["rows", 0, "pricee"], "did you mean 'price'?"),
        ({"is_returned": True}, ["rows", 0, "is_returned"], "left out: it is known only with the label"),
    ],
)
def test_wrong_field_is_said_with_place_value_and_expectation(serve, row, path, expected):
    answer = serve().predict([{**make_rows(1)[0], **row}])
    assert answer.status_code == 422
    (problem,) = answer.json()["problems"]
    assert problem["path"] == path
    assert problem["expected"].startswith(expected)
    assert problem["found"] == repr(next(iter(row.values()))).strip("'") or problem["found"]


def test_every_wrong_field_is_said_at_once(serve):
    answer = serve().predict([{"order_id": 1, "price": "x"}, "no row"])
    problems = {tuple(one["path"]) for one in answer.json()["problems"]}
    assert problems == {("rows", 0, "order_id"), ("rows", 0, "price"), ("rows", 0, "ordered_at"), ("rows", 0, "shop"),
                        ("rows", 1)}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"{", 400, "not JSON"),
        (b"[1]", 422, "not an object"),
        (b"{}", 422, "at least one row"),
        (b'{"rows": []}', 422, "at least one row"),
        (b'{"rows": [{}], "verson": 1}', 422, "verson"),
        (b'{"rows": [{}], "version": "2"}', 422, "a version's number"),
        (b'{"rows": [{}], "request_id": ""}', 422, "ordered_at"),
    ],
)
def test_what_is_no_request_is_refused(serve, content, status, words):
    answer = serve().client.post(f"/v1/models/{MODEL}/predict", content=content)
    assert answer.status_code == status
    assert words in answer.text


@pytest.mark.parametrize("depth", [300, 1000])
@pytest.mark.parametrize("call", ["predict", "feedback", "invocations", "infer"])
def test_what_is_nested_too_deep_is_refused(serve, call, depth):
    name = {"predict": "rows", "feedback": "feedback", "invocations": "instances", "infer": "inputs"}[call]
    content = f'{{"{name}": [{"[" * depth}{"]" * depth}]}}'
    protocol = "v2" if call == "infer" else "v1"
    assert serve().client.post(f"/{protocol}/models/{MODEL}/{call}", content=content).status_code == 422


def test_name_that_no_model_can_have_is_unknown(serve):
    answer = serve().client.get(f"/v1/models/{'a' * 300}")
    assert (answer.status_code, answer.json()["error"]) == (404, "unknown_model")


def test_unknown_model_and_version_are_named(serve):
    served = serve()
    answer = served.client.post("/v1/models/order_return/predict", json={"rows": make_rows()})
    assert (answer.status_code, answer.json()["error"]) == (404, "unknown_model")
    assert "did you mean 'order_returns'?" in answer.json()["message"]
    assert served.predict(make_rows(), version=77).status_code == 404
    pinned = served.predict(make_rows(), version=1).json()
    assert pinned["predictions"][0]["version"] == 1


def test_too_large_is_refused(serve):
    served = serve(max_body_kb=8)
    assert served.predict(make_rows(200)).status_code == 413
    assert "serving.max_rows" in serve().predict(make_rows(1001)).json()["message"]


def test_model_that_cannot_answer_yet_says_what_to_do(serve, settings):
    from include.ratchet.spec.scaffold import make_model

    make_model(settings.models_dir, "newborn")
    answer = serve().client.post("/v1/models/newborn/predict", json={"rows": make_rows()})
    assert (answer.status_code, answer.json()["error"]) == (409, "not_deployed")
    assert "no champion yet" in answer.json()["message"]


def test_overload_is_shed_and_never_grows(serve, monkeypatch):
    served = serve(max_queue_rows=50)
    served.predict(make_rows(1))
    release = threading.Event()
    predictor = served.service.deployments.find(KEY)
    whole = predictor.predict
    monkeypatch.setattr(predictor, "predict", lambda requests: (release.wait(20), whole(requests))[1])
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(served.predict(make_rows(10)))) for _ in range(12)]
    for thread in threads:
        thread.start()
    served.wait_for(lambda: sum(one.status_code == 503 for one in answers) >= 6)
    release.set()
    for thread in threads:
        thread.join()
    statuses = sorted(one.status_code for one in answers)
    assert statuses.count(200) == 5
    assert statuses.count(503) == 7
    shed = next(one for one in answers if one.status_code == 503)
    assert shed.headers["retry-after"] == "1"


def test_limit_of_a_caller(serve):
    served = serve(rate=5.0)
    statuses = [served.predict(make_rows(1)).status_code for _ in range(12)]
    assert statuses[:5] == [200] * 5
    assert 429 in statuses


def test_keys_are_asked_for_and_have_scopes(serve, settings):
    reader = add_key("reader", ["feedback"], AS_OF, settings)
    caller = add_key("caller", ["predict"], AS_OF, settings)
    served = serve(auth="on")
    assert served.predict(make_rows()).status_code == 401
    post = {"json": {"rows": make_rows()}}
    path = f"/v1/models/{MODEL}/predict"
    assert served.client.post(path, headers={"X-API-Key": "rk_wrong"}, **post).status_code == 401
    refused = served.client.post(path, headers={"X-API-Key": reader}, **post)
    assert refused.status_code == 403
    assert "expected predict" in refused.json()["message"]
    assert served.client.post(path, headers={"Authorization": f"Bearer {caller}"}, **post).status_code == 200
    assert shipped(served, settings)["caller"].to_pylist() == ["caller"]
    remove_key("caller", settings)
    served.wait_for(
        lambda: served.client.post(path, headers={"X-API-Key": caller}, **post).status_code == 401, timeout_s=4
    )


def test_stale_features_are_answered_with_a_word_or_refused(serve, settings):
    late = make_rows(1, start=AS_OF + timedelta(days=2))
    answer = serve().predict(late)
    assert answer.json()["predictions"][0]["is_stale"] is True
    path = settings.models_dir / MODEL / "model.yaml"
    path.write_text(path.read_text() + "serving: {online: {when_stale: refuse}}\n")
    answer = serve(log_dir=settings.home / "other").predict(late)
    assert (answer.status_code, answer.json()["error"]) == (503, "stale")
    assert answer.headers["retry-after"]


def test_model_without_history_answers_for_any_time(serve, settings):
    """Nothing that it needs is too old, nor kept for too short a time."""
    folder = settings.models_dir / MODEL
    features = (folder / "features.py").read_text()
    history = 'rolling(t.history, by="shop", over="7d").mean("is_returned")'
    assert history in features
    (folder / "features.py").write_text(features.replace(history, "order.price * 0.0 + 0.3"))
    spec = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(f"{spec}serving: {{online: {{when_stale: refuse}}}}\n")
    model = get_model(settings.models_dir, MODEL)
    built = build_histories(model, Inputs.open(settings, model), AS_OF, settings=settings)
    assert (built.reach_from, built.rows) == (EVER, {})
    SqlStore(settings.database_url).write(KEY, built)
    served = serve()
    for days in (-3650, 0, 3650):
        answer = served.predict(make_rows(3, start=AS_OF + timedelta(days=days)))
        assert answer.status_code == 200, answer.text
        assert not any(one["is_stale"] for one in answer.json()["predictions"])
    assert served.client.get(f"/v1/models/{MODEL}").json()["online"]["reaches_back_to"] is None


def test_feedback_is_recorded(serve, settings):
    served = serve()
    path = f"/v1/models/{MODEL}/feedback"
    said = [
        {"request_id": "r1", "value": True}, {"key": {"order_id": "new-0"}, "value": False, "kind": "label"},
        {"request_id": "r2", "kind": "unhelpful"},
    ]  # fmt: skip
    answer = served.client.post(path, json={"feedback": said})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 3})
    rows = shipped(served, settings, "feedback").to_pylist()
    assert {row["kind"] for row in rows} == {"label", "unhelpful"}
    assert json.loads(next(row["key"] for row in rows if row["key"])) == ["new-0"]
    for wrong in ([], [{}], [{"request_id": "a"}], [{"key": {"order": 1}, "value": 1}], [{"value": 1, "key": {}}],
                  [{"request_id": "a", "value": 1, "row": "1"}]):  # fmt: skip
        assert served.client.post(path, json={"feedback": wrong}).status_code == 422, wrong


def test_masked_columns_are_kept_only_as_a_hash(serve, settings):
    path = settings.models_dir / MODEL / "model.yaml"
    path.write_text(path.read_text() + "serving: {records: {mask: [price]}}\n")
    served = serve()
    assert served.predict(make_rows(2, price=12.5)).status_code == 200
    payloads = [json.loads(one) for one in shipped(served, settings)["payload"].to_pylist()]
    assert payloads[0]["price"].startswith("masked:")
    assert payloads[0]["price"] == payloads[1]["price"]
    assert payloads[0]["shop"] == "north"


def test_columns_are_never_masked_without_a_secret(serve, settings):
    path = settings.models_dir / MODEL / "model.yaml"
    path.write_text(path.read_text() + "serving: {records: {mask: [price]}}\n")
    answer = serve(mask_with="").predict(make_rows(1))
    assert (answer.status_code, answer.json()["error"]) == (409, "not_deployed")
    assert "masks price, but RATCHET_MASK_SECRET is not set; start the service with" in answer.json()["message"]


def test_description_and_example_work(serve):
    served = serve()
    about = served.client.get(f"/v1/models/{MODEL}").json()
    assert about["versions"] == [2]
    assert [field["name"] for field in about["fields"]] == ["order_id", "ordered_at", "shop", "price"]
    example = served.client.get(f"/v1/models/{MODEL}/example").json()
    assert served.client.post(f"/v1/models/{MODEL}/predict", json=example).status_code == 200
    assert {"name": MODEL, "is_loaded": True} in served.client.get("/v1/models").json()["models"]


def test_counts_for_prometheus(serve):
    served = serve()
    served.predict(make_rows(3))
    served.predict([{}])
    text = served.client.get("/metrics").text
    assert f'ratchet_predictions_total{{model="{MODEL}",route="champion",version="2"}} 3.0' in text
    assert f'ratchet_requests_total{{model="{MODEL}",protocol="v1",status="422"}} 1.0' in text
    assert "ratchet_log_rows 3.0" in text
    assert f'ratchet_deployed{{model="{MODEL}",version="2"}} 1.0' in text


def test_scores_are_numbers_to_the_bit(serve):
    rows = make_rows(7)
    served = serve()
    together = [one["score"] for one in served.predict(rows).json()["predictions"]]
    alone = [served.predict([row]).json()["predictions"][0]["score"] for row in rows]
    assert np.array_equal(together, alone)
