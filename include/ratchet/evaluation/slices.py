"""How a candidate does on parts of the rows: the declared slices, and the worst ones that nobody declared."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.evaluation.intervals import Bootstrap, Interval
from include.ratchet.spec import ModelSpec
from include.ratchet.training.metrics import Floats, prepare

Mask = npt.NDArray[np.bool_]
MAX_LEVELS = 60
"""Text columns with more values are no slices of their own."""


@dataclass(frozen=True)
class SliceResult:
    """A part of the test rows.

    Attributes:
        name: such as `carrier = UA`.
        rows: how many.
        metric: the decisive metric there.
        versus_champion: paired gain over the champion there (positive: better); None without a champion.
    """

    name: str
    rows: int
    metric: Interval
    versus_champion: Interval | None = None


@dataclass(frozen=True)
class WeakSpot:
    """A part of the rows that nobody declared, on which the candidate errs more than elsewhere.

    Attributes:
        name: such as `origin = JFK and scheduled_hour in [18, 21)`.
        rows: how many.
        loss: mean loss there (log loss, or squared error of a regression).
        loss_elsewhere: mean loss on the other rows.
        effect: their difference in standard deviations (Chung et al. 2019, Slice Finder).
    """

    name: str
    rows: int
    loss: float
    loss_elsewhere: float
    effect: float


def measure_slices(
    spec: ModelSpec, table: pa.Table, label: npt.NDArray[Any], scores: Floats, champion: Floats | None, sign: float
) -> tuple[SliceResult, ...]:
    """The decisive metric on every declared slice that has enough rows, largest first.

    Args:
        spec: names the columns and the support.
        table: the test rows.
        label: (n_rows,).
        scores: the candidate's.
        champion: the champion's on the same rows, if there is one.
        sign: 1 where higher is better, -1 where lower is.
    """
    found = []
    for column in spec.evaluation.slices:
        values = table.column(column).to_pylist()
        groups = np.array([str(value) for value in values], dtype=object)
        for group in np.unique(groups.astype(str)):
            rows = np.flatnonzero(groups == group)
            if len(rows) < spec.evaluation.min_slice_rows or not _is_measurable(spec, label[rows]):
                continue
            found.append(_measure(spec, f"{column} = {group}", rows, label, scores, champion, sign))
    return tuple(sorted(found, key=lambda part: (-part.rows, part.name)))


def _is_measurable(spec: ModelSpec, label: npt.NDArray[Any]) -> bool:
    return spec.task == "regression" or len(np.unique(label)) > 1


def _measure(spec: ModelSpec, name: str, rows: npt.NDArray[np.int64], label: npt.NDArray[Any], scores: Floats,
             champion: Floats | None, sign: float) -> SliceResult:  # fmt: skip
    evaluation = spec.evaluation
    bootstrap = Bootstrap(len(rows), evaluation.resamples, evaluation.confidence, spec.training.seed)
    own = prepare(spec.metric, label[rows], scores[rows], threshold=evaluation.threshold)
    if champion is None:
        return SliceResult(name, len(rows), bootstrap.measure(own))
    other = prepare(spec.metric, label[rows], champion[rows], threshold=evaluation.threshold)
    metric, _, gain = bootstrap.compare(own, other, sign)
    return SliceResult(name, len(rows), metric, gain)


def find_weak_spots(
    table: pa.Table, features: Sequence[str], loss: Floats, min_rows: int, count: int = 5
) -> tuple[WeakSpot, ...]:
    """The parts with the largest effect, over all features and pairs of the worst single ones.

    Args:
        table: the test rows.
        features: columns to cut by; text by value, numbers by quartile.
        loss: (n_rows,) loss of each row.
        min_rows: smaller parts are not considered.
        count: how many to return.
    """
    singles = [spot for spot in _rate(_conditions(table, features), loss, min_rows) if spot[0].effect > 0]
    singles.sort(key=lambda spot: -spot[0].effect)
    pairs = {
        f"{one.name} and {other.name}": mask & other_mask
        for (one, mask), (other, other_mask) in itertools.combinations(singles[:12], 2)
        if one.name.split(" ", 1)[0] != other.name.split(" ", 1)[0]
    }
    spots = [spot for spot, _ in (*singles, *_rate(pairs, loss, min_rows))]
    return tuple(sorted(spots, key=lambda spot: -spot.effect)[:count])


def _rate(conditions: Mapping[str, Mask], loss: Floats, min_rows: int) -> Iterator[tuple[WeakSpot, Mask]]:
    for name, mask in conditions.items():
        rows = int(mask.sum())
        if rows < min_rows or rows > len(loss) - min_rows:
            continue
        inside, outside = loss[mask], loss[~mask]
        spread = np.sqrt((inside.var() + outside.var()) / 2)
        effect = float((inside.mean() - outside.mean()) / spread) if spread > 0 else 0.0
        yield WeakSpot(name, rows, float(inside.mean()), float(outside.mean()), effect), mask


def _conditions(table: pa.Table, features: Sequence[str]) -> dict[str, Mask]:
    conditions: dict[str, Mask] = {}
    for name in features:
        column = table.column(name)
        if pa.types.is_string(column.type) or pa.types.is_boolean(column.type):
            values = np.array([str(value) for value in column.to_pylist()])
            levels = np.unique(values)
            if len(levels) <= MAX_LEVELS:
                conditions |= {f"{name} = {level}": values == level for level in levels}
            continue
        numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        conditions[f"{name} is missing"] = np.isnan(numbers)
        known = numbers[np.isfinite(numbers)]
        edges = np.unique(np.quantile(known, [0, 0.25, 0.5, 0.75, 1])) if len(known) else np.array([])
        for low, high in itertools.pairwise(edges):
            inside = (numbers >= low) & ((numbers < high) | (high == edges[-1]))
            conditions[f"{name} in [{low:.6g}, {high:.6g}{']' if high == edges[-1] else ')'}"] = inside
    return conditions
