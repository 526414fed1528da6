"""Held-out keys, through a real service: withheld from the caller, scored and recorded, whatever the hand-over."""

from __future__ import annotations

import json
import math
from datetime import timedelta

import numpy as np
import pytest

from include.ratchet.data.records import RecordTable
from include.ratchet.pipeline.feedback import read_feedback
from include.ratchet.rollout.routes import is_held
from include.ratchet.serving.shipping import ship
from include.ratchet.spec import get_model
from tests.include.ratchet.serving.conftest import AS_OF, KEY, MODEL, make_rows, set_route
from tests.include.ratchet.serving.test_follow import route

pytestmark = pytest.mark.filterwarnings("default")
COUNT = 100


@pytest.fixture
def held(settings):
    """The model with a quarter of its keys held out."""
    path = settings.models_dir / MODEL / "model.yaml"
    path.write_text(path.read_text() + "serving: {holdout: {share: 0.25, answer: false}}\n")
    return settings


def drawn(settings, count=COUNT):
    """Places of the rows that are held out, by the key alone."""
    holdout = get_model(settings.models_dir, MODEL).spec.serving.holdout
    return {number for number in range(count) if is_held(holdout, json.dumps([f"new-{number}"]))}


def ask(served, count=COUNT, **more):
    answer = served.predict(make_rows(count), **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def records(served, settings):
    ship(served.service.log, settings)
    return RecordTable(settings, get_model(settings.models_dir, MODEL), "requests").read().to_pylist()


def test_held_out_rows_are_not_told_and_recorded_with_what_the_model_says(serve, held):
    served = serve()
    answers = ask(served)
    places = {row for row, one in enumerate(answers) if one["route"] == "holdout"}
    assert places == drawn(held)
    assert 10 < len(places) < 40
    for row in places:
        assert answers[row] == {"row": row, "held_out": True, "class": False, "version": 2, "route": "holdout",
                                "is_stale": False}  # fmt: skip
    assert all("score" in one and "held_out" not in one for row, one in enumerate(answers) if row not in places)
    found = {one["row"]: one for one in records(served, held)}
    assert {one["holdout"] for one in found.values()} == {0.25}
    for row in places:
        said = json.loads(found[row]["output"])
        assert (found[row]["route"], found[row]["version"]) == ("holdout", 2)
        assert said == {"score": found[row]["score"], "class": found[row]["score"] >= 0.5, "held_out": True}


def test_the_same_request_again_stays_withheld(serve, held):
    served = serve()
    first = ask(served, request_id="again")
    assert ask(served, request_id="again") == first
    assert [one["route"] for one in ask(served)] == [one["route"] for one in first]


@pytest.mark.parametrize(
    ("state", "twins"),
    [(route("canary", 1.0, is_shadowed=True), 2), (route("shadow"), 2), (route("ab", 0.5), 1)],
    ids=["canary", "shadow", "ab"],
)
def test_hold_out_goes_on_through_hand_overs_as_the_champions(serve, held, state, twins):
    set_route(held, state)
    served = serve()
    answers = ask(served)
    assert {row for row, one in enumerate(answers) if one["route"] == "holdout"} == drawn(held)
    assert {one["version"] for one in answers if one["route"] == "holdout"} == {2}
    served.wait_for(lambda: served.service.log.waiting().rows == COUNT * twins)
    found = [one for one in records(served, held) if one["row"] in drawn(held)]
    assert (
        {(one["version"], one["route"]) for one in found} == {(2, "holdout"), (1, "shadow")}
        if twins == 2
        else {(2, "holdout")}
    )
    assert all(one["score"] is not None for one in found)


def test_deferred_and_pinned_rows_are_not_drawn(serve, held):
    set_route(held, {**route("defer", 0.5), "challenger": None})
    served = serve()
    answers = ask(served)
    assert {"defer", "holdout", "champion"} == {one["route"] for one in answers}
    assert {row for row, one in enumerate(answers) if one["route"] == "holdout"} < drawn(held)
    assert {one["route"] for one in ask(served, version=1)} == {"pinned"}
    assert {one["holdout"] for one in records(served, held) if one["route"] in ("pinned", "defer")} == {None}


def test_other_protocols_withhold_too(serve, held):
    served = serve()
    rows = make_rows(COUNT)
    answer = served.client.post("/invocations", json={"dataframe_records": rows})
    assert answer.status_code == 200, answer.text
    assert {row for row, one in enumerate(answer.json()["predictions"]) if one is None} == drawn(held)
    inputs = [{"name": name, "shape": [COUNT], "datatype": kind, "data": [row[name] for row in rows]}
              for name, kind in (("order_id", "BYTES"), ("ordered_at", "BYTES"), ("shop", "BYTES"),
                                 ("price", "FP64"))]  # fmt: skip
    answer = served.client.post(f"/v2/models/{MODEL}/infer", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    outputs = {one["name"]: one["data"] for one in answer.json()["outputs"]}
    empty = {row for row, one in enumerate(outputs["score"]) if one is None or math.isnan(float(one))}
    assert empty == drawn(held)
    assert {row for row, one in enumerate(outputs["route"]) if one == "holdout"} == drawn(held)


def test_explanations_do_not_tell_what_is_withheld(serve, held):
    served = serve()
    answer = served.client.post(f"/v1/models/{MODEL}/predict?explain=true", json={"rows": make_rows(40)}).json()
    told = {one["row"] for one in answer["explanations"] if "not_explained" in one}
    assert told == drawn(held, 40)


@pytest.mark.parametrize(("acting", "is_found"), [(0.2, True), (1.0, False)], ids=["feedback", "none"])
def test_what_acting_does_is_found_from_records_and_labels(serve, held, acting, is_found):
    """A caller acts on every answer that is given; acting keeps most of what would have come from coming."""
    served = serve()
    random = np.random.default_rng(7)
    count = 1500
    answers = [
        one
        for start in range(0, count, 500)
        for one in served.client.post(
            f"/v1/models/{MODEL}/predict", json={"rows": make_rows(count)[start : start + 500]}
        ).json()["predictions"]
    ]
    came = random.random(count) < 0.5
    came &= [bool(one["route"] == "holdout" or random.random() < acting) for one in answers]
    for start in range(0, count, 500):
        feedback = [{"key": {"order_id": f"new-{number}"}, "value": bool(came[number]),
                     "available_time": (AS_OF + timedelta(days=1)).isoformat()}
                    for number in range(start, start + 500)]  # fmt: skip
        accepted = served.client.post(f"/v1/models/{MODEL}/feedback", json={"feedback": feedback})
        assert accepted.status_code in (200, 202), accepted.text
    ship(served.service.log, held)
    model = get_model(held.models_dir, MODEL)
    assert read_feedback(held, model, KEY, AS_OF + timedelta(hours=5)) is None
    found = read_feedback(held, model, KEY, AS_OF + timedelta(days=2))
    assert (found.rows, found.held_rows) == (count, len(drawn(held, count)))
    assert found.is_found is is_found
    expected = 0.5 * acting - 0.5
    assert found.effect.low < expected < found.effect.high


def test_without_a_hold_out_nothing_is_drawn(serve, settings):
    served = serve()
    assert {one["route"] for one in ask(served)} == {"champion"}
    assert {one["holdout"] for one in records(served, settings)} == {None}
    assert read_feedback(settings, get_model(settings.models_dir, MODEL), KEY, AS_OF + timedelta(days=2)) is None
