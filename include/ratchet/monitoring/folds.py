"""Fits and scores of a backtest: each day is fitted once, and each fit scores a day once, whatever asks for them.

Work goes to processes: a fit's own Python (encoders, the optimiser's loop) holds the interpreter's lock, so that
threads gained nothing with boosting and made a logistic regression slower than one after the other. What is made lies
in a folder, so that memory holds the history and little else, however many fits there are.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.errors import TooFewRowsError
from include.ratchet.evaluation.intervals import Bootstrap, Interval
from include.ratchet.monitoring.outcomes import measure
from include.ratchet.spec import Model, ModelSpec, Partition
from include.ratchet.spec.training import LOWER_IS_BETTER
from include.ratchet.training.fit import Candidate, fit_candidate, predict, steady
from include.ratchet.training.metrics import Floats, prepare
from include.ratchet.training.split import Rows, split_rows

if TYPE_CHECKING:
    import pandas as pd

AHEAD_DAYS = 7
"""Scored together with a fit: a call costs as much as thousands of rows."""
_BLOCK_DAYS = 28
_CACHED = 4096
"""Scores of one fit on one day that are held in memory, 30 MB of the flights."""
Progress = Callable[[str, int, int], None]


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


@dataclass(frozen=True)
class Contest:
    """A fit on its own test rows, beside an older one and beside a constant; a gain above 0 is better."""

    metric: Interval
    over_champion: Interval
    over_dummy: Interval


class Folds:
    """Fits, scores and comparisons of one history, made when they are asked for and kept.

    Args:
        history: the rows.
        folder: for what is made; `open_folds` takes it away afterwards.
        workers: processes.
    """

    def __init__(self, history: History, folder: Path, workers: int) -> None:
        self.history, self._folder, self._workers = history, str(folder), workers
        self._fits: dict[int, Fit | None] = {}
        self._contests: dict[tuple[int, int], Contest] = {}
        self._scored: set[tuple[int, int]] = set()
        self._metrics: dict[tuple[int, int], float] = {}
        self._read = lru_cache(_CACHED)(lambda fit, day: np.load(_path(self._folder, fit, day)))

    @property
    def fitted(self) -> int:
        """How many fits there have been."""
        return sum(fit is not None for fit in self._fits.values())

    @property
    def scored(self) -> int:
        """How many times a fit has scored a day."""
        return len(self._scored)

    def prepare(self, days: Iterable[int], progress: Progress) -> None:
        """Fit as of many days and compare each fit with the one before, side by side."""
        missing = [day for day in days if day not in self._fits]
        for done, (fit, scored) in enumerate(self._spread(_fit, missing), start=1):
            self._keep(missing[done - 1], fit, scored)
            progress("fit", done, len(missing))
        there = [day for day in missing if self._fits[day] is not None]
        pairs = [(new, old) for old, new in pairwise(there)]
        calls = [(self._ready(new, old), old) for new, old in pairs]
        for done, contest in enumerate(self._spread(_compare, *zip(*calls, strict=True)), start=1) if calls else ():
            self._contests[pairs[done - 1]] = contest
            progress("compare", done, len(pairs))

    def fit(self, day: int) -> Fit | None:
        """The fit as of a day's beginning; None where there was too little to learn from."""
        if day not in self._fits:
            self._keep(day, *_fit(self._folder, day))
        return self._fits[day]

    def estimator(self, fit: int) -> Any:
        """The fitted estimator."""
        return joblib.load(_path(self._folder, fit))

    def scores(self, fit: int, day: int) -> Floats:
        """Of a day's rows: (n_rows,), or (n_rows, n_classes)."""
        self._need(fit, [day])
        found: Floats = self._read(fit, day)
        return found

    def metric(self, fit: int, day: int) -> float:
        """Of a day by all its labels, also those that came later; nan where it has none."""
        if (fit, day) not in self._metrics:
            rows = self.history.rows_of(day)
            self._metrics[fit, day] = measure(self.history.spec, self.history.codes[rows], self.scores(fit, day))
        return self._metrics[fit, day]

    def metric_known(self, fit: int, day: int, as_of: int) -> float:
        """Of a day by the labels that were available before another day began."""
        rows = self.history.rows_of(day)
        is_known = self.history.is_known(rows, as_of)
        if is_known.all():
            return self.metric(fit, day)
        return measure(self.history.spec, self.history.codes[rows[is_known]], self.scores(fit, day)[is_known])

    def compare(self, new: int, old: int) -> Contest:
        """One fit beside another on the former's test rows.

        Raises:
            TooFewRowsError: there is no fit as of the day.
        """
        if (new, old) not in self._contests:
            self._contests[new, old] = _compare(self._folder, self._ready(new, old), old)
        return self._contests[new, old]

    def _ready(self, new: int, old: int) -> Fit:
        """A fit whose test rows an older one has scored as well."""
        fit = self.fit(new)
        if fit is None:
            message = f"{self.history.spec.name}: no fit as of {self.history.days[new].key}; expected rows to fit on"
            raise TooFewRowsError(message)
        self._need(old, np.unique(self.history.days_of(fit.test)).tolist())
        return fit

    def _keep(self, day: int, fit: Fit | None, scored: Sequence[int]) -> None:
        self._fits[day] = fit
        self._scored.update((day, one) for one in scored)

    def _need(self, fit: int, days: Sequence[int]) -> None:
        """Score what is missing of some days, and of those that will be asked for next."""
        missing = [day for day in days if (fit, day) not in self._scored]
        if not missing:
            return
        block = range(max(missing) + 1, min(max(missing) + _BLOCK_DAYS, len(self.history.days)))
        more = [day for day in block if (fit, day) not in self._scored] if len(days) == 1 else []
        _score(self._folder, fit, self.estimator(fit), [*missing, *more])
        self._scored.update((fit, day) for day in (*missing, *more))

    def _spread(self, work: Callable[..., Any], *columns: Sequence[Any]) -> Iterator[Any]:
        """Results of some work in the order of its arguments, made in processes where that is worth their start."""
        calls = list(zip(*columns, strict=True))
        if self._workers < 2 or len(calls) < 2 * self._workers:
            yield from (work(self._folder, *call) for call in calls)
            return
        pool = joblib.Parallel(self._workers, return_as="generator", pre_dispatch="4 * n_jobs")
        yield from pool(joblib.delayed(work)(self._folder, *call) for call in calls)


