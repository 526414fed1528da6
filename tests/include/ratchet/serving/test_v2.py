"""The Open Inference Protocol with the client that most callers have."""

from __future__ import annotations

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from tests.include.ratchet.serving.conftest import MODEL, make_rows

pytestmark = pytest.mark.filterwarnings("default")


def tensors(rows, binary=True):
    kinds = {"order_id": "BYTES", "ordered_at": "BYTES", "shop": "BYTES", "price": "FP64"}
    found = []
    for name, kind in kinds.items():
        values = np.array([row[name] for row in rows], dtype=np.float64 if kind == "FP64" else object)
        one = InferInput(name, [len(rows)], kind)
        one.set_data_from_numpy(values, binary_data=binary)
        found.append(one)
    return found


@pytest.fixture
def triton(serve):
    served = serve()
    client = InferenceServerClient(served.url.removeprefix("http://"))
    yield served, client
    client.close()


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_real_client_gets_the_same_scores(triton, binary_in, binary_out):
    served, client = triton
    rows = make_rows(5)
    expected = [one["score"] for one in served.predict(rows).json()["predictions"]]
    names = ("score", "version", "route")
    outputs = [InferRequestedOutput(name, binary_data=binary_out) for name in names]
    result = client.infer(MODEL, tensors(rows, binary_in), request_id="r1", outputs=outputs)
    assert result.as_numpy("score").tolist() == expected
    assert result.as_numpy("version").tolist() == [2] * 5
    assert [str(one, "utf-8") if isinstance(one, bytes) else one for one in result.as_numpy("route")] == [
        "champion"
    ] * 5
    assert result.get_response()["id"] == "r1"
    assert client.infer(MODEL, tensors(rows)).as_numpy("score").tolist() == expected


def test_version_may_be_named(triton):
    _, client = triton
    result = client.infer(MODEL, tensors(make_rows(1)), model_version="1")
    assert result.get_response()["model_version"] == "1"


def test_health_and_metadata(triton):
    _, client = triton
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready("order_return")
    assert client.get_server_metadata()["name"] == "ratchet"
    about = client.get_model_metadata(MODEL)
    assert {"name": "price", "datatype": "FP64", "shape": [-1]} in about["inputs"]
    assert about["outputs"][0] == {"name": "score", "datatype": "FP64", "shape": [-1]}
    assert "2" in about["versions"]


def test_missing_value_is_nan(triton):
    served, client = triton
    row = make_rows(1)
    del row[0]["price"]
    expected = served.predict(row).json()["predictions"][0]["score"]
    assert client.infer(MODEL, tensors(make_rows(1, price=np.nan))).as_numpy("score").tolist() == [expected]


def test_errors_are_the_protocols(triton):
    served, client = triton
    with pytest.raises(InferenceServerException, match="no model 'nothing'"):
        client.infer("nothing", tensors(make_rows(1)))
    with pytest.raises(InferenceServerException, match="rows.0.price: found -1.0; expected a number, at least 0"):
        client.infer(MODEL, tensors(make_rows(1, price=-1.0)))
    with pytest.raises(InferenceServerException, match="one of score, version, route"):
        client.infer(MODEL, tensors(make_rows(1)), outputs=[InferRequestedOutput("scores")])
    assert served.client.post(f"/v2/models/{MODEL}/versions/x/infer", json={}).json()["error"].startswith("no version")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "inputs: found None; expected a list"),
        ({"inputs": [{}]}, "a tensor with name"),
        ({"inputs": [{"name": "price", "shape": [2, 3], "datatype": "FP64", "data": [1] * 6}]}, "[n] or [n, 1]"),
        ({"inputs": [{"name": "price", "shape": [2], "datatype": "FP64", "data": [1]}]}, "2 single values"),
        ({"inputs": [{"name": "price", "shape": [1], "datatype": "FP63", "data": [1]}]}, "FP64"),
        ({"inputs": [{"name": "price", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}}]},
         "8 bytes of binary data"),
        ({"inputs": [{"name": "price", "shape": [1], "datatype": "FP64", "data": [1], "parameters": [8]}]},
         "inputs.0.parameters: found [8]; expected an object"),
    ],
)  # fmt: skip
def test_wrong_tensor_is_said(serve, body, words):
    answer = serve().client.post(f"/v2/models/{MODEL}/infer", json=body)
    assert answer.status_code == 422
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"outputs": [{"name": {}}]}, "outputs.0.name: found {}; expected one of score, version, route"),
        ({"outputs": "score"}, "outputs: found 'score'; expected a list of some of score, version, route"),
        (
            {"parameters": {"binary_data_output": "no"}},
            "parameters.binary_data_output: found 'no'; expected true or false",
        ),
    ],
)
def test_output_that_cannot_be_given_is_refused_before_anything_is_recorded(serve, more, words):
    served = serve()
    (row,) = make_rows(1)
    inputs = [{"name": name, "shape": [1], "datatype": "BYTES", "data": [value]} for name, value in row.items()]
    answer = served.client.post(f"/v2/models/{MODEL}/infer", json={"inputs": inputs, **more})
    assert answer.status_code == 422
    assert answer.json()["error"] == words
    assert served.service.log.waiting().rows == 0
