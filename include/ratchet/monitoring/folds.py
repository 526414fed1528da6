"""Fits and scores of a backtest: each day is fitted once, and each fit scores a day once, whatever asks for them.

Work goes to processes: a fit's own Python (encoders, the optimiser's loop) holds the interpreter's lock, so that
threads gained nothing with boosting and made a logistic regression slower than one after the other. What is made lies
in a folder, so that memory holds the history and little else, however many fits there are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor

from include.ratchet.errors import TooFewRowsError
from include.ratchet.monitoring.fold_work import (
    BLOCK_DAYS,
    Contest,
    Fit,
    History,
    contest,
    make_fit,
    open_history,
    path_of,
    score_days,
)
from include.ratchet.monitoring.outcomes import measure
from include.ratchet.training.metrics import Floats

_CACHED = 4096
"""Scores of one fit on one day that are held in memory, 30 MB of the flights."""
Progress = Callable[[str, int, int], None]


class Folds:
    """Fits, scores and comparisons of one history, made when they are asked for and kept.

    Args:
        history: the rows.
        folder: for what is made; `open_folds` takes it away afterwards.
        workers: processes.
    """

    def __init__(self, history: History, folder: Path, workers: int) -> None:
        self.history, self._folder, self._workers = history, str(folder), workers
        self._has_pool = False
        self._fits: dict[int, Fit | None] = {}
        self._contests: dict[tuple[int, int], Contest] = {}
        self._scored: set[tuple[int, int]] = set()
        self._metrics: dict[tuple[int, int], float] = {}
        self._read = lru_cache(_CACHED)(lambda fit, day: np.load(path_of(self._folder, fit, day)))

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
        for done, (fit, scored) in enumerate(self._spread(make_fit, missing), start=1):
            self._keep(missing[done - 1], fit, scored)
            progress("fit", done, len(missing))
        there = [day for day in missing if self._fits[day] is not None]
        pairs = [(new, old) for old, new in pairwise(there)]
        calls = [(self._ready(new, old), old) for new, old in pairs]
        for done, found in enumerate(self._spread(contest, *zip(*calls, strict=True)), start=1) if calls else ():
            self._contests[pairs[done - 1]] = found
            progress("compare", done, len(pairs))

    def close(self) -> None:
        """End the processes, which would wait for more work for minutes, each with the history in its memory."""
        open_history.cache_clear()
        if self._has_pool:
            get_reusable_executor().shutdown(kill_workers=True)

    def fit(self, day: int) -> Fit | None:
        """The fit as of a day's beginning; None where there was too little to learn from."""
        if day not in self._fits:
            self._keep(day, *make_fit(self._folder, day))
        return self._fits[day]

    def estimator(self, fit: int) -> Any:
        """The fitted estimator."""
        return joblib.load(path_of(self._folder, fit))

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
            self._contests[new, old] = contest(self._folder, self._ready(new, old), old)
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
        block = range(max(missing) + 1, min(max(missing) + BLOCK_DAYS, len(self.history.days)))
        more = [day for day in block if (fit, day) not in self._scored] if len(days) == 1 else []
        score_days(self._folder, fit, self.estimator(fit), [*missing, *more])
        self._scored.update((fit, day) for day in (*missing, *more))

    def _spread(self, work: Callable[..., Any], *columns: Sequence[Any]) -> Iterator[Any]:
        """Results of some work in the order of its arguments, made in processes where that is worth their start."""
        calls = list(zip(*columns, strict=True))
        if self._workers < 2 or len(calls) < 2 * self._workers:
            yield from (work(self._folder, *call) for call in calls)
            return
        self._has_pool = True
        pool = joblib.Parallel(self._workers, return_as="generator", pre_dispatch="4 * n_jobs")
        yield from pool(joblib.delayed(work)(self._folder, *call) for call in calls)


@contextmanager
def open_folds(history: History, workers: int) -> Iterator[Folds]:
    """Folds over a history; what they made is taken away at the end."""
    with tempfile.TemporaryDirectory(prefix="backtest_") as folder:
        joblib.dump(history, path_of(folder))
        folds = Folds(history, Path(folder), workers)
        try:
            yield folds
        finally:
            folds.close()
