"""What the service says of its models: what they take, which versions answer, and requests to start from."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from include.ratchet.features.online import EVER
from include.ratchet.serving.fitted import Deployment
from include.ratchet.serving.payload import Field
from include.ratchet.serving.predictor import Predictor
from include.ratchet.serving.tensors import DATATYPES
from include.ratchet.spec import WHOLE


def describe_model(predictor: Predictor, deployment: Deployment | None, own: int) -> dict[str, Any]:
    """What a model takes, which versions answer, and what its online features know.

    Args:
        predictor: of the model.
        deployment: of which versions to tell: the whole or pooled model's, or a segment's; None: there is none.
        own: how many segments have a model of their own.
    """
    spec, whole = predictor.model.spec, predictor.deployment
    histories, online = predictor.online.scorer.histories, spec.serving.online
    reach = histories.reach_from + spec.prediction_lead
    parts: dict[str, Any] = {} if spec.segments is None else {
        "segments": {"by": spec.segments.by, "own": own, "pool": whole.route.champion if whole else None}
    }  # fmt: skip
    return {
        "name": spec.name,
        "segment": deployment.key.segment if deployment else WHOLE,
        "description": spec.description,
        "task": spec.task,
        "route": deployment.route.to_dict() if deployment else None,
        "versions": sorted(deployment.fitted) if deployment else [],
        **parts,
        "online": {
            "known_until": histories.known_until.isoformat(),
            "reaches_back_to": reach.isoformat() if histories.reach_from > EVER else None,
            "max_age_seconds": online.max_age / timedelta(seconds=1),
            "when_stale": online.when_stale,
        },
        "max_rows": spec.serving.max_rows,
        "fields": [_describe_field(field) for field in predictor.reader.fields],
    }


def example_body(predictor: Predictor) -> dict[str, Any]:
    """A request of one row with a value for every field."""
    known_until = predictor.online.scorer.histories.known_until + predictor.model.spec.prediction_lead
    return {"rows": [{field.name: _example(field, known_until.isoformat()) for field in predictor.reader.fields}]}


def example_bodies(predictor: Predictor) -> dict[str, Any]:
    """Requests of that row in every protocol, by the names of their schemas."""
    body = example_body(predictor)
    (row,) = body["rows"]
    tensors = [
        {"name": field.name, "datatype": DATATYPES[field.type], "shape": [1], "data": [row[field.name]]}
        for field in predictor.reader.fields
    ]
    key = {name: row[name] for name in predictor.model.spec.keys}
    return {
        "PredictRequest": body, "InferRequest": {"inputs": tensors}, "Invocation": {"dataframe_records": [row]},
        "FeedbackRequest": {"feedback": [{"key": key, "value": True}]},
    }  # fmt: skip


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
