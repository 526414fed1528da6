"""Which features a model could do without: each group left out in its turn, and what is lost weighed against its cost.

Permutation importance asks what a fitted model loses when it is lied to; here a model is fitted that never had what
the column says, and so may have learnt the same from others (leave-one-covariate-out: Lei et al. 2018,
Distribution-Free Predictive Inference for Regression, section 6).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from include.ratchet.dependencies.ties import Ties, group_features
from include.ratchet.dependencies.usage import Column, needed_columns, trace_features
from include.ratchet.evaluation.comparison import bootstrap_of, measured
from include.ratchet.evaluation.intervals import Interval
from include.ratchet.spec import Model
from include.ratchet.spec.training import LOWER_IS_BETTER
from include.ratchet.training.fit import Candidate, fit_candidate, predict, steady
from include.ratchet.training.frames import class_codes
from include.ratchet.training.metrics import Floats, score
from include.ratchet.training.split import Split

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Need:
    """One group of features, and the model without it.

    Attributes:
        features: of the group; tied ones are left out together, as each can stand in for the other.
        lost: of the metric without them (positive: they help); None if nothing can be fitted without them.
        could_go: whether surely no more than the tolerance is lost.
        frees: columns and tables that nothing else would read.
        costs: of those, as the spec has them.
        bytes_a_row: that they take in memory.
        missing: share of their values.
        note: why nothing could be fitted.
    """

    features: tuple[str, ...]
    lost: Interval | None
    could_go: bool
    frees: tuple[str, ...]
    costs: tuple[str, ...]
    bytes_a_row: float
    missing: float
    note: str = ""


@dataclass(frozen=True)
class Necessity:
    """What features are needed for.

    Attributes:
        metric: the decisive one.
        value: of the model with all features, fitted on the same rows.
        tolerance: how much of it may be lost.
        learnt_rows: of the train part.
        measured_rows: of the validation part; the test rows are not spent on this.
        needs: those that could go first, the costly before the others; then by what is lost.
        left: groups that were not tried, as the spec's `refits` was reached.
        together: lost without all that could go at once; None if it is no more than one group.
    """

    metric: str
    value: float
    tolerance: float
    learnt_rows: int
    measured_rows: int
    needs: tuple[Need, ...]
    left: int
    together: Interval | None

    @property
    def could_go(self) -> tuple[str, ...]:
        """Features each of whose groups could go."""
        return tuple(name for need in self.needs if need.could_go for name in need.features)


def find_necessity(
    model: Model, candidate: Candidate, frame: pd.DataFrame, label: npt.NDArray[Any], split: Split, ties: Ties,
    importance: Mapping[str, float], progress: Callable[[int, int], None] = lambda done, total: None,
) -> Necessity:  # fmt: skip
    """Fit a candidate again without one group of features after the other.

    Args:
        model: whose.
        candidate: that is fitted.
        frame: (n_rows, n_features).
        label: (n_rows,).
        split: of its rows: fitted on the train part, measured on the validation part.
        ties: of the features.
        importance: by column, what is lost when it is shuffled: the least important are tried first.
        progress: hears how many groups are done.
    """
    asked = model.spec.dependencies
    learn, measure = split.train[-asked.max_rows :], _evenly(split.validation, asked.max_rows)
    refit = _Refit(model, candidate, frame, label, learn, measure)
    whole = refit.scores(())
    groups = group_features([str(name) for name in frame.columns], ties)
    if len(groups) < 2:
        groups = ()
    order = sorted(groups, key=lambda group: sum(max(importance.get(name, 0.0), 0.0) for name in group))
    needs = []
    for number, group in enumerate(order[: asked.refits]):
        needs.append(_weigh(model, refit, whole, group))
        progress(number + 1, min(len(order), asked.refits))
    free = [name for need in needs if need.could_go for name in need.features]
    together = None
    if sum(need.could_go for need in needs) > 1 and len(free) < len(frame.columns):
        together = refit.lost(whole, free)
    needs.sort(key=lambda need: (not need.could_go, not need.costs, need.lost.value if need.lost else np.inf))
    return Necessity(model.spec.metric, score(model.spec.metric, refit.codes, whole), asked.tolerance, len(learn),
                     len(measure), tuple(needs), len(order[asked.refits :]), together)  # fmt: skip


class _Refit:
    """A candidate fitted on some columns, and measured on rows that it did not learn from."""

    def __init__(
        self, model: Model, candidate: Candidate, frame: pd.DataFrame, label: npt.NDArray[Any],
        learn: npt.NDArray[np.int64], measure: npt.NDArray[np.int64],
    ) -> None:  # fmt: skip
        self.model, self.candidate, self.frame, self.label = model, candidate, frame, label
        self.learn, self.measure = learn, measure
        self.classes, codes = class_codes(label, model.spec.task)
        self.codes = codes[measure]
        self._bootstrap = bootstrap_of(model.spec, len(measure))

    def scores(self, without: Collection[str]) -> Floats:
        """Of the measured rows, fitted with one value in all rows of some columns: nothing can be learnt from them."""
        frame = self.frame
        if without:
            # Not dropped: many an estimator names its columns.
            frame = frame.assign(**{name: _usual(frame[name]) for name in without})
        estimator = fit_candidate(self.model, self.candidate, frame.iloc[self.learn], self.label[self.learn])
        with steady(self.model):
            return predict(estimator, frame.iloc[self.measure], self.model.spec.task, self.classes)

    def lost(self, whole: Floats, without: Collection[str]) -> Interval:
        """How much of the metric is lost without some columns, paired on the same rows."""
        spec, less = self.model.spec, self.scores(without)
        sign = -1.0 if spec.metric in LOWER_IS_BETTER else 1.0
        one, other = (measured(spec, spec.metric, self.codes, of) for of in (whole, less))
        return self._bootstrap.compare(one, other, sign)[2]


def _weigh(model: Model, refit: _Refit, whole: Floats, group: tuple[str, ...]) -> Need:
    frees = _find_freed(model, group)
    costs = tuple(f"{source}: {cost}" for source, cost in model.spec.dependencies.costs.items() if source in frees)
    part = refit.frame[list(group)].iloc[refit.measure]
    size = float(part.memory_usage(index=False, deep=True).sum()) / max(len(part), 1)
    missing = float(part.isna().to_numpy().mean()) if len(part) else 0.0
    try:
        lost = refit.lost(whole, group)
    except Exception as error:  # an estimator may refuse a column without variance
        return Need(group, None, False, frees, costs, size, missing, f"{type(error).__name__}: {error}"[:200])
    return Need(group, lost, lost.high <= model.spec.dependencies.tolerance, frees, costs, size, missing)


def _find_freed(model: Model, group: Sequence[str]) -> tuple[str, ...]:
    """Columns, as `table.column`, and tables that only a group reads."""
    traced = trace_features(model)
    own: set[Column] = {column for name in group for column in traced.get(name, ())}
    others = {column for name, columns in traced.items() if name not in group for column in columns}
    tables = {table for table, _ in own} - {table for table, _ in others} - {model.name}
    columns = {f"{table}.{name}" for table, name in own - others - needed_columns(model)}
    return (*sorted(tables), *sorted(columns))


def _usual(column: pd.Series[Any]) -> Any:
    """The commonest value of a column; missing, if nothing else is there."""
    values = column.mode()
    return values.iloc[0] if len(values) else column.iloc[0]


def _evenly(rows: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)]
