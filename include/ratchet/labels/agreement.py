"""How far labellers agree: Krippendorff's alpha, of all of them and of each pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from include.ratchet.data.resolution import Ruling
from include.ratchet.evaluation.intervals import Bootstrap, Interval
from include.ratchet.spec import ModelSpec
from include.ratchet.spec.labels import SOURCE
from include.ratchet.training.metrics import Floats, Weighted


@dataclass(frozen=True)
class PairAgreement:
    """How far two labellers agree on the rows that both labelled."""

    one: str
    other: str
    rows: int
    alpha: Interval | None


@dataclass(frozen=True)
class Agreement:
    """How far a model's labellers agree.

    Attributes:
        labelled: rows of each labeller, the source's among those that a person has labelled too.
        rows: that at least two people labelled.
        alpha: of the people, without the source: 1 is perfect, 0 is chance. None if it is not defined: there is no
            such row, or everybody always said the same one thing.
        pairs: of labellers who share rows, the source as one of them.
    """

    labelled: Mapping[str, int]
    rows: int
    alpha: Interval | None
    pairs: tuple[PairAgreement, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def measure_agreement(spec: ModelSpec, rulings: Iterable[Ruling]) -> Agreement:
    """Compare what labellers said of the same rows; reviews, which know of the others, are left out.

    The intervals are of a bootstrap over rows, with the spec's resamples, confidence and seed.
    """
    voices = [one.voices for one in rulings]
    names = sorted({name for row in voices for name in row})
    ratings = tabulate(voices, names)
    people = [place for place, name in enumerate(names) if name != SOURCE]
    pairs = []
    for one, other in combinations(range(len(names)), 2):
        rows = int(_shared(ratings[:, [one, other]]).sum())
        if rows:
            pairs.append(PairAgreement(names[one], names[other], rows, _alpha(spec, ratings[:, [one, other]])))
    return Agreement(
        {name: int(np.isfinite(ratings[:, place]).sum()) for place, name in enumerate(names)},
        int(_shared(ratings[:, people]).sum()),
        _alpha(spec, ratings[:, people]),
        tuple(pairs),
    )


def tabulate(voices: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Floats:
    """Ratings, (n_rows, n_labellers): numbers as they are, classes as codes in their order; nan where there is none."""
    found = [[row.get(name) for name in names] for row in voices]
    flat = [value for row in found for value in row if value is not None]
    if all(isinstance(value, float) for value in flat):
        return np.array(found, dtype=np.float64).reshape(len(voices), len(names))
    codes: dict[Any, float] = {value: float(code) for code, value in enumerate(sorted(set(flat)))}
    coded = [[np.nan if value is None else codes[value] for value in row] for row in found]
    return np.array(coded, dtype=np.float64).reshape(len(voices), len(names))


def weigh_alpha(ratings: Floats, *, is_nominal: bool) -> Weighted:
    """Krippendorff's alpha of these rows as a function of their weights; nan where it is not defined.

    Observed over expected disagreement (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section F). The
    squared distance of two classes' indicators is 2 where they differ, so that nominal data are interval data of many
    columns. The pairs within a row come to `m * sum(x^2) - sum(x)^2`, over m - 1; those of all ratings likewise.

    Args:
        ratings: (n_rows, n_labellers), nan where there is none.
        is_nominal: whether numbers are classes.
    """
    ratings = ratings[_shared(ratings)]
    given = np.isfinite(ratings)
    count = given.sum(axis=1).astype(np.float64)
    filled = np.where(given, ratings - np.nanmean(ratings) if ratings.size else 0.0, 0.0)
    if is_nominal:
        classes = np.unique(ratings[given])
        sums = (ratings[:, :, None] == classes).sum(axis=1).astype(np.float64)
        squares = count
    else:
        sums, squares = filled.sum(axis=1)[:, None], (filled**2).sum(axis=1)
    within = (count * squares - (sums**2).sum(axis=1)) / np.maximum(count - 1, 1)

    def value(weights: Floats) -> Floats:
        total = weights @ count
        expected = total * (weights @ squares) - ((weights @ sums) ** 2).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(expected > 1e-9, 1 - (total - 1) * (weights @ within) / expected, np.nan)

    return value


def _alpha(spec: ModelSpec, ratings: Floats) -> Interval | None:
    """Alpha by the library, which takes no weights, with the interval of resamples of our own products."""
    import krippendorff

    ratings, is_nominal = ratings[_shared(ratings)], spec.task != "regression"
    if len(np.unique(ratings[np.isfinite(ratings)])) < 2:
        return None
    value = krippendorff.alpha(ratings.T, level_of_measurement="nominal" if is_nominal else "interval")
    rules = spec.evaluation
    bootstrap = Bootstrap(len(ratings), rules.resamples, rules.confidence, spec.training.seed)
    _, resampled = bootstrap.draws([weigh_alpha(ratings, is_nominal=is_nominal)])
    return bootstrap.interval(float(value), resampled[0])


def _shared(ratings: Floats) -> npt.NDArray[np.bool_]:
    """Whether at least two labellers rated a row."""
    return np.asarray(np.isfinite(ratings).sum(axis=1) > 1)