@contextmanager
def open_folds(history: History, workers: int) -> Iterator[Folds]:
    """Folds over a history; what they made is taken away at the end."""
    with tempfile.TemporaryDirectory(prefix="backtest_") as folder:
        joblib.dump(history, _path(folder))
        yield Folds(history, Path(folder), workers)


def instant(moment: Any) -> np.datetime64:
    """A UTC instant as columns hold it."""
    return np.datetime64(moment.replace(tzinfo=None), "us")


def _path(folder: str, *numbers: int) -> str:
    """The history without numbers, a fit by its day, scores by fit and day."""
    name = "-".join(str(number) for number in numbers) or "history"
    return f"{folder}/{name}.{'npy' if len(numbers) == 2 else 'joblib'}"


@lru_cache(maxsize=1)
def _open(folder: str) -> History:
    """The history, once in each process."""
    found: History = joblib.load(_path(folder))
    return found


def _fit(folder: str, day: int) -> tuple[Fit | None, list[int]]:
    """Fit as production would have at a day's beginning; score its test days and those that come next."""
    history = _open(folder)
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
    joblib.dump(estimator, _path(folder, day))
    test = seen[split.test]
    days = [*np.unique(history.days_of(test)).tolist(), *range(day, min(day + AHEAD_DAYS, len(history.days)))]
    _score(folder, day, estimator, days)
    return Fit(day, len(learned), seconds, _dummy(history, seen[split.development]), test), days


def _dummy(history: History, rows: Rows) -> tuple[float, ...]:
    if history.classes is None:
        return (float(history.codes[rows].mean()),)
    return tuple((np.bincount(history.codes[rows], minlength=len(history.classes)) / len(rows)).tolist())


def _score(folder: str, fit: int, estimator: Any, days: Sequence[int]) -> None:
    """Score days with a fit, a block at a time."""
    history = _open(folder)
    for start in range(0, len(days), _BLOCK_DAYS):
        block = days[start : start + _BLOCK_DAYS]
        rows = np.concatenate([history.rows_of(day) for day in block])
        if len(rows):
            with steady(history.model):
                found = predict(estimator, history.features.iloc[rows], history.spec.task, history.classes)
        else:
            found = np.zeros(0)
        ends = np.cumsum([len(history.rows_of(day)) for day in block])[:-1]
        for day, part in zip(block, np.split(found, ends), strict=True):
            np.save(_path(folder, fit, day), part)


def _compare(folder: str, fit: Fit, old: int) -> Contest:
    """Paired intervals on a fit's test rows."""
    history = _open(folder)
    spec, day_of, label = history.spec, history.days_of(fit.test), history.codes[fit.test]
    places = [(day, fit.test[day_of == day] - history.offsets[day]) for day in np.unique(day_of)]
    scores = [np.concatenate([np.load(_path(folder, one, day))[rows] for day, rows in places])
              for one in (fit.day, old)]  # fmt: skip
    constant = np.tile(fit.dummy, (len(label), 1))
    rivals = [*scores, constant if history.classes is not None else constant[:, 0]]
    measures = [prepare(spec.metric, label, each, threshold=spec.evaluation.threshold) for each in rivals]
    bootstrap = Bootstrap(len(label), history.resamples, spec.evaluation.confidence, spec.training.seed)
    point, drawn = bootstrap.draws(measures)
    sign = -1.0 if spec.metric in LOWER_IS_BETTER else 1.0
    gains = [bootstrap.interval(sign * (point[0] - point[i]), sign * (drawn[0] - drawn[i])) for i in (1, 2)]
    return Contest(bootstrap.interval(point[0], drawn[0]), *gains)
