"""The Open Inference Protocol, version 2, with the binary tensor extension.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response

from include.ratchet.serving.fitted import Deployment
from include.ratchet.serving.gate import Gate, Refusal, read_object, respond
from include.ratchet.serving.openapi import BODY_CALL, MODEL_CALL, documented
from include.ratchet.serving.payload import Problem
from include.ratchet.serving.predictor import Predictor
from include.ratchet.serving.protocols import find, find_whole, invalid, predict
from include.ratchet.serving.requests import Answer
from include.ratchet.serving.service import Service
from include.ratchet.serving.tensors import DATATYPES, read_flag, read_parameters, read_rows, write_outputs
from include.ratchet.spec import ModelSpec

_HEADER = "inference-header-content-length"
_NAME = "ratchet"
_TAG: list[str | Enum] = ["v2"]
_INFER = documented("InferAnswer", BODY_CALL, request="InferRequest", refusal="RefusalV2")
_INFER["responses"][200]["content"]["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
_TENSORS = documented("Tensors", MODEL_CALL, refusal="RefusalV2")
_READY = documented("Ready", MODEL_CALL, refusal="RefusalV2")


def add_routes(app: FastAPI, service: Service, gate: Gate) -> None:
    """Add the protocol to an application."""
    _add_health(app, service)
    _add_models(app, service, gate)

    @app.post("/v2/models/{model}/infer", tags=_TAG, **_INFER)
    async def infer(model: str, request: Request) -> Response:
        """Predict rows given as tensors, one for each field."""
        return await _infer(service, gate, request, model, None)

    @app.post("/v2/models/{model}/versions/{version}/infer", tags=_TAG, **_INFER)
    async def infer_version(model: str, version: str, request: Request) -> Response:
        """The same, by one version, whatever the route says."""
        return await _infer(service, gate, request, model, _number(version))


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/v2", tags=_TAG, **documented("Server"))
    async def get_server() -> Response:
        """What this server is."""
        return respond({"name": _NAME, "version": "1", "extensions": ["binary_tensor_data"]})

    @app.get("/v2/health/live", tags=_TAG, **documented("Live"))
    async def is_live() -> Response:
        """Whether the service runs."""
        return respond({"live": True})

    @app.get("/v2/health/ready", tags=_TAG, **documented("Ready", unready="Ready"))
    async def is_ready() -> Response:
        """Whether it can record, and so answer."""
        is_ready = service.is_recording()
        return respond({"ready": is_ready}, 200 if is_ready else 503)


def _add_models(app: FastAPI, service: Service, gate: Gate) -> None:
    async def describe(request: Request, model: str, version: int | None) -> dict[str, Any]:
        gate.admit(request)
        predictor = await find(service, model)
        whole = await find_whole(service, predictor)
        if version is not None:
            whole = await service.load_pinned(predictor, await service.find_deployment(predictor), version)
        return _describe(predictor, whole)

    @app.get("/v2/models/{model}", tags=_TAG, **_TENSORS)
    async def get_model(model: str, request: Request) -> Response:
        """A model's tensors and versions."""
        return respond(await describe(request, model, None))

    @app.get("/v2/models/{model}/versions/{version}", tags=_TAG, **_TENSORS)
    async def get_version(model: str, version: str, request: Request) -> Response:
        """The same of one version."""
        return respond(await describe(request, model, _number(version)))

    @app.get("/v2/models/{model}/ready", tags=_TAG, **_READY)
    async def is_model_ready(model: str, request: Request) -> Response:
        """Whether a model can answer; it is loaded if it was not."""
        return respond({"name": (await describe(request, model, None))["name"], "ready": True})

    @app.get("/v2/models/{model}/versions/{version}/ready", tags=_TAG, **_READY)
    async def is_version_ready(model: str, version: str, request: Request) -> Response:
        """Whether a version can answer; it is loaded if it was not."""
        return respond({"name": (await describe(request, model, _number(version)))["name"], "ready": True})


