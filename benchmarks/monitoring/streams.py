"""Streams of days whose truth is known: columns, scores and labels of a model, with days that differ by themselves.

A day's columns, scores and labels come from distributions that move from day to day: shocks of the columns' location
(an AR(1), a third of their variance shared by all columns), a weekly season, a base rate and a slope of the label that
differ as well. Counts are drawn by multinomials over bins, so that 100,000 rows cost as much as 200; `draw_rows` draws
rows of the same days for tools that need them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtr, ndtri

Floats = npt.NDArray[np.float64]
EDGES = ndtri(np.arange(1, 20) / 20)
"""Of a numeric column's latent value: twenty equal shares."""
CATEGORIES = 10
WIDTH = len(EDGES) + 2
NULLS = 0.01
_GRID = np.linspace(-7, 7, 241)
_MIDDLES = (_GRID[1:] + _GRID[:-1]) / 2
_SCORE_SD = 1.2
_BASE = -1.0


@dataclass(frozen=True)
class World:
    """What a stream is like.

    Attributes:
        columns: of the model; a third are normal, a third skewed, a third categories.
        rows: of a usual day.
        phi: correlation of a day's shock with the next day's.
        sd: of the shocks, in standard deviations of a column.
        is_seasonal: whether weekdays differ, in values and in rows.
        reference_days: of the training window; the last quarter, and 28 at least, are test days.
        live_days: that are looked at.
    """

    columns: int
    rows: int
    phi: float
    sd: float
    is_seasonal: bool
    reference_days: int
    live_days: int = 30

    @property
    def test_days(self) -> int:
        """Days of labels that nothing was fitted to."""
        return max(28, self.reference_days // 4)


@dataclass(frozen=True)
class Change:
    """What changes, and when.

    Attributes:
        kind: shift, gradual, recurring, prior, concept, constant, nulls or unit; "none".
        size: of the shift in standard deviations; share of turned labels, of nulls.
        day: of the live days, on which it begins.
    """

    kind: str = "none"
    size: float = 0.0
    day: int = 10


@dataclass(frozen=True)
class Stream:
    """A drawn stream; the live days follow the reference's.

    Attributes:
        world: what it is like.
        change: what happens in it.
        rows: (n_days,) of each day.
        moved: (n_days, n_columns) latent location of each column.
        directions: (n_columns, CATEGORIES) how categories answer to a location.
        base: (n_columns, CATEGORIES) log shares of categories.
        counts: (n_days, n_columns, WIDTH).
        scores: (n_days, n_cells) rows at each score of the grid.
        positives: (n_days, n_cells) positive ones among them.
        likely: (n_days, n_cells) the truth: probability of the positive class at each score.
        shares: (n_days, n_cells) the truth: probability of each score.
    """

    world: World
    change: Change
    rows: npt.NDArray[np.int64]
    moved: Floats = field(repr=False)
    directions: Floats = field(repr=False)
    base: Floats = field(repr=False)
    counts: Floats = field(repr=False)
    scores: Floats = field(repr=False)
    positives: Floats = field(repr=False)
    likely: Floats = field(repr=False)
    shares: Floats = field(repr=False)


def kind_of(column: int) -> str:
    """Number, skewed or category."""
    return ("number", "skewed", "category")[column % 3]


def score_values() -> Floats:
    """The score at each cell of the grid."""
    return np.asarray(expit(_BASE + _MIDDLES))


def draw(world: World, change: Change, seed: int) -> Stream:
    """A stream of a world."""
    rng = np.random.default_rng(seed)
    days = world.reference_days + world.live_days
    week = np.arange(days) % 7
    moved = world.sd * _shocks(rng, days, world.columns, world.phi)
    rows = world.rows * np.exp(0.1 * rng.standard_normal(days))
    if world.is_seasonal:
        moved = moved + 0.15 * rng.standard_normal((7, world.columns))[week]
        rows = rows * np.where(week >= 5, 0.6, 1.0)
    rows = np.maximum(rows.astype(np.int64), 1)
    directions = rng.standard_normal((world.columns, CATEGORIES))
    base = -np.log(np.arange(1, CATEGORIES + 1)) + 0.3 * rng.standard_normal((world.columns, CATEGORIES))
    base -= np.log(np.exp(base).sum(axis=1, keepdims=True))
    moved = moved + _location_change(world, change, days)
    counts = rng.multinomial(rows[:, None], _column_shares(world, change, moved, directions, base))
    shares, likely = _score_shares(world, change, moved, _shocks(rng, days, 2, world.phi))
    scores = rng.multinomial(rows, shares)
    return Stream(
        world, change, rows, moved, directions, base, counts.astype(np.float64), scores.astype(np.float64),
        rng.binomial(scores, likely).astype(np.float64), likely, shares,
    )  # fmt: skip


def draw_rows(stream: Stream, day: int, limit: int, columns: int, seed: int) -> dict[str, Any]:
    """Rows of one day: values of the first columns, scores and labels, by name; at most so many."""
    rng = np.random.default_rng((seed, day))
    count = int(min(stream.rows[day], limit))
    found: dict[str, Any] = {}
    change, is_on = stream.change, _is_on(stream.world, stream.change, day)
    for column in range(columns):
        latent = rng.standard_normal(count) + stream.moved[day, column]
        if kind_of(column) == "category":
            logits = stream.base[column] + stream.moved[day, column] * stream.directions[column]
            shares = np.exp(logits) / np.exp(logits).sum()
            names = np.array([f"c{i}" for i in range(CATEGORIES)], object)
            values: Any = names[rng.choice(CATEGORIES, count, p=shares)]
        else:
            values = latent if kind_of(column) == "number" else np.exp(latent / 2)
        missing = NULLS
        if is_on and column == FAULTY[change.kind]:
            if change.kind == "constant":
                values, missing = np.zeros(count), 0.0
            elif change.kind == "nulls":
                missing = change.size
            elif change.kind == "unit":
                values = values * 100
        empty = rng.random(count) < missing
        values[empty] = None if kind_of(column) == "category" else np.nan
        found[f"x{column}"] = values
    cells = rng.choice(len(_MIDDLES), count, p=stream.shares[day])
    found["score"] = score_values()[cells]
    found["label"] = (rng.random(count) < stream.likely[day][cells]).astype(np.int64)
    return found


FAULTY = {"constant": 0, "nulls": 0, "unit": 1, **dict.fromkeys(
    ("none", "shift", "gradual", "recurring", "prior", "concept"), -1)}  # fmt: skip
"""The column that a fault of the data strikes."""


def _shocks(rng: np.random.Generator, days: int, columns: int, phi: float) -> Floats:
    """(n_days, n_columns) of variance 1: an AR(1) of each column, and one that all have in common."""
    noise = rng.standard_normal((days, columns + 1))
    found = np.empty_like(noise)
    found[0] = noise[0]
    for day in range(1, days):
        found[day] = phi * found[day - 1] + np.sqrt(1 - phi**2) * noise[day]
    return np.asarray(np.sqrt(2 / 3) * found[:, 1:] + np.sqrt(1 / 3) * found[:, :1])


def _is_on(world: World, change: Change, day: int) -> bool:
    since = day - world.reference_days - change.day
    return since >= 0 and (change.kind != "recurring" or since % 7 < 2)


def _location_change(world: World, change: Change, days: int) -> Floats:
    """(n_days, n_columns) that a change adds to the location of a third of the columns."""
    added = np.zeros((days, world.columns))
    if change.kind not in ("shift", "gradual", "recurring"):
        return added
    since = np.arange(days) - world.reference_days - change.day
    strength = np.where([_is_on(world, change, day) for day in range(days)], change.size, 0.0)
    if change.kind == "gradual":
        strength = change.size * np.clip((since + 1) / 10, 0, 1)
    third = -(-world.columns // 3)
    added[:, :third] = strength[:, None]
    return added


def _column_shares(world: World, change: Change, moved: Floats, directions: Floats, base: Floats) -> Floats:
    """(n_days, n_columns, WIDTH) probability of each bin, nulls at the place where the engine has them."""
    days = len(moved)
    shares = np.zeros((days, world.columns, WIDTH))
    for column in range(world.columns):
        location = moved[:, column, None]
        if kind_of(column) == "category":
            logits = base[column] + location * directions[column]
            own = np.exp(logits)
            shares[:, column, :CATEGORIES] = (1 - NULLS) * own / own.sum(axis=1, keepdims=True)
            shares[:, column, CATEGORIES + 1] = NULLS
            continue
        below = np.concatenate([np.zeros((days, 1)), ndtr(EDGES - location), np.ones((days, 1))], axis=1)
        shares[:, column, :-1] = (1 - NULLS) * np.diff(below, axis=1)
        shares[:, column, -1] = NULLS
    for day in range(world.reference_days, days):
        if FAULTY[change.kind] >= 0 and _is_on(world, change, day):
            shares[day, FAULTY[change.kind]] = _broken(change, shares[day, FAULTY[change.kind]])
    return np.asarray(shares / shares.sum(axis=2, keepdims=True))


def _broken(change: Change, shares: Floats) -> Floats:
    """A day's bins of a column that a fault strikes."""
    found = np.zeros(WIDTH)
    if change.kind == "constant":
        found[int(np.searchsorted(EDGES, 0.0))] = 1
    elif change.kind == "nulls":
        found[:-1] = shares[:-1] * (1 - change.size) / (1 - shares[-1])
        found[-1] = change.size
    else:
        # A hundredfold of a skewed column is far above nearly all that it was.
        found[-2], found[-1] = 1 - NULLS, NULLS
    return found


def _score_shares(world: World, change: Change, moved: Floats, shocks: Floats) -> tuple[Floats, Floats]:
    """(n_days, n_cells) probability of each score, and of the positive class at it."""
    used = min(5, world.columns)
    middle = 0.5 * moved[:, :used].sum(axis=1) / np.sqrt(used)
    shares = np.diff(ndtr((_GRID - middle[:, None]) / _SCORE_SD), axis=1)
    shares /= shares.sum(axis=1, keepdims=True)
    slope = 1 + 0.3 * world.sd * shocks[:, :1]
    shift = world.sd * shocks[:, 1:]
    likely = expit(_BASE + shift + slope * _MIDDLES)
    first = world.reference_days + change.day
    if change.kind == "concept":
        turned = expit(_BASE + shift - slope * _MIDDLES)
        likely[first:] = (1 - change.size) * likely[first:] + change.size * turned[first:]
    if change.kind == "prior":
        # Classes keep their scores; there are more of one of them.
        positive, negative = shares[first:] * likely[first:], shares[first:] * (1 - likely[first:])
        usual = positive.sum(axis=1, keepdims=True)
        positive *= (usual + change.size) / usual
        negative *= (1 - usual - change.size) / (1 - usual)
        shares[first:] = positive + negative
        likely[first:] = positive / np.maximum(positive + negative, 1e-300)
    return shares, np.clip(likely, 0, 1)
