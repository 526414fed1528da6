"""Whether a spec's champions can be judged by their worth at all is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from include.ratchet.monitoring import levels
from include.ratchet.monitoring.performance import find_blindness
from tests.include.ratchet.monitoring.many import make_spec


@pytest.mark.parametrize(
    ("test", "delay", "partition", "labelled"),
    [("10d", "2d", "day", 8), ("10d", "49h", "day", 8), ("9d", "2d", "day", 7), ("1d", "2d", "day", 0),
     ("8d", "0m", "day", 8), ("10h", "3h", "hour", 7), ("28d", "2d", "hour", 624)],
)  # fmt: skip
def test_blindness_is_said_where_levels_cannot_judge(test, delay, partition, labelled):
    spec = make_spec(
        label={"column": "label", "delay": delay}, partition=partition, training={"split": {"test": test}}
    )  # fmt: skip
    days = np.random.default_rng(1).normal(size=(max(labelled, 1), 1))
    shift = levels.compare(levels.learn(days, [0] * len(days)), days[-1:] + 9, [0])
    is_judged = labelled > 0 and bool(np.isfinite(shift.p_above[0]))
    said = find_blindness(spec)
    assert (said is None) == is_judged
    assert said is None or f"{labelled} partition(s) of training.split.test" in said


def test_rows_of_a_random_split_are_of_all_days():
    assert find_blindness(make_spec(training={"split": {"by": "random", "test": "1d"}})) is None
