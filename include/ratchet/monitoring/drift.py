"""Whether columns have changed: a test that knows how much days differ while nothing changes.

A test that takes rows for independent finds a change on every day of enough rows, since days differ by themselves.
Here days are clusters of a survey (Rao and Scott 1981, The Analysis of Categorical Data from Complex Sample Surveys),
and the reference's own days tell how they differ:

- Counts are compared as Freeman-Tukey deviates (Freeman and Tukey 1950), whose variance is 1 by chance alone, also of
  thin bins.
- `directions`, in which a column's days differ beyond chance (the leading principal components of its days), are
  judged against the days' own variance by Hotelling's T2; what is left against chance, enlarged by the `spread` of days
  that remains. The distance as a whole must be unusual as well (Satterthwaite 1946): days that move far move along
  curves, which directions do not see.
- `memory`, the correlation of a day with the next one: neighbours that resemble each other tell less, so that a
  window of them varies more and the reference has fewer days.

Each weekday is compared with the same weekdays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, false_discovery_control
from scipy.stats import f as f_distribution

from include.ratchet.monitoring.levels import MIN_DAYS
from include.ratchet.monitoring.statistics import likelihood_ratio

Floats = npt.NDArray[np.float64]
MAX_DIRECTIONS = 4
_PRIOR_DAYS = 20


@dataclass(frozen=True)
class Normal:
    """How columns differ from day to day while nothing changes.

    Attributes:
        counts: (n_seasons, n_columns, n_bins) rows of the reference in each season.
        directions: (n_columns, n_bins, MAX_DIRECTIONS) orthonormal, in which days differ beyond chance.
        variance: (n_columns, MAX_DIRECTIONS) of the days along each; 0 where there is none.
        spread: (n_columns,) variance of the days in every other direction.
        memory: (n_columns,) correlation of neighbouring days.
        days: (n_columns,) independent days that this rests on; 0 where there are too few to judge by.
        own: (n_columns,) variance of the mean of the reference's days, as a share of the days' variance.
    """

    counts: Floats
    directions: Floats
    variance: Floats
    spread: Floats
    memory: Floats
    days: Floats
    own: Floats


@dataclass(frozen=True)
class Change:
    """What a test of a window says of each column, each (n_columns,).

    Attributes:
        effect: distance from the reference beyond what chance and days explain; for small changes the population
            stability index (sum of (p - q)^2 / q).
        p: chance of at least this distance while nothing changes; nan where the window has too few rows.
        rows: of the window.
    """

    effect: Floats
    p: Floats
    rows: Floats


def learn(days: Floats, seasons: Sequence[int]) -> Normal:
    """What the reference's days say of themselves.

    Args:
        days: (n_days, n_columns, n_bins) counts, in the order of time.
        seasons: (n_days,) what each is like: its weekday, or 0 of all days.
    """
    season = np.asarray(seasons, np.intp)
    totals = np.stack([days[season == one].sum(axis=0) for one in range(int(season.max(initial=0)) + 1)])
    rows = days.sum(axis=2)
    rest = totals[season] - days
    is_usable = ((rows > 0) & (rest.sum(axis=2) > 0)).all(axis=1)
    columns, bins = days.shape[1:]
    if is_usable.sum() < MIN_DAYS:
        none = np.zeros((columns, bins, MAX_DIRECTIONS))
        return Normal(totals, none, none[:, 0], *[np.zeros(columns)] * 4)
    days, rest, rows = days[is_usable], rest[is_usable], rows[is_usable]
    moved = deviates(days, rest)
    chance = 1 / rows + 1 / rest.sum(axis=2)
    left = len(days) - len(np.unique(season[is_usable]))
    directions, variance, spread = _decompose(moved, chance, left)
    memory = _memory(moved, directions, variance)
    independent = np.maximum(left * (1 - memory) / (1 + memory), 2.0)
    return Normal(totals, directions, variance, spread, memory, independent, 1 / independent)


def test(normal: Normal, window: Floats, seasons: Sequence[int], min_rows: int) -> Change:
    """Compare a window of days with the reference.

    Args:
        normal: what is normal.
        window: (n_days, n_columns, n_bins) counts of the window, in the order of time.
        seasons: (n_days,) as of the reference.
        min_rows: fewer are not judged.
    """
    current, rows = window.sum(axis=0), window.sum(axis=(0, 2))
    reference = _like_with_like(normal, window, seasons)
    known = reference.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = 1 / rows + 1 / known
        weight = window.sum(axis=2) / rows
        of_days = _variance_of_mean(weight, normal.memory) + normal.own
        moved = deviates(current, reference)
        along = np.einsum("ck,ckr->cr", moved, normal.directions)
        rest = np.maximum((moved**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
        used = (normal.variance > 0).sum(axis=1)
        free = np.maximum(_bins(reference, current) - 1 - used, 1.0)
        by_rest = chi2.sf(rest / (chance + normal.spread * of_days), free)
        scaled = along**2 / (chance[:, None] + normal.variance * of_days[:, None])
        hotelling = np.where(normal.variance > 0, scaled, 0.0).sum(axis=1) / np.maximum(used, 1)
        left = np.maximum(normal.days - used + 1, 1.0)
        by_days = f_distribution.sf(hotelling * left / normal.days, np.maximum(used, 1), left)
        by_direction = np.where(used > 0, np.minimum(2 * np.minimum(by_rest, by_days), 1.0), by_rest)
        parts = np.where(normal.variance > 0, chance[:, None] + normal.variance * of_days[:, None], 0.0)
        other = chance + normal.spread * of_days
        expected = parts.sum(axis=1) + free * other
        degrees = expected**2 / ((parts**2).sum(axis=1) + free * other**2)
        # What chance alone gives is known; only the days' own part had to be estimated.
        share = np.maximum(1 - chance * (used + free) / expected, 1e-4)
        by_distance = f_distribution.sf((moved**2).sum(axis=1) / expected, degrees, normal.days / share**2)
        p = np.maximum(by_direction, by_distance)
        effect = np.maximum(likelihood_ratio(reference, current) * chance - expected, 0.0)
    is_judged = (rows >= min_rows) & (known > 0) & (normal.days > 0)
    return Change(np.where(is_judged, effect, np.nan), np.where(is_judged, p, np.nan), rows)


def discoveries(p: Floats, level: float) -> npt.NDArray[np.bool_]:
    """Which p-values are findings at a false discovery rate (Benjamini and Hochberg 1995); nan never is one."""
    return adjusted(p) <= level


def adjusted(p: Floats) -> Floats:
    """The false discovery rate from which on each p-value is a finding, (n_p,); nan of nan."""
    known = np.isfinite(p)
    found = np.full(len(p), np.nan)
    if known.any():
        found[known] = false_discovery_control(p[known])
    return found


def deviates(counts: Floats, reference: Floats) -> Floats:
    """Freeman-Tukey deviates of counts from a reference's shares, over the square root of the rows: (..., n_bins)."""
    rows = counts.sum(axis=-1, keepdims=True)
    expected = reference * rows / reference.sum(axis=-1, keepdims=True)
    padding = (counts == 0) & (reference == 0)
    found = np.sqrt(counts) + np.sqrt(counts + 1) - np.sqrt(4 * expected + 1)
    return np.where(padding, 0.0, found) / np.sqrt(rows)  # type: ignore[no-any-return]


