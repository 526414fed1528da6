"""Fits and scores of a backtest: each day is fitted once, and each fit scores a day once, whatever asks for them.

Work goes to processes: a fit's own Python (encoders, the optimiser's loop) holds the interpreter's lock, so that
threads gained nothing with boosting and made a logistic regression slower than one after the other. What is made lies
in a folder, so that memory holds the history and little else, however many fits there are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
from joblib.externals.loky import get_reusable_executor

from include.ratchet.evaluation.business import value_rows
from include.ratchet.evaluation.intervals import Interval
from include.ratchet.monitoring.backtest.work import (
    BLOCK_DAYS,
    Fit,
    History,
    bootstrap_of,
    draw,
    make_fit,
    open_history,
    path_of,
    score_days,
)
from include.ratchet.monitoring.outcomes import MIN_CLASS_ROWS, measure
from include.ratchet.spec.training import LOWER_IS_BETTER
from include.ratchet.training.metrics import Floats
from include.ratchet.training.split import Rows

_CACHED = 128
"""Files of scores that are held in memory, each of some 35 days: 30 MB of the flights."""
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
        self._drawn: dict[tuple[int, int | None], tuple[float, Floats]] = {}
        self._places: dict[tuple[int, int], tuple[int, slice]] = {}
        self._blocks: dict[int, int] = {}
        self._metrics: dict[tuple[int, int], float] = {}
        self._worths: dict[tuple[int, int], tuple[float, int]] = {}
        self._read = lru_cache(_CACHED)(lambda fit, block: np.load(path_of(self._folder, fit, block)))

    @property
    def fitted(self) -> int:
        """How many fits there have been."""
        return sum(fit is not None for fit in self._fits.values())

    @property
    def scored(self) -> int:
        """How many times a fit has scored a day."""
        return len(self._places)

    def prepare(self, days: Iterable[int], progress: Progress) -> None:
        """Fit as of many days, side by side."""
        missing = [day for day in days if day not in self._fits]
        for done, (fit, scored) in enumerate(self._fit_all(missing), start=1):
            self._keep(missing[done - 1], fit, scored)
            progress("fit", done, len(missing))

    def close(self) -> None:
        """End the processes, which would wait for more work for minutes, each with the history in its memory."""
        open_history.cache_clear()
        if self._has_pool:
            get_reusable_executor().shutdown(wait=True)

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
        block, part = self._places[fit, day]
        found: Floats = self._read(fit, block)[part]
        return found

    def metric(self, fit: int, day: int) -> float:
        """Of a day by all its labels, also those that came later; nan where it has none."""
        if (fit, day) not in self._metrics:
            rows = self.history.rows_of(day)
            self._metrics[fit, day] = measure(self.history.spec, self.history.codes[rows], self.scores(fit, day))
        return self._metrics[fit, day]

    def worth(self, fit: int, day: int) -> tuple[float, int]:
        """A day's mean value of a prediction, nan without any, and of how many rows it is known."""
        if (fit, day) not in self._worths:
            values = self._values(fit, day)
            values = values[np.isfinite(values)]
            self._worths[fit, day] = (float(values.mean()) if len(values) else float("nan"), len(values))
        return self._worths[fit, day]

    def worth_known(self, fit: int, day: int, as_of: int) -> float:
        """A day's mean value of a prediction by the labels that were available before another day began."""
        is_known = self.history.is_known(self.history.rows_of(day), as_of)
        if is_known.all():
            return self.worth(fit, day)[0]
        values = self._values(fit, day)[is_known]
        values = values[np.isfinite(values)]
        return float(values.mean()) if len(values) >= 2 * MIN_CLASS_ROWS else float("nan")

    def _values(self, fit: int, day: int) -> Floats:
        """What each prediction of a day was worth, (n_rows,), nan where it counts for nothing."""
        spec, rows = self.history.spec, self.history.rows_of(day)
        if spec.business is None or self.history.facts is None:
            return np.full(len(rows), np.nan)
        facts = self.history.facts.take(pa.array(rows))
        return value_rows(spec, spec.business, facts, self.scores(fit, day), self.history.classes)

    def metric_known(self, fit: int, day: int, as_of: int) -> float:
        """Of a day by the labels that were available before another day began."""
        rows = self.history.rows_of(day)
        is_known = self.history.is_known(rows, as_of)
        if is_known.all():
            return self.metric(fit, day)
        return measure(self.history.spec, self.history.codes[rows[is_known]], self.scores(fit, day)[is_known])

    def measure(self, fit: Fit) -> Interval:
        """The metric on a fit's test rows."""
        point, drawn = self._draw(fit, [fit.day])[0]
        return bootstrap_of(self.history, fit).interval(point, drawn)

    def compare(self, fit: Fit, rival: int | None) -> Interval:
        """A fit's paired gain, above 0 is better, on its test rows over another day's fit, or over a constant."""
        sign = -1.0 if self.history.spec.metric in LOWER_IS_BETTER else 1.0
        (own, owns), (other, others) = self._draw(fit, [fit.day, rival])
        return bootstrap_of(self.history, fit).interval(sign * (own - other), sign * (owns - others))

    def _draw(self, fit: Fit, rivals: Sequence[int | None]) -> list[tuple[float, Floats]]:
        """The metric of each rival on a fit's test rows, and its resamples."""
        missing = [rival for rival in rivals if (fit.day, rival) not in self._drawn]
        scores = [None if rival is None else self._scores_of(rival, fit.test) for rival in missing]
        # Unlike fits, sums over resamples do without the interpreter's lock.
        with ThreadPoolExecutor(max(1, min(self._workers, len(missing)))) as pool:
            found = pool.map(lambda each: draw(self.history, fit, each), scores)
            self._drawn |= zip([(fit.day, rival) for rival in missing], found, strict=True)
        return [self._drawn[fit.day, rival] for rival in rivals]

    def _scores_of(self, fit: int, rows: Rows) -> Floats:
        of_day = self.history.days_of(rows)
        days = np.unique(of_day).tolist()
        self._need(fit, days)
        return np.concatenate([self.scores(fit, day)[rows[of_day == day] - self.history.offsets[day]] for day in days])

    def _keep(self, day: int, fit: Fit | None, scored: Sequence[int]) -> None:
        self._fits[day] = fit
        if fit is not None:
            self._place(day, scored)

    def _place(self, fit: int, days: Sequence[int]) -> None:
        """Note where the newest block of a fit's scores has each day."""
        block = self._blocks[fit] = self._blocks.get(fit, -1) + 1
        ends = np.cumsum([len(self.history.rows_of(day)) for day in days]).tolist()
        for day, start, end in zip(days, [0, *ends], ends, strict=False):
            self._places[fit, day] = (block, slice(start, end))

    def _need(self, fit: int, days: Sequence[int]) -> None:
        """Score what is missing of some days, and of those that will be asked for next."""
        missing = [day for day in days if (fit, day) not in self._places]
        if not missing:
            return
        block = range(max(missing) + 1, min(max(missing) + BLOCK_DAYS, len(self.history.days)))
        more = [day for day in block if (fit, day) not in self._places] if len(days) == 1 else []
        score_days(self._folder, fit, self.estimator(fit), [*missing, *more], self._blocks.get(fit, -1) + 1)
        self._place(fit, [*missing, *more])

    def _fit_all(self, days: Sequence[int]) -> Iterator[tuple[Fit | None, list[int]]]:
        """Fits in the order of their days, made in processes where that is worth their start."""
        if self._workers < 2 or len(days) < 2 * self._workers:
            yield from (make_fit(self._folder, day) for day in days)
            return
        self._has_pool = True
        pool = joblib.Parallel(self._workers, return_as="generator", pre_dispatch="4 * n_jobs")
        yield from pool(joblib.delayed(make_fit)(self._folder, day) for day in days)


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
