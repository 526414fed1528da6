"""Keys of many rows at once, and what a batch record says was answered, for each task."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ratchet.data.records import record_key, record_keys
from include.ratchet.scoring.champions import Answer
from include.ratchet.scoring.records import RecordWriter
from tests.include.ratchet.replay.lived import KEY, NAME

pytestmark = pytest.mark.filterwarnings("default")  # the life of a model, as in pipeline/test_life.py
NOW = datetime(2026, 3, 1, tzinfo=UTC)
COLUMNS = st.one_of(
    st.lists(st.text(), max_size=5).map(lambda values: pa.array(values, pa.string())),
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=5).map(lambda values: pa.array(values, pa.int64())),
    st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)), max_size=5).map(
        lambda values: pa.array(values, pa.timestamp("us", "UTC"))
    ),
)


@given(COLUMNS)
def test_keys_at_once_are_those_one_by_one(column):
    spec = SimpleNamespace(keys=("id",))
    rows = pa.table({"id": column})
    assert record_keys(spec, rows).to_pylist() == [record_key(spec, row) for row in rows.to_pylist()]


def test_several_keys_are_those_one_by_one():
    spec = SimpleNamespace(keys=("a", "b"))
    rows = pa.table({"a": ["x", 'y"'], "b": [1, None]})
    assert record_keys(spec, rows).to_pylist() == [record_key(spec, row) for row in rows.to_pylist()]


@pytest.mark.parametrize(
    ("task", "classes", "scores", "expected"),
    [
        ("binary", [False, True], [0.25, 0.5], [{"score": 0.25, "class": False}, {"score": 0.5, "class": True}]),
        ("regression", [], [1.5, -2.0], [{"value": 1.5}, {"value": -2.0}]),
        (
            "multiclass", ["it's", "b"], [[0.75, 0.25], [0.1, 0.9]],
            [{"class": "it's", "probabilities": {"it's": 0.75, "b": 0.25}},
             {"class": "b", "probabilities": {"it's": 0.1, "b": 0.9}}],
        ),
    ],
)  # fmt: skip
def test_output_is_what_the_service_would_have_answered(lived, task, classes, scores, expected):
    model = lived.model(NAME)
    model = model.model_copy(update={"spec": model.spec.model_copy(update={"task": task})})
    writer = RecordWriter(model, {"code_hash": "c", "lock_hash": "l"}, NOW, lived.settings)
    times = pa.array([NOW, NOW], pa.timestamp("us", "UTC"))
    rows = pa.table({"order_id": ["a", "b"], "ordered_at": times, "shop": ["web", None], "price": [1.0, 2.0],
                     "_partition": ["2026-03-01"] * 2})  # fmt: skip
    features = pa.table({"_prediction_time": times, "shop": ["web", None], "price": [1.0, 2.0],
                         "shop_return_rate_7d": [0.5, None]})  # fmt: skip
    names, versions = pa.array([f"{KEY}@7"] * 2), pa.array([7, 7], pa.int32())
    answer = Answer(np.arange(2), pa.array(["all"] * 2), pa.nulls(2, pa.string()), versions, names, np.array(scores),
                    tuple(classes))  # fmt: skip
    found = writer.write(rows, features, [answer]).to_pylist()
    writer.close()
    assert [json.loads(row["output"]) for row in found] == expected
    assert [row["score"] for row in found] == np.array(scores).reshape(2, -1).max(axis=1).tolist()
    assert json.loads(found[1]["payload"]) == {
        "order_id": "b", "ordered_at": "2026-03-01T00:00:00.000000+00:00", "shop": None, "price": 2.0,
    }  # fmt: skip
