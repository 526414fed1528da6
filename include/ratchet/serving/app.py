"""The service over HTTP: its own protocol, and everything that belongs to no protocol."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from inspect import signature
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException

from include.ratchet.errors import RatchetError
from include.ratchet.serving import administration, invocations, v2
from include.ratchet.serving.alarms import ReportMove
from include.ratchet.serving.describe import describe_model, example_body
from include.ratchet.serving.feedback import Feedback
from include.ratchet.serving.gate import AWAY, Gate, Refusal, refusal_of, respond
from include.ratchet.serving.openapi import (
    BODY_CALL,
    CALL,
    EXPLAIN_QUERY,
    LIST_CALL,
    LIST_QUERY,
    LISTED,
    MODEL_CALL,
    MOST_LISTED,
    SEGMENT_QUERY,
    complete,
    documented,
)
from include.ratchet.serving.payload import Problem
from include.ratchet.serving.protocols import (
    find,
    find_part,
    find_whole,
    invalid,
    predict,
    predict_explained,
    read_segment,
    read_switch,
)
from include.ratchet.serving.segments import list_segments
from include.ratchet.serving.service import Service

_log = logging.getLogger(__name__)
_FEEDBACK: TypeAdapter[list[Feedback]] = TypeAdapter(list[Feedback])
_MOST_FEEDBACK = 1000


class _DirectRoute(APIRoute):
    """An endpoint that reads its request and makes its answer by itself: nothing is left to be solved or validated."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Calls the endpoint with the path's parts, and with the request if it takes that."""
        endpoint, takes_request = self.endpoint, "request" in signature(self.endpoint).parameters

        async def handle(request: Request) -> Response:
            given = {"request": request} if takes_request else {}
            answer: Response = await endpoint(**request.path_params, **given)
            return answer

        return handle


def create_app(service: Service, gate: Gate, report: ReportMove) -> FastAPI:
    """The application of one service; it closes the service when it ends, and reports what callers move."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        gate.open()
        yield
        gate.close()
        service.close()

    app = FastAPI(
        title="Ratchet's prediction service", version="1", lifespan=life, redoc_url=None,
        description="Predictions that are routed, and recorded before they are answered.",
    )  # fmt: skip
    app.router.route_class = _DirectRoute
    _add_predict(app, service, gate)
    _add_models(app, service, gate)
    _add_feedback(app, service, gate)
    _add_operations(app, service, gate)
    v2.add_routes(app, service, gate)
    invocations.add_routes(app, service, gate)
    administration.add_routes(app, service, gate, report)
    _add_handlers(app)
    generate = app.openapi
    app.openapi = lambda: complete(  # type: ignore[method-assign]
        generate(), service.deployments.all(), needs_key=gate.needs_key
    )
    return app


def _add_predict(app: FastAPI, service: Service, gate: Gate) -> None:
    @app.post("/v1/models/{model}/predict", tags=["predict"],
              **documented("PredictAnswer", BODY_CALL, request="PredictRequest", takes_id=True,
                           query=EXPLAIN_QUERY))  # fmt: skip
    async def predict_rows(model: str, request: Request) -> Response:
        """Predict rows of named fields. A request that is sent again under the same id gets the recorded answer.

        With `explain=true` the answer also says what each column contributed to it.
        """
        caller = gate.admit(request, "predict")
        wants_explanation = read_switch("explain", request.query_params.get("explain"))
        content = await gate.read_json(request)
        unknown = content.keys() - {"rows", "request_id", "version", "segment"}
        if unknown:
            raise invalid([Problem((name,), repr(content[name])[:80], "rows, request_id, version and segment only")
                           for name in sorted(unknown)])  # fmt: skip
        asked: dict[str, Any] = {
            "caller": caller, "version": content.get("version"), "segment": content.get("segment"),
            "request_id": content.get("request_id", request.headers.get("x-request-id")),
        }  # fmt: skip
        further: dict[str, Any] = {}
        if wants_explanation:
            _, answer, told = await predict_explained(service, "v1", model, content.get("rows"), **asked)
            further["explanations"] = told
        else:
            _, answer = await predict(service, "v1", model, content.get("rows"), **asked)
        headers = {"X-Repeated": "true"} if answer.is_repeated else None
        return respond({**answer.content, **further}, headers=headers)


def _add_feedback(app: FastAPI, service: Service, gate: Gate) -> None:
    @app.post("/v1/models/{model}/feedback", tags=["feedback"],
              **documented("FeedbackAnswer", BODY_CALL, request="FeedbackRequest", status=202))  # fmt: skip
    async def add_feedback(model: str, request: Request) -> Response:
        """Say how predictions turned out: labels, people's answers to deferred requests, and what did not help."""
        caller = gate.admit(request, "feedback")
        content = await gate.read_json(request)
        predictor = await find(service, model)
        given = content.get("feedback")
        if not isinstance(given, list) or not 0 < len(given) <= _MOST_FEEDBACK or len(content) > 1:
            found = Problem(
                ("feedback",), repr(given)[:80], f"a list of 1 to {_MOST_FEEDBACK} entries, and nothing else"
            )
            raise invalid([found])
        try:
            # As JSON, strictly: "1" is no number, and an instant is text.
            said = _FEEDBACK.validate_json(orjson.dumps(given), strict=True)
        except orjson.JSONEncodeError as error:
            raise Refusal(422, "nested_too_deep", str(error)) from error
        except ValidationError as error:
            raise invalid([
                Problem(("feedback", *one["loc"]), repr(one["input"])[:80], one["msg"]) for one in error.errors()
            ]) from error  # fmt: skip
        try:
            await service.add_feedback(predictor, said, caller)
        except ValueError as error:
            raise Refusal(422, "invalid", str(error)) from error
        return respond({"accepted": len(said)}, 202)


