"""The work of a backtest's processes: fit as of a day, score days, compare two fits. What is made lies in a folder.

Every function takes the folder and small arguments, so that it runs in this process or in another alike.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.errors import TooFewRowsError
from include.ratchet.evaluation.intervals import Bootstrap
from include.ratchet.spec import Model, ModelSpec, Partition
from include.ratchet.training.fit import Candidate, fit_candidate, predict, steady
from include.ratchet.training.metrics import Floats, prepare
from include.ratchet.training.split import Rows, split_rows

if TYPE_CHECKING:
    import pandas as pd

AHEAD_DAYS = 7
"""Scored together with a fit: a call costs as much as thousands of rows."""
BLOCK_DAYS = 28


@dataclass(frozen=True)
class History:
    """All labelled rows of some days with their features, by event time.

    Attributes:
        model: whose.
        candidate: what is fitted.
        max_rows: of one fit; the newest ones.
        resamples: behind each interval of a comparison.
        days: of the model's time zone, in order.
        offsets: (n_days + 1,) where the rows of each day begin.
        keys: (n_rows) event time, `_label_available_time` and label: what a split needs.
        features: (n_rows, n_features).
        label: (n_rows,) as fitted.
        codes: (n_rows,) as metrics take it.
        classes: of a multiclass task.
        event: (n_rows,) datetime64[us] in UTC, ascending.
        known: (n_rows,) datetime64[us] in UTC, when each label became available.
        facts: (n_rows,) each: what the value of a prediction reads; None where the spec's scope states none.
    """

    model: Model
    candidate: Candidate
    max_rows: int
    resamples: int
    days: tuple[Partition, ...]
    offsets: Rows
    keys: pa.Table = field(repr=False)
    features: pd.DataFrame = field(repr=False)
    label: npt.NDArray[Any] = field(repr=False)
    codes: npt.NDArray[Any] = field(repr=False)
    classes: npt.NDArray[Any] | None
    event: npt.NDArray[np.datetime64] = field(repr=False)
    known: npt.NDArray[np.datetime64] = field(repr=False)
    facts: pa.Table | None = field(default=None, repr=False)

    @property
    def spec(self) -> ModelSpec:
        """Of the model."""
        return self.model.spec

    def rows_of(self, day: int) -> Rows:
        """Numbers of a day's rows."""
        return np.arange(self.offsets[day], self.offsets[day + 1])

    def days_of(self, rows: Rows) -> npt.NDArray[np.intp]:
        """The day of each of some rows."""
        return np.searchsorted(self.offsets, rows, side="right") - 1

    def is_known(self, rows: Rows, day: int) -> npt.NDArray[np.bool_]:
        """Which rows' labels were available before a day began."""
        return self.known[rows] < instant(self.days[day].start)

    def first_seen(self, day: int) -> np.datetime64:
        """First event time that a fit at a day's beginning sees."""
        window = self.spec.training.window
        start = self.days[day].start - window.length if window.kind == "sliding" else self.days[0].start
        return instant(start)


@dataclass(frozen=True)
class Fit:
    """One fit as of the beginning of a day.

    Attributes:
        day: its number.
        rows: that it learned from.
        seconds: of fitting.
        dummy: what the constant predicts that production compares with: the mean label, or the share of each class.
        test: rows that judge it, with labels known by then.
    """

    day: int
    rows: int
    seconds: float
    dummy: tuple[float, ...]
    test: Rows = field(repr=False)


def instant(moment: datetime) -> np.datetime64:
    """A UTC instant as columns hold it."""
    return np.datetime64(moment.replace(tzinfo=None), "us")


def path_of(folder: str, *numbers: int) -> str:
    """The history without numbers, a fit by its day, scores by fit and block."""
    name = "-".join(str(number) for number in numbers) or "history"
    return f"{folder}/{name}.{'npy' if len(numbers) == 2 else 'joblib'}"


@lru_cache(maxsize=1)
def open_history(folder: str) -> History:
    """The history, once in each process."""
    found: History = joblib.load(path_of(folder))
    return found


def make_fit(folder: str, day: int) -> tuple[Fit | None, list[int]]:
    """Fit as production would have at a day's beginning; score its test days and those that come next."""
    history = open_history(folder)
    now = instant(history.days[day].start)
    seen = np.flatnonzero((history.event >= history.first_seen(day)) & (history.event < now) & (history.known < now))
    try:
        split = split_rows(history.keys.take(pa.array(seen)), history.spec, history.days[day].start)
    except TooFewRowsError:
        return None, []
    learned = seen[np.sort(split.development)[-history.max_rows :]]
    started = time.perf_counter()
    estimator = fit_candidate(history.model, history.candidate, history.features.iloc[learned], history.label[learned])
    seconds = time.perf_counter() - started
    joblib.dump(estimator, path_of(folder, day))
    test = seen[split.test]
    days = [*np.unique(history.days_of(test)).tolist(), *range(day, min(day + AHEAD_DAYS, len(history.days)))]
    score_days(folder, day, estimator, days, 0)
    return Fit(day, len(learned), seconds, _dummy(history, seen[split.development]), test), days


def _dummy(history: History, rows: Rows) -> tuple[float, ...]:
    if history.classes is None:
        return (float(history.codes[rows].mean()),)
    return tuple((np.bincount(history.codes[rows], minlength=len(history.classes)) / len(rows)).tolist())


def score_days(folder: str, fit: int, estimator: Any, days: Sequence[int], block: int) -> None:
    """Score days with a fit into one file: a file for each day would cost more than the scores."""
    history = open_history(folder)
    parts = []
    for start in range(0, len(days), BLOCK_DAYS):
        rows = np.concatenate([history.rows_of(day) for day in days[start : start + BLOCK_DAYS]])
        if len(rows):
            with steady(history.model):
                parts.append(predict(estimator, history.features.iloc[rows], history.spec.task, history.classes))
    np.save(path_of(folder, fit, block), np.concatenate(parts) if parts else np.zeros(0))


def draw(history: History, fit: Fit, scores: Floats | None) -> tuple[float, Floats]:
    """The metric of some scores of a fit's test rows, or of the constant, and of its resamples (n_resamples,).

    Resamples of the same fit are the same for all scores, so that their differences are paired.
    """
    spec, label = history.spec, history.codes[fit.test]
    if scores is None:
        constant = np.tile(fit.dummy, (len(label), 1))
        scores = constant if history.classes is not None else constant[:, 0]
    measure = prepare(spec.metric, label, scores, threshold=spec.evaluation.threshold)
    point, drawn = bootstrap_of(history, fit).draws([measure])
    return float(point[0]), drawn[0]


def bootstrap_of(history: History, fit: Fit) -> Bootstrap:
    """Resamples of a fit's test rows."""
    spec = history.spec
    return Bootstrap(len(fit.test), history.resamples, spec.evaluation.confidence, spec.training.seed)