async def _infer(service: Service, gate: Gate, request: Request, model: str, version: int | None) -> Response:
    caller = gate.admit(request, "predict")
    content, binary = _split(await gate.read_body(request), request.headers.get(_HEADER))
    rows = read_rows(content.get("inputs"), binary)
    requested = _requested(content, _outputs((await find(service, model)).model.spec))
    given, segment = content.get("id"), read_parameters(content).get("segment")
    predictor, answer = await predict(
        service, "v2", model, rows, caller=caller, request_id=None if given == "" else given, version=version,
        segment=segment,
    )  # fmt: skip
    tensors, out = write_outputs(_columns(predictor.model.spec, answer), requested)
    found = {
        "model_name": model, "model_version": str(answer.content["predictions"][0]["version"]),
        "id": answer.content["request_id"], "outputs": tensors,
    }  # fmt: skip
    head = orjson.dumps(found)
    if not out:
        return Response(head, media_type="application/json")
    return Response(head + out, 200, {_HEADER: str(len(head))}, "application/octet-stream")


def _split(body: bytes, header: str | None) -> tuple[dict[str, Any], bytes]:
    if header is None:
        return read_object(body), b""
    if not header.isdigit() or int(header) > len(body):
        expected = f"the length of the JSON at the body's head, at most {len(body)}"
        raise invalid([Problem((_HEADER,), repr(header)[:80], expected)])
    return read_object(body[: int(header)]), body[int(header) :]


def _requested(content: Mapping[str, Any], known: Collection[str]) -> dict[str, bool]:
    """Which outputs, and whether in binary."""
    default = read_flag(read_parameters(content), "binary_data_output") or False
    asked = content.get("outputs", [])
    if not isinstance(asked, list):
        raise invalid([Problem(("outputs",), repr(asked)[:80], f"a list of some of {', '.join(known)}")])
    if not asked:
        return dict.fromkeys(known, default)
    found = {}
    for number, output in enumerate(asked):
        name = output.get("name") if isinstance(output, dict) else None
        where = ("outputs", number)
        if not isinstance(name, str) or name not in known:
            raise invalid([Problem((*where, "name"), repr(name)[:80], f"one of {', '.join(known)}")])
        is_binary = read_flag(read_parameters(output, where), "binary_data", where)
        found[name] = default if is_binary is None else is_binary
    return found


def _columns(spec: ModelSpec, answer: Answer) -> dict[str, list[Any]]:
    predictions = answer.content["predictions"]
    names = ("version", "route") if spec.segments is None else ("version", "route", "segment")
    common = {name: [one[name] for one in predictions] for name in names}
    if spec.task == "regression":
        return {"value": [one.get("value", math.nan) for one in predictions], **common}
    if spec.task == "binary":
        return {"score": [one.get("score", math.nan) for one in predictions], **common}
    classes = next((list(one["probabilities"]) for one in predictions if "probabilities" in one), [""])
    shares = [[one.get("probabilities", {}).get(name, math.nan) for name in classes] for one in predictions]
    return {"class": [str(one.get("class", "")) for one in predictions], "probabilities": shares, **common}


def _outputs(spec: ModelSpec) -> dict[str, tuple[str, list[int]]]:
    """Datatype and shape of every output, by name."""
    own = {
        "binary": {"score": ("FP64", [-1])},
        "regression": {"value": ("FP64", [-1])},
        "multiclass": {"class": ("BYTES", [-1]), "probabilities": ("FP64", [-1, -1])},
    }[spec.task]
    part = {} if spec.segments is None else {"segment": ("BYTES", [-1])}
    return {**own, "version": ("INT32", [-1]), "route": ("BYTES", [-1]), **part}


def _describe(predictor: Predictor, whole: Deployment | None) -> dict[str, Any]:
    tensors = _outputs(predictor.model.spec).items()
    return {
        "name": predictor.key.model,
        "versions": [str(number) for number in sorted(whole.fitted if whole else ())],
        "platform": _NAME,
        "inputs": [{"name": f.name, "datatype": DATATYPES[f.type], "shape": [-1]} for f in predictor.reader.fields],
        "outputs": [{"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in tensors],
    }


def _number(version: str) -> int:
    if not version.isascii() or not version.isdigit() or not 0 < int(version) < 2**31:
        message = f"no version {version[:40]!r}; expected a number, such as 3"
        raise Refusal(404, "unknown_version", message)
    return int(version)