def _add_models(app: FastAPI, service: Service, gate: Gate) -> None:
    @app.get("/v1/models", tags=["models"], **documented("Models", CALL))
    async def list_models(request: Request) -> Response:
        """Every model by name, and whether it is loaded."""
        gate.admit(request)
        loaded = {predictor.key.model for predictor in service.deployments.all()}
        return respond({"models": [{"name": name, "is_loaded": name in loaded} for name in service.model_names()]})

    @app.get("/v1/models/{model}", tags=["models"], **documented("Model", MODEL_CALL, query=SEGMENT_QUERY))
    async def get_model(model: str, request: Request) -> Response:
        """What a model takes, which versions answer, and what its online features know."""
        gate.admit(request)
        predictor = await find(service, model)
        whole = await find_whole(service, predictor)
        segment = request.query_params.get("segment")
        chosen = whole if segment is None else await find_part(service, predictor, segment)
        return respond(describe_model(predictor, chosen, len(service.deployments.segments(predictor.key.model))))

    @app.get("/v1/models/{model}/segments", tags=["models"], **documented("Segments", LIST_CALL, query=LIST_QUERY))
    async def get_segments(model: str, request: Request) -> Response:
        """The segments of a model that have a version of their own, a page at a time."""
        gate.admit(request)
        predictor = await find(service, model)
        after, limit = _read_page(request)
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            None, list_segments, service.settings, predictor.key.model, after, limit
        )  # fmt: skip
        return respond({"segments": found, "next": found[-1]["segment"] if len(found) == limit else None})

    @app.get("/v1/models/{model}/example", tags=["models"], **documented("PredictRequest", MODEL_CALL))
    async def get_example(model: str, request: Request) -> Response:
        """A request of one row that a caller can start from."""
        gate.admit(request)
        return respond(example_body(await find(service, model)))


def _read_page(request: Request) -> tuple[str, int]:
    """Behind which name a page begins, and how many entries it has."""
    limit = request.query_params.get("limit", str(LISTED))
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= MOST_LISTED:
        raise invalid([Problem(("limit",), repr(limit)[:80], f"a number from 1 to {MOST_LISTED}")])
    return read_segment(request.query_params.get("after")) or "", int(limit)


def _add_operations(app: FastAPI, service: Service, gate: Gate) -> None:
    answers = documented("Nothing", CALL)
    answers["responses"].pop(200)

    @app.get("/metrics", tags=["operations"], response_class=PlainTextResponse, **answers)
    async def metrics(request: Request) -> Response:
        """Counts, for Prometheus."""
        gate.admit(request)
        service.observe()
        return Response(service.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_handlers(app: FastAPI) -> None:
    async def refuse(request: Request, error: Exception) -> Response:
        refusal = refusal_of(error)
        if refusal.status == 500 and isinstance(error, RatchetError):  # of others the server itself says it
            _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        path = request.url.path
        if path.startswith("/v2"):
            content: dict[str, Any] = {"error": refusal.message}
        elif path.endswith("/invocations"):
            content = {"error_code": refusal.code.upper(), "message": refusal.message}
        else:
            problems = [problem.to_dict() for problem in refusal.problems]
            content = {"error": refusal.code, "message": refusal.message, "problems": problems}
        return respond(content, refusal.status, refusal.headers)

    async def refuse_route(request: Request, error: Exception) -> Response:
        """What no route takes, in the protocol's words as well."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        detail = str(error.detail) if isinstance(error, HTTPException) else type(error).__name__
        return await refuse(
            request, Refusal(status, "no_route", f"{request.method} {request.url.path}: {detail}", (), headers)
        )

    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        Refusal: refuse, RatchetError: refuse, RecursionError: refuse, HTTPException: refuse_route, Exception: refuse,
        **dict.fromkeys(AWAY, refuse),
    }  # fmt: skip
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
