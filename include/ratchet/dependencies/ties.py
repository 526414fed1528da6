"""Tied features: which say the same, nearly the same, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
SAMPLE_ROWS = 5000
TIED = 0.9
"""Strength of a tie, 0 to 1, from which features are of one cluster."""


@dataclass(frozen=True)
class Cluster:
    """Features of which each is tied to the others, in the mean by at least `TIED`.

    Attributes:
        features: in the model's order.
        strongest: the two that are tied most.
        strength: of their tie, 0 to 1.
        measure: of that tie: `Spearman`, `Cramer's V` or `correlation ratio`.
    """

    features: tuple[str, ...]
    strongest: tuple[str, str]
    strength: float
    measure: str


@dataclass(frozen=True)
class Ties:
    """What features repeat each other, and which say nothing.

    Attributes:
        clusters: of two features and more.
        duplicates: groups of features that are equal in every row.
        constants: features that have one value, or none.
        rows: that were looked at for the clusters.
    """

    clusters: tuple[Cluster, ...]
    duplicates: tuple[tuple[str, ...], ...]
    constants: tuple[str, ...]
    rows: int


def find_ties(frame: pd.DataFrame) -> Ties:
    """Look at every pair of features.

    Numbers are tied by Spearman's rank correlation over the rows that have both, texts by Cramer's V without its bias
    (Bergsma 2013, A bias-correction for Cramer's V), a number and a text by the correlation ratio of the number's
    ranks without its bias (Kelley 1935). Clusters are those of average linkage over 1 - tie.

    Args:
        frame: (n_rows, n_features) as estimators take it: float64, and text as objects.
    """
    constants = tuple(str(name) for name in frame.columns if frame[name].nunique(dropna=False) <= 1)
    varied = frame.drop(columns=list(constants))
    rows = np.linspace(0, len(frame) - 1, min(len(frame), SAMPLE_ROWS)).astype(np.int64)
    strength = measure_ties(varied.iloc[rows])
    return Ties(_cluster(varied, strength), _find_duplicates(varied), constants, len(rows))


def measure_ties(frame: pd.DataFrame) -> Floats:
    """(n_features, n_features): strength of each pair's tie, 0 to 1; 0 where too few rows have both."""
    names, is_text = list(frame.columns), _texts_of(frame)
    found = np.eye(len(names))
    numbers = np.flatnonzero(~is_text).tolist()
    ranks: dict[int, Floats] = {place: np.asarray(frame[names[place]].rank(), np.float64) for place in numbers}
    codes = {place: _encode(frame[names[place]]) for place in np.flatnonzero(is_text).tolist()}
    if len(numbers):
        found[np.ix_(numbers, numbers)] = _correlate(np.column_stack([ranks[place] for place in numbers]))
    for one, own in codes.items():
        for other in numbers:
            found[one, other] = found[other, one] = _correlation_ratio(own, ranks[other])
        for other, further in codes.items():
            if one < other:
                found[one, other] = found[other, one] = _cramers_v(own, further)
    return found


def _texts_of(frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    return np.array([frame[name].dtype == object for name in frame.columns], dtype=bool)


def _encode(column: pd.Series[Any]) -> npt.NDArray[np.int64]:
    """A number for each text; a missing one has its own, as it may say something."""
    import pandas as pd

    codes: npt.NDArray[np.int64] = pd.factorize(column, use_na_sentinel=False)[0].astype(np.int64)
    return codes


def _correlate(ranks: Floats) -> Floats:
    """Absolute correlation of columns, (n_columns, n_columns), each pair over the rows that have both."""
    known = np.isfinite(ranks).astype(np.float64)
    centred = np.where(known > 0, ranks - np.nanmean(ranks, axis=0), 0.0)
    count = known.T @ known
    sums = centred.T @ known  # of a column over the rows that the other has
    squares = (centred**2).T @ known
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = centred.T @ centred - sums * sums.T / count
        variance = squares - sums**2 / count
        found = np.abs(covariance) / np.sqrt(variance * variance.T)
    found = np.where(np.isfinite(found) & (count >= _MIN_ROWS), np.minimum(found, 1.0), 0.0)
    np.fill_diagonal(found, 1.0)
    return np.asarray(found, np.float64)


_MIN_ROWS = 20


def _correlation_ratio(codes: npt.NDArray[np.int64], values: Floats) -> float:
    known = np.isfinite(values)
    codes, values = np.unique(codes[known], return_inverse=True)[1], values[known]
    groups, rows = int(codes.max(initial=-1)) + 1, len(values)
    if rows < _MIN_ROWS or groups >= rows or not values.var():
        return 0.0
    means = np.bincount(codes, values, groups) / np.bincount(codes, minlength=groups)
    explained = float(((means[codes] - values.mean()) ** 2).sum() / ((values - values.mean()) ** 2).sum())
    return float(np.sqrt(max(0.0, 1 - (1 - explained) * (rows - 1) / (rows - groups))))


def _cramers_v(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float:
    rows, (height, width) = len(one), (int(one.max()) + 1, int(other.max()) + 1)
    if rows < _MIN_ROWS or min(height, width) < 2:
        return 0.0
    # Only cells that occur are held: two columns of thousands of texts have millions of others.
    cells, counts = np.unique(one * width + other, return_counts=True)
    expected = np.bincount(one, minlength=height)[cells // width] * np.bincount(other, minlength=width)[cells % width]
    phi = float((counts**2 / expected).sum()) - 1
    phi = max(0.0, phi - (height - 1) * (width - 1) / (rows - 1))
    sides = [side - (side - 1) ** 2 / (rows - 1) for side in (height, width)]
    return float(np.sqrt(min(1.0, phi / max(min(sides) - 1, 1e-9))))


def _cluster(frame: pd.DataFrame, strength: Floats) -> tuple[Cluster, ...]:
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    names, is_text = [str(name) for name in frame.columns], _texts_of(frame)
    if len(names) < 2:
        return ()
    apart = squareform(np.maximum(1 - strength, 0), checks=False)
    numbers = fcluster(linkage(apart, "average"), 1 - TIED, "distance")
    found = []
    for number in dict.fromkeys(numbers.tolist()):
        places = np.flatnonzero(numbers == number)
        if len(places) > 1:
            within = strength[np.ix_(places, places)] - np.eye(len(places)) * 2
            one, other = sorted(places[place] for place in divmod(int(within.argmax()), len(places)))
            measure = ("Spearman", "correlation ratio", "Cramer's V")[int(is_text[one]) + int(is_text[other])]
            found.append(Cluster(tuple(names[place] for place in places), (names[one], names[other]),
                                 float(strength[one, other]), measure))  # fmt: skip
    return tuple(sorted(found, key=lambda cluster: -cluster.strength))


def _find_duplicates(frame: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    import pandas as pd

    groups: dict[Any, list[str]] = {}
    for name in frame.columns:
        digest = pd.util.hash_pandas_object(frame[name], index=False).to_numpy().tobytes()
        groups.setdefault((frame[name].dtype, hash(digest)), []).append(str(name))
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def group_features(features: Sequence[str], ties: Ties) -> tuple[tuple[str, ...], ...]:
    """The features in groups that can only go together: each cluster, and every other one by itself."""
    home: Mapping[str, tuple[str, ...]] = {name: one.features for one in ties.clusters for name in one.features}
    return tuple(dict.fromkeys(home.get(name, (name,)) for name in features))
