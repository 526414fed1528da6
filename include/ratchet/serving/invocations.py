"""The formats of MLflow's scoring server, so that its callers need no change.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response

from include.ratchet.serving.gate import Gate, Refusal, respond
from include.ratchet.serving.openapi import BODY_CALL, documented
from include.ratchet.serving.outputs import WITHHELD
from include.ratchet.serving.payload import Problem
from include.ratchet.serving.protocols import invalid, predict
from include.ratchet.serving.service import Service
from include.ratchet.spec import ModelSpec

FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_INVOKE = documented("InvocationAnswer", BODY_CALL, request="Invocation", refusal="RefusalMlflow", takes_id=True)


def add_routes(app: FastAPI, service: Service, gate: Gate) -> None:
    """Add the formats to an application."""

    @app.get("/ping", tags=["mlflow"], **documented("Nothing", unready="Nothing"))
    async def ping() -> Response:
        """Whether the service can answer."""
        return respond({}, 200 if service.is_recording() else 503)

    @app.post("/invocations", tags=["mlflow"], **_INVOKE)
    async def invoke_only(request: Request) -> Response:
        """Predict by the only model that there is; with several, name one: /v1/models/{model}/invocations."""
        names = service.model_names()
        if len(names) != 1:
            message = f"there are {len(names)} models; name one: /v1/models/NAME/invocations"
            raise Refusal(404, "unknown_model", message)
        return await _invoke(service, gate, request, names[0])

    @app.post("/v1/models/{model}/invocations", tags=["mlflow"], **_INVOKE)
    async def invoke(model: str, request: Request) -> Response:
        """Predict rows in one of MLflow's formats."""
        return await _invoke(service, gate, request, model)


async def _invoke(service: Service, gate: Gate, request: Request, model: str) -> Response:
    caller = gate.admit(request, "predict")
    rows = read_frame(await gate.read_json(request))
    predictor, answer = await predict(
        service, "mlflow", model, rows, caller=caller, request_id=request.headers.get("x-request-id")
    )
    spec = predictor.model.spec
    found = [_render(spec, one) for one in answer.content["predictions"]]
    return respond({"predictions": found})


def read_frame(content: Mapping[str, Any]) -> list[Any]:
    """Rows out of whichever format was sent.

    Raises:
        Refusal: it is none of them, or not in its form.
    """
    given = [name for name in FORMATS if name in content]
    if len(given) != 1 or content.keys() - {*given, "params", "signature_name"}:
        raise invalid([Problem((), ", ".join(content) or "nothing", f"exactly one of {', '.join(FORMATS)}")])
    name, frame = given[0], content[given[0]]
    if name == "dataframe_split":
        return _read_split(frame)
    if isinstance(frame, dict) and name in ("instances", "inputs"):
        return _read_columns(name, frame)
    if not isinstance(frame, list):
        raise invalid([Problem((name,), repr(frame)[:80], "a list of rows")])
    return frame


def _read_split(frame: Any) -> list[dict[str, Any]]:
    columns, data = (frame.get("columns"), frame.get("data")) if isinstance(frame, dict) else (None, None)
    if not isinstance(columns, list) or not isinstance(data, list):
        raise invalid([Problem(("dataframe_split",), repr(frame)[:80], "columns, and data as a list of rows")])
    if not all(isinstance(column, str) for column in columns) or len(set(columns)) != len(columns):
        raise invalid([Problem(("dataframe_split", "columns"), repr(columns)[:80], "names, each once")])
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(columns):
            where = ("dataframe_split", "data", number)
            raise invalid([Problem(where, repr(row)[:80], f"{len(columns)} values, one for each column")])
    return [dict(zip(columns, row, strict=True)) for row in data]


def _read_columns(name: str, frame: Mapping[str, Any]) -> list[dict[str, Any]]:
    values = {column: one if isinstance(one, list) else [one] for column, one in frame.items()}
    lengths = {len(one) for one in values.values()}
    if len(lengths) != 1:
        raise invalid([Problem((name,), f"{sorted(lengths)} values", "columns with the same number of values")])
    return [{column: one[row] for column, one in values.items()} for row in range(lengths.pop())]


def _render(spec: ModelSpec, prediction: Mapping[str, Any]) -> Any:
    """As the registered model itself predicts: a value, or the probabilities of all classes; null if withheld."""
    if prediction["route"] in WITHHELD:
        return None
    if spec.task == "regression":
        return prediction["value"]
    if spec.task == "binary":
        return [1 - prediction["score"], prediction["score"]]
    return list(prediction["probabilities"].values())