def _bins(reference: Floats, current: Floats) -> Floats:
    """Bins that can differ: one of which hardly a row is expected counts in part."""
    n, m = reference.sum(axis=-1, keepdims=True), current.sum(axis=-1, keepdims=True)
    expected = (reference + current) * np.minimum(n, m) / np.maximum(n + m, 1)
    return np.minimum(expected, 1.0).sum(axis=-1)  # type: ignore[no-any-return]


def _decompose(moved: Floats, chance: Floats, left: int) -> tuple[Floats, Floats, Floats]:
    """Directions in which days differ, their variances, and the variance that is left in all others."""
    bins = moved.shape[2]
    noise = chance.mean(axis=0)
    values, vectors = np.linalg.eigh(np.einsum("dck,dcl->ckl", moved, moved) / max(left, 1))
    values, vectors = values[:, ::-1], vectors[:, :, ::-1]
    # The largest that chance alone gives (Marchenko and Pastur 1967), and a little more.
    edge = noise * (1 + np.sqrt(bins / max(left, 1))) ** 2 * 1.2
    kept = values[:, :MAX_DIRECTIONS] > edge[:, None]
    room = min(MAX_DIRECTIONS, max(left // 5, 1))
    kept &= np.arange(kept.shape[1]) < room
    variance = np.where(kept, values[:, :MAX_DIRECTIONS] - noise[:, None], 0.0)
    directions = np.where(kept[:, None, :], vectors[:, :, :MAX_DIRECTIONS], 0.0)
    free = np.maximum((values > 1e-12).sum(axis=1) - 1 - kept.sum(axis=1), 1)
    others = values.sum(axis=1) - np.where(kept, values[:, :MAX_DIRECTIONS], 0.0).sum(axis=1)
    spread = np.maximum(others / free - noise, 0.0)
    short = MAX_DIRECTIONS - directions.shape[2]
    return (np.pad(directions, ((0, 0), (0, 0), (0, short))), np.pad(variance, ((0, 0), (0, short))), spread)


def _memory(moved: Floats, directions: Floats, variance: Floats) -> Floats:
    """Correlation of neighbouring days along the directions in which days differ, (n_columns,).

    Of few days it is hardly known: it is drawn towards that of all columns together, as if by `_PRIOR_DAYS` more days.
    """
    along = np.einsum("dck,ckr->dcr", moved, directions)
    pairs = max(len(moved) - 1, 1)
    together, between = (along[:-1] * along[1:]).sum(axis=(0, 2)) / pairs, variance.sum(axis=1)
    pooled = together.sum() / between.sum() if between.sum() > 0 else 0.0
    own = np.divide(together, between, out=np.full(len(between), pooled), where=between > 0)
    return np.clip((pairs * own + _PRIOR_DAYS * pooled) / (pairs + _PRIOR_DAYS), 0.0, 0.95)  # type: ignore[no-any-return]


def _variance_of_mean(weight: Floats, memory: Floats) -> Floats:
    """Variance of a weighted mean of days that remember each other, as a share of a day's, (n_columns,)."""
    lags = np.abs(np.subtract.outer(np.arange(len(weight)), np.arange(len(weight))))
    return np.einsum("ic,ijc,jc->c", weight, memory ** lags[..., None], weight)  # type: ignore[no-any-return]


def _like_with_like(normal: Normal, window: Floats, seasons: Sequence[int]) -> Floats:
    """The reference's counts, each season weighing what it weighs in the window, (n_columns, n_bins)."""
    rows = np.zeros((len(normal.counts), window.shape[1]))
    np.add.at(rows, np.asarray(seasons, np.intp), window.sum(axis=2))
    there = normal.counts.sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = rows / rows.sum(axis=0)
        # As many rows as the seasons together can give at these weights.
        size = 1 / np.where(weight > 0, weight**2 / there, 0.0).sum(axis=0)
        shares = np.where(there[..., None] > 0, normal.counts / there[..., None], 0.0)
    mixed = (np.nan_to_num(weight)[..., None] * shares).sum(axis=0)
    return mixed * np.where(np.isfinite(size), size, 0.0)[:, None]  # type: ignore[no-any-return]
