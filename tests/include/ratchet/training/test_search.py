"""One contract over every strategy: it keeps to the space and the budget, finds what is good, and resumes."""

from __future__ import annotations

import math
from typing import get_args

import optuna
import pytest

from include.ratchet.errors import SearchError
from include.ratchet.spec.training import Strategy
from include.ratchet.training.proposals import CANDIDATE, fixed_points
from include.ratchet.training.search import (
    MAX_OVERHEAD,
    TASK_OVERHEAD_S,
    SearchPlan,
    conclude,
    count_batches,
    open_study,
    plan_search,
    run_batch,
)
from include.ratchet.training.split import split_rows
from tests.include.ratchet.training.data import AS_OF, FEATURES, make_model, make_settings, make_table

STRATEGIES = get_args(Strategy)


class Search:
    """A model, a snapshot and a database to search with."""

    def __init__(self, folder, **changes):
        self.model = make_model(folder / "orders", **changes)
        self.table = make_table(1500)
        self.split = split_rows(self.table, self.model.spec, AS_OF)
        self.settings = make_settings(folder / "home")

    def plan(self, strategy, trials, workers=1, study="s"):
        return plan_search(
            self.model, study, self.table, self.split, FEATURES, self.settings,
            strategy=strategy, trials=trials, workers=workers,
        )  # fmt: skip

    def run(self, plan, batch=0):
        return run_batch(self.model, plan, batch, self.table, self.split, FEATURES, self.settings)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategy_keeps_to_space_and_budget_and_finds_the_better_candidate(tmp_path, strategy):
    search = Search(tmp_path)
    plan = search.plan(strategy, 6)
    assert sum(search.run(plan, batch) for batch in range(len(plan.quotas))) == plan.trials <= 6
    found = conclude(search.model, plan, search.settings)
    assert len(found.trials) == plan.trials
    assert {row["state"] for row in found.trials} <= {"complete", "pruned"}
    assert {row["candidate"] for row in found.trials} == {"logistic", "dummy"}
    for row in found.trials:
        if row["candidate"] == "logistic":
            assert 0.01 <= row["params"]["C"] <= 10
    assert found.best.name == "logistic"
    assert found.value > 0.7


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategy_is_repeatable(tmp_path, strategy):
    rows = []
    for name in ("a", "b"):
        search = Search(tmp_path / name)
        plan = search.plan(strategy, 5)
        search.run(plan)
        trials = conclude(search.model, plan, search.settings).trials
        rows.append([(row["candidate"], row["params"], row["value"]) for row in trials])
    assert rows[0] == rows[1]


def test_batch_that_was_cut_off_does_only_what_is_missing(tmp_path):
    search = Search(tmp_path)
    plan = search.plan("random", 6)
    study = open_study(plan.study, search.model, "random", search.settings)
    # Two trials ended and a third was running when the task was killed.
    search.run(SearchPlan(plan.study, "random", (2,), 0.0))
    cut_off = study.ask()
    cut_off.set_user_attr("batch", 0)
    assert search.run(plan) == 4
    states = [trial.state for trial in study.get_trials() if "batch" in trial.user_attrs]
    assert states.count(optuna.trial.TrialState.COMPLETE) == 6
    assert states.count(optuna.trial.TrialState.FAIL) == 1
    assert search.run(plan) == 0
    assert search.plan("random", 6).quotas == plan.quotas


def test_batches_share_the_trials_of_a_study(tmp_path):
    search = Search(tmp_path)
    planned = search.plan("grid", 6)
    plan = SearchPlan(planned.study, "grid", (2, planned.trials - 2), 0.0)
    for batch in (1, 0):
        search.run(plan, batch)
    values = {
        (row["candidate"], row["params"].get("C")) for row in conclude(search.model, plan, search.settings).trials
    }
    assert len(values) == planned.trials


def test_candidate_that_fails_does_not_end_the_search(tmp_path):
    training = {"window": {"length": "60d"}, "split": {"validation": "10d", "test": "10d"}}
    search = Search(tmp_path, training={**training, "candidates": {"dummy": {}, "logistic": {}}})
    plan = search.plan("random", 4)
    (search.model.folder / "estimator.py").write_text(
        (search.model.folder / "estimator.py").read_text().replace('candidate == "broken"', 'candidate == "logistic"')
    )
    search.run(plan)
    found = conclude(search.model, plan, search.settings)
    assert found.best.name == "dummy"
    assert {row["error"] for row in found.trials if row["state"] == "fail"} == {"RuntimeError: cannot be built today"}


def test_search_in_which_all_fails_says_why(tmp_path):
    search = Search(tmp_path)
    plan = search.plan("random", 2)
    (search.model.folder / "estimator.py").write_text("def estimator(*_): raise ValueError('no such solver')")
    search.run(plan)
    with pytest.raises(SearchError, match="none of 2 trials .* succeeded: ValueError: no such solver"):
        conclude(search.model, plan, search.settings)


@pytest.mark.parametrize("work_s", [0.1, 5, 10, 30, 100, 10_000])
@pytest.mark.parametrize("workers", [1, 2, 16])
def test_plan_keeps_start_up_below_a_fifth_of_the_work(work_s, workers):
    count = count_batches(work_s, workers, 50)
    assert 1 <= count <= workers
    assert count == 1 or count * TASK_OVERHEAD_S <= MAX_OVERHEAD * work_s


def test_grid_is_even_and_within_budget(tmp_path):
    model = make_model(tmp_path, training={"candidates": {
        "logistic": {"space": {"C": {"float": [0.01, 100], "log": True}, "max_iter": {"int": [50, 150]}}},
    }})  # fmt: skip
    points = fixed_points(model.spec, "grid", 9)
    assert len(points) == 9
    assert sorted({round(point["logistic.C"], 6) for point in points}) == [0.01, 1.0, 100.0]
    assert sorted({point["logistic.max_iter"] for point in points}) == [50, 100, 150]


def test_first_points_are_the_middle_of_each_space(tmp_path):
    model = make_model(tmp_path)
    points = fixed_points(model.spec, "tpe", 5)
    assert [point[CANDIDATE] for point in points] == ["logistic", "dummy"]
    assert math.isclose(points[0]["logistic.C"], math.sqrt(0.01 * 10))
