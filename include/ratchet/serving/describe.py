"""What the service says of its models and of itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from include.ratchet.serving.payload import Field
from include.ratchet.serving.predictor import Predictor

_REF = "#/components/schemas/"
_ANY: dict[str, Any] = {}


def describe_model(predictor: Predictor) -> dict[str, Any]:
    """What a model takes, which versions answer, and what its online features know."""
    spec, deployment = predictor.model.spec, predictor.deployment
    histories, online = deployment.scorer.histories, spec.serving.online
    return {
        "name": spec.name,
        "segment": predictor.key.segment,
        "description": spec.description,
        "task": spec.task,
        "route": deployment.route.to_dict(),
        "versions": sorted(deployment.fitted),
        "online": {
            "known_until": histories.known_until.isoformat(),
            "reaches_back_to": (histories.reach_from + spec.prediction_lead).isoformat(),
            "max_age_seconds": online.max_age / timedelta(seconds=1),
            "when_stale": online.when_stale,
        },
        "max_rows": spec.serving.max_rows,
        "fields": [_describe_field(field) for field in predictor.reader.fields],
    }


def example_body(predictor: Predictor) -> dict[str, Any]:
    """A request of one row with a value for every field."""
    known_until = predictor.deployment.scorer.histories.known_until + predictor.model.spec.prediction_lead
    return {"rows": [{field.name: _example(field, known_until.isoformat()) for field in predictor.reader.fields}]}


def _describe_field(field: Field) -> dict[str, Any]:
    return {"name": field.name, "type": field.type, "is_required": field.is_required, "expected": field.expectation}


def _example(field: Field, instant: str) -> Any:
    spec = field.spec
    if spec is not None and spec.values:
        return spec.values[0]
    low = 0 if spec is None or spec.min is None else spec.min
    return {
        "string": "text", "integer": int(low), "float": float(low), "boolean": True, "timestamp": instant,
        "date": instant[:10],
    }[field.type]  # fmt: skip


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


_ROW = {"type": "object", "description": "Values of the model's fields; GET /v1/models/{model} lists them."}
_INSTANT = {"type": "string", "format": "date-time"}
_ERROR = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "error": {"type": "string"},
        "message": {"type": "string"},
        "problems": {"type": "array", "items": {
            "type": "object", "required": ["path", "found", "expected"],
            "properties": {"path": {"type": "array"}, "found": {"type": "string"}, "expected": {"type": "string"}},
        }},
    },
}  # fmt: skip
SCHEMAS: dict[str, dict[str, Any]] = {
    "PredictRequest": {
        "type": "object", "required": ["rows"], "additionalProperties": False,
        "properties": {
            "rows": {"type": "array", "minItems": 1, "items": _ROW},
            "request_id": {"type": "string", "minLength": 1, "maxLength": 200},
            "version": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
        },
    },
    "PredictAnswer": {
        "type": "object", "required": ["request_id", "model", "known_until", "predictions"],
        "properties": {
            "request_id": {"type": "string"}, "model": {"type": "string"}, "known_until": _INSTANT,
            "predictions": {"type": "array", "items": {
                "type": "object", "required": ["row", "version", "route", "is_stale"],
                "properties": {
                    "row": {"type": "integer"}, "version": {"type": "integer"},
                    "route": {"enum": ["champion", "challenger", "defer"]}, "is_stale": {"type": "boolean"},
                    "score": {"type": "number"}, "value": {"type": "number"}, "class": _ANY,
                    "probabilities": {"type": "object"}, "answer": {"const": "defer"},
                },
            }},
        },
    },
    "FeedbackRequest": {
        "type": "object", "required": ["feedback"], "additionalProperties": False,
        "properties": {"feedback": {"type": "array", "minItems": 1, "maxItems": 1000, "items": {
            "type": "object", "additionalProperties": False,
            "properties": {
                "request_id": {"type": ["string", "null"], "maxLength": 200},
                "row": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
                "key": {"type": ["object", "null"]}, "kind": {"enum": ["label", "human", "unhelpful"]},
                "value": {"type": ["boolean", "number", "string", "null"]},
                "available_time": {"type": ["string", "null"], "format": "date-time"},
            },
        }}},
    },
    "FeedbackAnswer": {"type": "object", "required": ["accepted"], "properties": {"accepted": {"type": "integer"}}},
    "Models": {"type": "object", "required": ["models"], "properties": {"models": {"type": "array", "items": {
        "type": "object", "required": ["name", "is_loaded"]}}}},
    "Model": {"type": "object", "required": ["name", "task", "route", "versions", "online", "fields"]},
    "InferRequest": {
        "type": "object", "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "maxLength": 200},
            "inputs": {"type": "array", "minItems": 1, "items": {
                "type": "object", "required": ["name", "shape", "datatype"],
                "properties": {
                    "name": {"type": "string"}, "datatype": {"type": "string"}, "data": {"type": "array"},
                    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                },
            }},
            "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        },
    },
    "InferAnswer": {"type": "object", "required": ["model_name", "model_version", "outputs"]},
    "Invocation": {
        "type": "object", "minProperties": 1,
        "properties": {
            "dataframe_split": {"type": "object", "required": ["columns", "data"]},
            "dataframe_records": {"type": "array", "items": _ROW}, "instances": _ANY, "inputs": _ANY,
        },
    },
    "InvocationAnswer": {"type": "object", "required": ["predictions"], "properties": {
        "predictions": {"type": "array"}}},
    "Anything": {"type": "object"},
    "Refusal": _ERROR,
}  # fmt: skip
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": words, "content": _json({"$ref": _REF + "Refusal"})}
    for status, words in {
        400: "The body is not JSON", 401: "No API key", 403: "A key without the scope", 404: "No such model or version",
        409: "The model cannot answer yet", 413: "Too large", 422: "Wrong fields, each with where, found and expected",
        429: "Too many requests", 500: "The prediction failed",
        503: "Overloaded, stale, or it cannot be recorded: try again after Retry-After",
    }.items()
}  # fmt: skip
"""What a caller may be told instead of an answer."""


def schema_of(request: str | None, answer: str, status: int = 200) -> dict[str, Any]:
    """What FastAPI cannot see of a route that reads its body itself."""
    found: dict[str, Any] = {
        "responses": {str(status): {"description": "The answer", "content": _json({"$ref": _REF + answer})}}
    }
    if request is not None:
        found["requestBody"] = {"required": True, "content": _json({"$ref": _REF + request})}
    return found
