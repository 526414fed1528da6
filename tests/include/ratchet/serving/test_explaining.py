"""Explanations for callers who ask: true to the version, bounded, and nothing for those who do not."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from include.ratchet.errors import OverloadError
from include.ratchet.explanations.encoding import NotSeparableError
from include.ratchet.explanations.explainer import Explainer
from include.ratchet.features import Inputs, scoring_rows
from include.ratchet.registry.example import BACKGROUND, load_example
from include.ratchet.registry.versions import get_version, load_estimator, read_artifact
from include.ratchet.serving.explaining import Explaining
from include.ratchet.settings import PROJECT
from include.ratchet.spec import get_model
from include.ratchet.training.frames import features_frame
from tests.include.ratchet.serving.conftest import KEY, MODEL, make_rows

# MLflow 3.17 without its server warns of its own SQLAlchemy usage and leaves connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("default")


def ask(served, rows, explain="true", **more):
    return served.client.post(f"/v1/models/{MODEL}/predict", params={"explain": explain}, json={"rows": rows, **more})


def test_contributions_are_those_of_the_version_on_the_features_that_answered(serve, settings, trained):
    served, rows = serve(), make_rows(3)
    answer = ask(served, rows)
    assert answer.status_code == 200, answer.text
    told, predicted = answer.json()["explanations"], answer.json()["predictions"]
    model, version = get_model(settings.models_dir, MODEL), get_version(KEY, 2, settings)
    whole = Inputs.open(settings.__class__(**{**settings.__dict__, "store": str(trained / "store")}), model)
    times = [datetime.fromisoformat(row["ordered_at"]) for row in rows]
    table = pa.table({**{name: [row[name] for row in rows] for name in ("order_id", "shop", "price")},
                      "ordered_at": pa.array(times, pa.timestamp("us", "UTC"))})  # fmt: skip
    frame = features_frame(scoring_rows(model, KEY, whole, table, settings=settings), version.lineage.features)
    background = load_example(read_artifact(version, BACKGROUND, settings))[0]
    explainer = Explainer(load_estimator(model, version, settings), background, "binary", model.spec.training.seed)
    expected = explainer.explain(frame).to_rows()
    assert told == [{"row": row, "version": 2, **one} for row, one in enumerate(expected)]
    assert {one["method"] for one in told} == {"linear"}
    for one, prediction in zip(told, predicted, strict=True):
        summed = one["base"] + sum(one["contributions"].values())
        assert 1 / (1 + np.exp(-summed)) == pytest.approx(prediction["score"], abs=1e-9)
        assert set(one["contributions"]) == {"shop", "price", "shop_return_rate_7d"}
    assert (
        'ratchet_explained_rows_total{method="linear",model="order_returns"} 3.0' in served.client.get("/metrics").text
    )


def test_who_does_not_ask_gets_no_explanation_and_nothing_is_made_for_it(serve):
    served = serve()
    for answer in (served.predict(make_rows(2)), ask(served, make_rows(2), explain="false")):
        assert "explanations" not in answer.json()
    assert not served.service.explaining._made
    assert not served.service.explaining._pool._threads


def test_the_service_is_imported_without_what_explains():
    code = (
        "import sys, include.ratchet.serving.app as _;"
        "print([name for name in sys.modules if name == 'shap' or name.startswith('include.ratchet.explanations.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_too_many_rows_and_a_wrong_switch_are_refused_before_anything_is_recorded(serve):
    served = serve()
    refused = ask(served, make_rows(101))
    assert refused.status_code == 413
    assert "at most 100 are explained at once" in refused.json()["message"]
    wrong = ask(served, make_rows(1), explain="yes")
    assert wrong.status_code == 422
    assert wrong.json()["problems"] == [{"path": ["explain"], "found": "'yes'", "expected": "true or false"}]
    assert served.service.log.waiting().rows == 0
    assert ask(served, make_rows(100)).status_code == 200


def test_a_repeated_request_says_where_its_explanation_is(serve):
    served = serve()
    first = ask(served, make_rows(2), request_id="twice")
    again = ask(served, make_rows(2), request_id="twice")
    assert again.headers["x-repeated"] == "true"
    assert again.json()["predictions"] == first.json()["predictions"]
    assert all("replay twice --explain" in one["not_explained"] for one in again.json()["explanations"])


def test_what_cannot_be_explained_is_answered_all_the_same(serve, monkeypatch):
    served = serve()

    def lose(*_):
        raise RuntimeError

    monkeypatch.setattr("include.ratchet.serving.explaining.load_background", lose)
    answer = ask(served, make_rows(2))
    assert answer.status_code == 200
    assert answer.json()["explanations"] == [
        {"row": row, "version": 2, "not_explained": "RuntimeError"} for row in range(2)
    ]
    assert 'method="failed"' in served.client.get("/metrics").text


def test_a_version_that_is_asked_from_outside_is_explained_for_a_few_rows(serve, monkeypatch):
    def fail(*_):
        raise NotSeparableError("it is opaque")

    monkeypatch.setattr("include.ratchet.explanations.explainer.read_encoding", fail)
    served = serve()
    told = ask(served, make_rows(12)).json()["explanations"]
    assert {(one["method"], one["space"], one["note"]) for one in told[:10]} == {
        ("enumerated", "probability", "it is opaque")
    }
    assert all("send this one by itself" in one["not_explained"] for one in told[10:])


def test_a_pinned_version_is_explained_by_its_own_background(serve):
    served = serve()
    told = ask(served, make_rows(1), version=1).json()["explanations"]
    assert told[0]["version"] == 1
    assert told[0]["residual"] < 1e-9


def test_places_are_bounded_and_given_back(settings):
    explaining = Explaining(settings, lambda: None)
    explaining.reserve(100)
    explaining.reserve(300)
    with pytest.raises(OverloadError, match="400 rows wait to be explained"):
        explaining.reserve(1)
    explaining.release(300)
    explaining.reserve(1)
