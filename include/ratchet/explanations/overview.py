"""What a version leans on over many rows: the mean size of each column's contributions, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from include.ratchet.evaluation.intervals import Bootstrap, Interval
from include.ratchet.explanations.attribution import Attribution
from include.ratchet.explanations.explainer import Explainer
from include.ratchet.spec import ModelSpec
from include.ratchet.training.metrics import Floats, Weighted

if TYPE_CHECKING:
    import pandas as pd

OVERVIEW = "explanation.json"
BACKGROUND_ROWS = 100
"""Training rows that a version is explained against, kept with it."""
_ROWS, _ASKED_ROWS, _FEWEST = 200, 25, 5
"""Rows that an overview is of: of an estimator that was taken apart; of one that is asked; and of a slow one."""
_SECONDS = 60.0
"""That asking may take, as far as that is possible with the fewest rows."""


@dataclass(frozen=True)
class ColumnWeight:
    """How much a version leans on one column.

    Attributes:
        column: name.
        size: mean absolute contribution, of several classes the mean over them, in the overview's space.
        share: of the sizes of all columns, which sum to 1; it can be compared between versions.
        lost: what the decisive metric loses when the column is shuffled; None if that was not measured.
    """

    column: str
    size: Interval
    share: Interval
    lost: float | None = None


@dataclass(frozen=True)
class Overview:
    """What a version leans on.

    Attributes:
        method: see `Attribution`.
        space: in which contributions add up.
        rows: that were explained.
        background: rows that they were explained against.
        weights: the largest first.
        note: why the estimator was not taken apart, if it was not.
    """

    method: str
    space: str
    rows: int
    background: int
    weights: tuple[ColumnWeight, ...]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The overview back from its JSON form."""
        weights = tuple(
            ColumnWeight(one["column"], Interval(**one["size"]), Interval(**one["share"]), one["lost"])
            for one in content["weights"]
        )
        return cls(**{**content, "weights": weights})


def sample_evenly(features: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most so many rows, evenly from first to last."""
    rows = np.linspace(0, len(features) - 1, min(len(features), count)).astype(np.int64)
    return features.iloc[rows].reset_index(drop=True)


def survey(
    spec: ModelSpec, explainer: Explainer, features: pd.DataFrame, background: int,
    lost: Mapping[str, float] | None = None,
) -> Overview:  # fmt: skip
    """Explain an even sample of rows.

    Args:
        spec: of the intervals: resamples, confidence, seed.
        explainer: of the version.
        features: (n_rows, n_columns).
        background: how many rows the explainer has.
        lost: permutation importance by column.
    """
    rows = sample_evenly(features, _ROWS if explainer.is_structural else _count_asked(explainer))
    found = explainer.explain(rows)
    weights = sorted(_weigh(spec, found, lost or {}), key=lambda one: (-one.size.value, one.column))
    return Overview(found.method, found.space, len(rows), background, tuple(weights), found.note)


def _count_asked(explainer: Explainer) -> int:
    return min(_ASKED_ROWS, max(_FEWEST, int(_SECONDS / max(explainer.measure_seconds(), 1e-9))))


def _weigh(spec: ModelSpec, found: Attribution, lost: Mapping[str, float]) -> Sequence[ColumnWeight]:
    sizes = np.abs(found.contributions).mean(axis=2)
    rows = len(sizes)
    bootstrap = Bootstrap(rows, spec.evaluation.resamples, spec.evaluation.confidence, spec.training.seed)
    totals = sizes.sum(axis=1)

    def mean(values: Floats) -> Weighted:
        return lambda weights: weights @ values / weights.sum(axis=1)

    # With few rows a resample may be empty; it is left out of the interval.
    with np.errstate(invalid="ignore", divide="ignore"):
        point, draws = bootstrap.draws([mean(totals), *(mean(column) for column in sizes.T)])
        shares, drawn = point[1:] / point[0], draws[1:] / draws[0]
    return [
        ColumnWeight(
            name, bootstrap.interval(point[place + 1], draws[place + 1]),
            bootstrap.interval(shares[place] if point[0] > 0 else 0.0, drawn[place]), lost.get(name),
        )
        for place, name in enumerate(found.columns)
    ]  # fmt: skip
