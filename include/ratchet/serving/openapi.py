"""The service's OpenAPI document: bodies, refusals, parameters and examples, which FastAPI cannot see by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

from include.ratchet.serving.describe import example_bodies
from include.ratchet.serving.predictor import Predictor
from include.ratchet.serving.protocols import TEXT_PATTERN
from include.ratchet.serving.tensors import INPUT_TYPES
from include.ratchet.spec import WHOLE
from include.ratchet.spec.segments import MAX_NAME

Schema = dict[str, Any]
_REF = "#/components/schemas/"
LISTED, MOST_LISTED = 100, 1000
"""Entries of a page, where nobody says how many, and at most."""


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    """An object of these properties and no others."""
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def _list(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_ANY: Schema = {}
_TEXT: Schema = {"type": "string"}
_WORD: Schema = {"type": "string", "pattern": TEXT_PATTERN}
_TRUTH: Schema = {"type": "boolean"}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_VERSION: Schema = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
_INSTANT: Schema = {"type": "string", "format": "date-time"}
_ID: Schema = {**_WORD, "maxLength": 200}
_SEGMENT: Schema = {
    "type": "string", "minLength": 1, "maxLength": MAX_NAME, "pattern": r"^[^\x00]+$",
    "description": "Of a model that is divided: the name of a segment, such as UA.",
}  # fmt: skip
_ROW: Schema = {"type": "object", "description": "Values of the model's fields; GET /v1/models/{model} lists them."}
_ROWS = _list(_ROW, minItems=1)
_COLUMNS: Schema = {"type": "object", "minProperties": 1, "description": "Values of each field, by its name."}
_SPLIT: Schema = {
    "type": "object", "required": ["columns", "data"],
    "properties": {"columns": {**_list(_TEXT), "uniqueItems": True}, "data": _list(_list(_ANY), minItems=1)},
}  # fmt: skip
_ROUTE = _object({
    "mode": {"enum": ["direct", "shadow", "canary", "ab", "blue_green", "defer"]}, "champion": _VERSION,
    "challenger": _or_null(_VERSION), "share": {"type": "number", "minimum": 0, "maximum": 1}, "salt": _TEXT,
    "is_shadowed": _TRUTH,
})  # fmt: skip
_PREDICTION = _object(
    {"row": _COUNT, "version": _VERSION, "is_stale": _TRUTH,
     "route": {"enum": ["champion", "challenger", "defer", "pinned", "holdout"]}},
    {"score": _NUMBER, "value": _NUMBER, "class": {"type": ["boolean", "string"]},
     "probabilities": {"type": "object", "additionalProperties": _NUMBER}, "answer": {"const": "defer"},
     "held_out": {**_TRUTH, "description": "Withheld: do as without the model, or as `class` or `value` say."},
     "segment": _TEXT, "pooled_for": _TEXT},
)  # fmt: skip
_AMOUNT: Schema = {"anyOf": [_NUMBER, {"type": "object", "additionalProperties": _NUMBER}]}
_AMOUNTS: Schema = {"type": "object", "additionalProperties": _AMOUNT}
_EXPLANATION: Schema = {
    "type": "object", "required": ["row"], "additionalProperties": False,
    "properties": {
        "row": _COUNT, "version": _VERSION, "method": {"enum": ["trees", "linear", "enumerated", "sampled"]},
        "is_exact": _TRUTH, "base": _AMOUNT, "contributions": _AMOUNTS, "standard_errors": _AMOUNTS,
        "space": {"enum": ["log_odds", "log_scores", "log_value", "probability", "value"]},
        "residual": {**_NUMBER, "description": "By how much base and contributions miss the prediction."},
        "note": _TEXT, "not_explained": {**_TEXT, "description": "Why there is no explanation of this row."},
    },
    "oneOf": [{"required": ["contributions"]}, {"required": ["not_explained"]}],
}  # fmt: skip
_FEEDBACK: Schema = {
    **_object({}, {
        "request_id": {"type": ["string", "null"], "maxLength": 200},
        "row": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
        "key": {"type": ["object", "null"], "description": "Values of the model's keys."},
        "kind": {"enum": ["label", "human", "unhelpful"]}, "value": {"type": ["boolean", "number", "string", "null"]},
        "available_time": {"type": ["string", "null"], "format": "date-time"},
    }),
    "oneOf": [{"required": [name], "properties": {name: {"type": kind}}}
              for name, kind in (("request_id", "string"), ("key", "object"))],
    "anyOf": [{"required": ["value"], "properties": {"value": {"not": {"type": "null"}}}},
              {"required": ["kind"], "properties": {"kind": {"const": "unhelpful"}}}],
}  # fmt: skip
_TENSOR_ABOUT = _object({"name": _TEXT, "datatype": _TEXT, "shape": _list({"type": "integer"})})
_TENSOR = _object(
    {"name": _TEXT, "datatype": _TEXT, "shape": _list(_COUNT)},
    {"data": _list(_ANY), "parameters": _object({"binary_data_size": _COUNT})},
)


def _parameter(name: str, schema: Schema) -> Schema:
    return {"type": "object", "properties": {name: schema}}


_INPUT: Schema = {
    "type": "object", "required": ["name", "shape", "datatype"],
    "properties": {
        "name": _TEXT, "datatype": {"enum": list(INPUT_TYPES)}, "data": _list(_ANY),
        "parameters": _parameter("binary_data_size", _COUNT),
        # [n] or [n, 1]
        "shape": {"type": "array", "minItems": 1, "prefixItems": [_COUNT], "items": {"const": 1}},
    },
}  # fmt: skip
_STATE: Schema = {
    "type": "object", "required": ["strategy", "champion", "challenger", "stage_name", "status", "actor", "reason"],
    "properties": {
        "status": {"enum": ["running", "waiting_approval", "paused", "finished", "reverted"]}, "champion": _VERSION,
        "challenger": _or_null(_VERSION), "started_at": _INSTANT, "stage_since": _INSTANT,
        "numbers": {"type": "object"},
    },
}  # fmt: skip
_STANDING: Schema = {
    "model": _TEXT, "segment": _TEXT, "aliases": {"type": "object", "additionalProperties": _VERSION},
    "route": _or_null(_ROUTE), "weights": {"type": "object", "additionalProperties": _NUMBER},
    "title": _or_null(_TEXT), "state": _or_null(_STATE),
}  # fmt: skip
_EVIDENCE = _object({"as_of": _INSTANT, "asks_for": _TEXT, "reason": _TEXT, "numbers": {"type": "object"}})
_PROBLEM = _object({"path": _list({"type": ["string", "integer"]}), "found": _TEXT, "expected": _TEXT})
SCHEMAS: dict[str, Schema] = {
    "PredictRequest": _object({"rows": _ROWS}, {"request_id": _or_null(_ID), "version": _or_null(_VERSION),
                                                "segment": _or_null(_SEGMENT)}),
    "PredictAnswer": _object(
        {"request_id": _TEXT, "model": _TEXT, "known_until": _INSTANT, "predictions": _list(_PREDICTION, minItems=1)},
        {"explanations": _list(_EXPLANATION, minItems=1)},
    ),
    "FeedbackRequest": _object({"feedback": _list(_FEEDBACK, minItems=1, maxItems=1000)}),
    "FeedbackAnswer": _object({"accepted": _COUNT}),
    "Models": _object({"models": _list(_object({"name": _TEXT, "is_loaded": _TRUTH}))}),
    "Model": _object({
        "name": _TEXT, "segment": _TEXT, "description": _TEXT, "task": {"enum": ["binary", "multiclass", "regression"]},
        "route": _or_null(_ROUTE), "versions": _list(_VERSION), "max_rows": _COUNT,
        "online": _object({"known_until": _INSTANT, "reaches_back_to": _or_null(_INSTANT), "max_age_seconds": _NUMBER,
                           "when_stale": {"enum": ["answer", "refuse"]}}),
        "fields": _list(_object({"name": _TEXT, "type": _TEXT, "is_required": _TRUTH, "expected": _TEXT})),
    }, {"segments": _object({"by": _list(_TEXT), "own": _COUNT, "pool": _or_null(_VERSION)})}),
    "Segments": _object({
        "segments": _list(_object({"segment": _TEXT, "champion": _or_null(_VERSION),
                                   "challenger": _or_null(_VERSION)})),
        "next": _or_null(_TEXT),
    }),
    "InferRequest": {
        "type": "object", "required": ["inputs"],
        "properties": {
            "id": {"anyOf": [_ID, {"enum": ["", None]}]}, "inputs": _list(_INPUT, minItems=1),
            "parameters": {"type": "object", "properties": {"binary_data_output": _or_null(_TRUTH),
                                                            "segment": _or_null(_SEGMENT)}},
            "outputs": _list({"type": "object", "required": ["name"], "properties": {
                "name": _TEXT, "parameters": _parameter("binary_data", _or_null(_TRUTH))}}),
        },
    },
    "InferAnswer": _object({"model_name": _TEXT, "model_version": _TEXT, "id": _TEXT, "outputs": _list(_TENSOR)}),
    "Server": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
    "Live": _object({"live": _TRUTH}),
    "Ready": _object({"ready": _TRUTH}, {"name": _TEXT}),
    "Tensors": _object({"name": _TEXT, "versions": _list(_TEXT), "platform": _TEXT, "inputs": _list(_TENSOR_ABOUT),
                        "outputs": _list(_TENSOR_ABOUT)}),
    "Invocation": {"oneOf": [
        _object({name: form}, {"params": _ANY, "signature_name": _ANY}) for name, form in (
            ("dataframe_split", _SPLIT), ("dataframe_records", _ROWS), ("instances", {"anyOf": [_ROWS, _COLUMNS]}),
            ("inputs", {"anyOf": [_ROWS, _COLUMNS]}))
    ]},
    "InvocationAnswer": _object({"predictions": _list(_ANY, minItems=1)}),
    "Order": _object({"reason": {**_WORD, "maxLength": 1000, "description": "Why; it is kept in the ledger."}}),
    "Rollout": _object(_STANDING, {"evidence": _or_null(_EVIDENCE)}),
    "Moved": _object({"words": _TEXT, "is_registry_behind": _TRUTH, "rollout": _object(_STANDING)}),
    "Nothing": _object({}),
    "Refusal": _object({"error": _TEXT, "message": _TEXT, "problems": _list(_PROBLEM)}),
    "RefusalV2": _object({"error": _TEXT}),
    "RefusalMlflow": _object({"error_code": _TEXT, "message": _TEXT}),
}  # fmt: skip
_REFUSALS = {
    400: "The body is not JSON", 401: "No API key", 403: "A key without the scope", 404: "No such model or version",
    409: "Not as things stand: the message says why, and what to do", 413: "Too large",
    422: "Wrong fields, each with where, found and expected", 429: "Too many requests", 500: "The request failed",
    503: "Overloaded, stale, not recorded, or database or registry is away: try again after Retry-After",
}  # fmt: skip
CALL = (401, 429, 500, 503)
"""What any caller may be told instead of an answer."""
MODEL_CALL = (*CALL, 404, 409)
BODY_CALL = (*MODEL_CALL, 400, 403, 413, 422)
LIST_CALL = (*MODEL_CALL, 422)
ADMIN_READ = (*CALL, 403, 404)
ADMIN_CALL = (*ADMIN_READ, 400, 409, 413, 422)
_LATER = {"Retry-After": {"required": True, "description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
_REQUEST_ID = {
    "name": "X-Request-Id", "in": "header", "required": False, "schema": {**_ID, "pattern": "^[!-~]+$"},
    "description": "The same id again gets the first answer, and nothing is done twice.",
}  # fmt: skip


def _query(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema}


SEGMENT_QUERY = ({**_query("segment", _SEGMENT), "example": WHOLE},)
EXPLAIN_QUERY = (_query("explain", {"enum": ["true", "false"], "default": "false", "description":
                        "Whether each row's answer is explained, of at most 100 rows."}),)  # fmt: skip
LIST_QUERY = (
    _query("after", {**_SEGMENT, "description": "Segments behind this name: `next` of the page before."}),
    _query("limit", {"type": "integer", "minimum": 1, "maximum": MOST_LISTED, "default": LISTED}),
)


def documented(
    answer: str, refusals: Iterable[int] = (), *, request: str | None = None, status: int = 200,
    refusal: str = "Refusal", takes_id: bool = False, query: Sequence[Schema] = (), unready: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What FastAPI cannot see of a route that reads and writes bodies itself, as arguments of the route.

    Args:
        answer: name of the schema of what is answered.
        refusals: statuses of what may be told instead.
        request: name of the schema of the body.
        status: of an answer.
        refusal: name of the schema of refusals.
        takes_id: whether the request may be named in a header.
        query: parameters in the address.
        unready: name of the schema of what is answered with 503 while nothing can be recorded.
    """
    responses = {status: {"description": "The answer", "content": _json(answer)}}
    for code in sorted(refusals):
        later = {"headers": _LATER} if code in (429, 503) else {}
        responses[code] = {"description": _REFUSALS[code], "content": _json(refusal), **later}
    if unready is not None:
        responses[503] = {"description": "Nothing can be recorded now", "content": _json(unready)}
    extra: dict[str, Any] = {} if 401 in responses else {"security": []}
    if request is not None:
        extra["requestBody"] = {"required": True, "content": _json(request)}
    if takes_id or query:
        extra["parameters"] = [*([_REQUEST_ID] if takes_id else []), *query]
    return {"responses": responses, "status_code": status, "openapi_extra": extra}


def complete(document: dict[str, Any], predictors: Iterable[Predictor], *, needs_key: bool) -> dict[str, Any]:
    """FastAPI's document with the bodies' schemas, keys, and an example of every model that is loaded."""
    document = deepcopy(document)
    components = document.setdefault("components", {})
    components["schemas"] = SCHEMAS
    if needs_key:
        components["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }  # fmt: skip
        document["security"] = [{"bearer": []}, {"key": []}]
    examples = {predictor.key.model: example_bodies(predictor) for predictor in predictors}
    for operation in (one for path in document["paths"].values() for one in path.values()):
        _complete_operation(operation, examples)
    return document


def _complete_operation(operation: dict[str, Any], examples: dict[str, dict[str, Any]]) -> None:
    if "HTTPValidationError" in str(operation["responses"].get("422")):  # FastAPI's guess: no parameter is ever wrong
        del operation["responses"]["422"]
    for parameter in operation.get("parameters", ()):
        if parameter["name"] == "model" and examples:
            parameter["examples"] = {name: {"value": name} for name in examples}
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]["$ref"].removeprefix(_REF)
        shown = {name: {"value": bodies[schema]} for name, bodies in examples.items() if schema in bodies}
        if shown:
            content["examples"] = shown


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF + schema}}}
