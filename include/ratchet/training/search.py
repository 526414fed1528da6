"""Hyperparameter search: planned into batches of trials that any worker can take, resumed where it was cut off.

The study lives in the database, so a batch that is killed and tried again does only what is missing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import optuna
import pyarrow as pa

from include.ratchet.errors import SearchError
from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from include.ratchet.spec.training import LOWER_IS_BETTER, Strategy
from include.ratchet.training.fit import Candidate, fit_candidate, predict
from include.ratchet.training.frames import class_codes, features_frame, label_array
from include.ratchet.training.metrics import score
from include.ratchet.training.proposals import CANDIDATE, fixed_points, suggest
from include.ratchet.training.split import Rows, Split

TASK_OVERHEAD_S = 2.0
"""What starting one more task and reading the snapshot again costs."""
MAX_OVERHEAD = 0.2
"""The share of the work that start-up may take."""
RUNGS = (1 / 9, 1 / 3, 1.0)
"""Successive halving: the shares of the rows on which a trial must prove itself, a third going on each time."""
_BATCH = "batch"
Progress = Callable[[int, int], None]
"""Trials that have ended, and how many there are."""


@dataclass(frozen=True)
class SearchPlan:
    """How a search is cut into tasks.

    Attributes:
        study: name of the study in the database.
        strategy: grid, random, tpe or halving.
        quotas: trials of each batch, one task each.
        trial_s: seconds that one trial is expected to take.
    """

    study: str
    strategy: Strategy
    quotas: tuple[int, ...]
    trial_s: float

    @property
    def trials(self) -> int:
        """Of all batches together."""
        return sum(self.quotas)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SearchPlan:
        """The plan back from its JSON form."""
        return cls(**{**content, "quotas": tuple(content["quotas"])})


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        best: the candidate with the best validation metric.
        value: that metric; None where nothing was searched.
        trials: one row per trial: number, candidate, params, value, state, seconds.
    """

    best: Candidate
    value: float | None
    trials: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def plan_search(
    model: Model, study: str, table: pa.Table, split: Split, features: list[str], settings: Settings, *,
    strategy: Strategy | None = None, trials: int | None = None, workers: int = 2,
) -> SearchPlan:  # fmt: skip
    """Make the study and cut its trials into as many batches as workers can take without wasting time on start-up.

    One small fit is timed to foresee what a trial takes. Planning twice finds the same study.
    """
    spec = model.spec.training
    strategy = strategy or spec.search.strategy
    budget = _enqueue(model, open_study(study, model, strategy, settings), strategy, trials or spec.search.trials)
    trial_s = time_trial(model, table, _search_rows(split, model), features)
    count = count_batches(trial_s * budget / spec.threads, workers, budget)
    quotas = tuple(budget // count + (number < budget % count) for number in range(count))
    return SearchPlan(study, strategy, quotas, trial_s)


def search_alone(
    model: Model, table: pa.Table, split: Split, features: list[str], *, strategy: Strategy | None, trials: int | None
) -> tuple[SearchPlan, SearchResult]:  # fmt: skip
    """A whole search in this process, kept in memory: of a small model that is trained in one go.

    Raises:
        SearchError: no trial succeeded; the message holds what the trials said.
    """
    search = model.spec.training.search
    strategy = strategy or search.strategy
    study = open_study("in memory", model, strategy, None)
    plan = SearchPlan(study.study_name, strategy, (_enqueue(model, study, strategy, trials or search.trials),), 0.0)
    _run(model, study, plan, 0, table, split, features)
    return plan, _conclude(model, plan, study)


def _enqueue(model: Model, study: optuna.Study, strategy: Strategy, trials: int) -> int:
    """Let a new study begin with the points that its strategy wants; returns how many trials there are to be."""
    points = fixed_points(model.spec, strategy, trials)
    if not study.trials:
        for point in points:
            study.enqueue_trial(point, skip_if_exists=True)
    return len(points) if strategy == "grid" else trials


def count_batches(work_s: float, workers: int, trials: int) -> int:
    """As many as there are workers, but each with so much work that its start-up is at most a fifth of it."""
    worthwhile = math.floor(work_s * MAX_OVERHEAD / TASK_OVERHEAD_S)
    return max(1, min(workers, trials, worthwhile))


def open_study(name: str, model: Model, strategy: Strategy, settings: Settings | None) -> optuna.Study:
    """The study of that name in the database, made if it is not there; without settings one in memory."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lower = model.spec.metric in LOWER_IS_BETTER
    return optuna.create_study(
        study_name=name,
        storage=optuna.storages.RDBStorage(settings.database_url, engine_kwargs={"pool_size": 1}) if settings else None,
        direction="minimize" if lower else "maximize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=model.spec.training.seed, constant_liar=True, n_startup_trials=5),
        pruner=optuna.pruners.SuccessiveHalvingPruner(1, reduction_factor=3) if strategy == "halving" else None,
    )


def run_batch(
    model: Model, plan: SearchPlan, batch: int, table: pa.Table, split: Split, features: list[str],
    settings: Settings, progress: Progress = lambda done, total: None,
) -> int:  # fmt: skip
    """Run the trials of one batch that are still missing.

    Returns:
        How many trials ran.
    """
    return _run(
        model, open_study(plan.study, model, plan.strategy, settings), plan, batch, table, split, features, progress
    )


def _run(
    model: Model, study: optuna.Study, plan: SearchPlan, batch: int, table: pa.Table, split: Split,
    features: list[str], progress: Progress = lambda done, total: None,
) -> int:  # fmt: skip
    done = before = _finish_abandoned(study, batch)
    fitted = _search_rows(split, model)
    used = table.take(pa.array(np.concatenate([fitted, split.validation])))
    frame, label = features_frame(used, features), label_array(used, model.spec)
    rows, validation = np.arange(len(fitted)), np.arange(len(fitted), len(label))
    stop_at = time.monotonic() + model.spec.training.search.timeout.total_seconds()
    while done < plan.quotas[batch] and time.monotonic() < stop_at:
        trial = study.ask()
        trial.set_user_attr(_BATCH, batch)
        try:
            value = _evaluate(trial, model, plan.strategy, frame, label, rows, validation)
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except Exception as error:  # a candidate that cannot be fitted must not end the search
            trial.set_user_attr("error", f"{type(error).__name__}: {error}")
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value)
        done += 1
        progress(done, plan.quotas[batch])
    return done - before


def conclude(model: Model, plan: SearchPlan, settings: Settings) -> SearchResult:
    """The best trial of a search, ties going to the earlier one.

    Raises:
        SearchError: no trial succeeded; the message holds what the trials said.
    """
    return _conclude(model, plan, open_study(plan.study, model, plan.strategy, settings))


def _conclude(model: Model, plan: SearchPlan, study: optuna.Study) -> SearchResult:
    rows = tuple(_trial_row(trial) for trial in study.get_trials(deepcopy=False) if _BATCH in trial.user_attrs)
    good = [row for row in rows if row["state"] == "complete" and math.isfinite(row["value"])]
    if not good:
        words = "; ".join(sorted({str(row["error"]) for row in rows if row["error"]})) or "none ended"
        message = f"{model.name}: none of {len(rows)} trials of study {plan.study} succeeded: {words}"
        raise SearchError(message)
    sign = 1 if model.spec.metric in LOWER_IS_BETTER else -1
    best = min(good, key=lambda row: (sign * row["value"], row["number"]))
    return SearchResult(Candidate(best["candidate"], best["params"]), best["value"], rows)


def time_trial(model: Model, table: pa.Table, rows: Rows, features: list[str]) -> float:
    """Foresee a trial's seconds from fits of each candidate on a small, evenly drawn sample."""
    sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), 2000)).astype(np.int64)]
    small = table.take(pa.array(sample))
    frame, label = features_frame(small, features), label_array(small, model.spec)
    started = time.perf_counter()
    points = fixed_points(model.spec, "tpe", len(model.spec.training.candidates))
    for point in points:
        fit_candidate(model, candidate_of(point), frame, label)
    each = (time.perf_counter() - started) / len(points)
    # A fit's cost grows a little slower than its rows; half of the proportion was the middle of what was seen.
    return each * max(1.0, len(rows) / len(sample) * 0.5)


