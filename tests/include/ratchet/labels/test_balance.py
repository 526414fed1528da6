"""Classes and their shares; the effective rows of a test, by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from include.ratchet.labels.balance import count_classes
from tests.include.ratchet.labels.test_human import make_spec


def test_rare_class_is_counted_and_named():
    labels = [True] * 60 + [False] * 940
    test = np.r_[0:6, 60:154]
    found = count_classes(make_spec("binary"), pa.table({"is_returned": labels}), test)
    assert [(one.name, one.rows, one.share, one.test_rows) for one in found.classes] == [
        ("false", 940, 0.94, 94), ("true", 60, 0.06, 6)
    ]  # fmt: skip
    # METAL's effective sample size is 4 / (1/6 + 1/94) = 22.56 rows: 11.28 of each kind.
    assert found.classes[1].effective_rows == pytest.approx(22.56 / 2)
    assert found.rare == ("true",)
    assert found.to_dict()["rare"] == ["true"]


def test_balanced_test_is_worth_what_it_is():
    found = count_classes(make_spec("binary"), pa.table({"is_returned": [True, False] * 100}), np.arange(200))
    assert [one.effective_rows for one in found.classes] == [100, 100]
    assert found.rare == ()


@pytest.mark.parametrize("test", [np.array([], dtype=np.int64)])
def test_without_a_test_every_class_is_rare(test):
    found = count_classes(make_spec("multiclass"), pa.table({"is_returned": ["a", "b", "b"]}), test)
    assert found.rare == ("b", "a")
    assert [one.effective_rows for one in found.classes] == [0, 0]


def test_numbers_have_no_classes():
    assert count_classes(make_spec("regression"), pa.table({"is_returned": [1.0]}), np.array([0])) is None
