"""Bits: what counts as the same, and an estimator whose answers depend on what else is in a batch."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from include.ratchet.replay import answer
from include.ratchet.replay.answer import recorded_features, same_bits
from include.ratchet.replay.recompute import same_values
from include.ratchet.training.fit import score_of
from tests.include.ratchet.replay.lived import KEY, NAME

pytestmark = pytest.mark.filterwarnings("default")  # the life of a model, as in pipeline/test_life.py


def test_bits_and_not_values_are_compared():
    one = np.array([0.1, 0.0, np.nan, 1.0])
    other = np.array([np.nextafter(0.1, 1), -0.0, np.nan, 1.0])
    assert same_bits(one, other).tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (pa.array([1.0, None, 0.0, None]), pa.array([1.0, None, -0.0, 2.0]), [True, True, False, False]),
        (pa.array(["a", None, "b"]), pa.array(["a", None, "c"]), [True, True, False]),
        (pa.array([1, 2]), pa.array([1, 3]), [True, False]),
        (pa.nulls(2), pa.array([None, 3]), [True, False]),
        (pa.array(["x", "y"]), pa.array([1, 2]), [False, False]),
        (pa.array([True, None]), pa.array([True, False]), [True, False]),
    ],
)
def test_columns_are_the_same_to_the_bit(one, other, expected):
    assert same_values(pa.chunked_array([one]), pa.chunked_array([other])).tolist() == expected


def test_recorded_score_is_of_the_likeliest_class():
    assert score_of(np.array([[0.2, 0.8], [0.9, 0.1]])).tolist() == [0.8, 0.9]
    assert score_of(np.array([0.3])).tolist() == [0.3]


def test_feature_without_any_record_is_missing_in_its_type(lived):
    rows = pa.table({"feature_a": pa.nulls(2), "feature_b": ["x", None]})
    found = recorded_features(lived.model(NAME), rows, ["a", "b", "shop", "price"])
    assert [str(kind) for kind in found.schema.types] == ["double", "string", "string", "double"]


class Moody:
    """Answers depend on how many rows there are."""

    version = SimpleNamespace(key=KEY, number=4, lineage=SimpleNamespace(features=("a",)))

    def score(self, features):
        return features["a"].to_numpy() + (0.0 if features.num_rows == 1 else 1e-12)

    score_each = answer.Answerer.score_each


def test_estimator_that_depends_on_its_batch_is_revealed(lived):
    rows = pa.table({"request_id": ["a", "b", "c"], "row": [0, 0, 0], "feature_a": [0.1, 0.2, 0.3],
                     "score": [0.1, 0.2 + 1e-12, 0.4], "kernels": pa.nulls(3, pa.string())})  # fmt: skip
    moody = Moody()
    moody.model = lived.model(NAME)
    check = answer._check(moody, rows)
    assert (check.rows, check.identical, check.alone) == (3, 2, 1)
    assert [one.request_id for one in check.differences] == ["c"]
    assert check.largest_difference == pytest.approx(0.1)
    assert not check.is_identical
    assert check.kernels == ()