def candidate_of(point: Mapping[str, Any]) -> Candidate:
    """What a point of the search's space, by Optuna's full parameter names, asks to be fitted."""
    name = str(point[CANDIDATE])
    return Candidate(name, {key.removeprefix(f"{name}."): point[key] for key in point if key != CANDIDATE})


def _evaluate(trial: optuna.Trial, model: Model, strategy: Strategy, frame: Any, label: Any, rows: Rows,
              validation: Rows) -> float:  # fmt: skip
    chosen = suggest(trial, model.spec)
    candidate = Candidate(chosen.pop(CANDIDATE), chosen)
    classes, codes = class_codes(label, model.spec.task)
    value = math.nan
    for step, share in enumerate(RUNGS if strategy == "halving" else (1.0,)):
        newest = rows[-math.ceil(len(rows) * share) :]
        fitted = fit_candidate(model, candidate, frame.iloc[newest], label[newest])
        scores = predict(fitted, frame.iloc[validation], model.spec.task, classes)
        value = score(model.spec.metric, codes[validation], scores, threshold=model.spec.evaluation.threshold)
        trial.report(value, step + 1)
        if share < 1 and trial.should_prune():
            raise optuna.TrialPruned
    return value


def _finish_abandoned(study: optuna.Study, batch: int) -> int:
    """Close what a killed run of this batch left open, to be tried again; returns how many trials it has ended."""
    done = 0
    for trial in study.get_trials(deepcopy=False):
        if trial.user_attrs.get(_BATCH) != batch:
            continue
        if trial.state is optuna.trial.TrialState.RUNNING:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params)
        elif trial.user_attrs.get("error") or trial.state is not optuna.trial.TrialState.FAIL:
            done += trial.state.is_finished()
    return done


def _search_rows(split: Split, model: Model) -> Rows:
    limit = model.spec.training.search.max_rows
    return split.train if limit is None else split.train[-limit:]


def _trial_row(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    params = dict(trial.params)
    name = params.pop(CANDIDATE, None)
    return {
        "number": trial.number,
        "candidate": name,
        "params": {key.removeprefix(f"{name}."): value for key, value in params.items()},
        "value": trial.value,
        "state": trial.state.name.lower(),
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "batch": trial.user_attrs.get(_BATCH),
        "error": trial.user_attrs.get("error"),
    }
