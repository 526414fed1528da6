"""How keys are cut into tasks: even, few enough to be worth their start, small enough for a task's memory."""

from __future__ import annotations

import numpy as np
import pytest

from include.ratchet.pipeline.fleet.batches import MAX_ROWS, MAX_START_UP, START_UP_S, Costs, cut


def seconds(batches, rows, costs):
    return [sum(costs.of(rows[segment]) for segment in batch) for batch in batches]


def test_every_key_once_and_batches_as_even_as_their_keys_allow():
    generator = np.random.default_rng(3)
    rows = {f"s{number}": int(size) for number, size in enumerate(generator.lognormal(7, 1, 500))}
    costs = Costs(0.3, 0.001)
    batches = cut(rows, costs, workers=2)
    assert sorted(segment for batch in batches for segment in batch) == sorted(rows)
    took = seconds(batches, rows, costs)
    assert len(batches) == 8
    assert took == sorted(took, reverse=True)
    assert max(took) - min(took) <= max(costs.of(count) for count in rows.values())
    assert MAX_START_UP * min(took) >= START_UP_S


@pytest.mark.parametrize(("keys", "each_s", "count"), [(3, 1.0, 1), (40, 1.0, 2), (1, 900.0, 1), (2, 900.0, 2)])
def test_little_work_is_not_cut_and_a_key_never_is(keys, each_s, count):
    rows = {f"s{number}": 100 for number in range(keys)}
    assert len(cut(rows, Costs(each_s, 0.0), workers=4)) == count


def test_a_batch_holds_no_more_rows_than_a_task_can():
    rows = {f"s{number}": 5000 for number in range(1000)}
    batches = cut(rows, Costs(0.001, 0.0), workers=1)
    assert max(sum(rows[segment] for segment in batch) for batch in batches) <= MAX_ROWS


def test_costs_are_learnt_from_what_keys_took():
    costs = Costs.learn([100, 200, 400], [1.1, 1.2, 1.4])
    assert (costs.per_key_s, costs.per_row_s) == (pytest.approx(1.0), pytest.approx(0.001))
    assert Costs.learn([], []) is None
    falling = Costs.learn([100, 200], [2.0, 1.0])
    assert (falling.per_key_s, falling.per_row_s) == (1.5, 0.0)
