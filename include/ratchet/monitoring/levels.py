"""Whether a number that each day has (a metric, a share, a volume) has left the level of the reference's days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as t_distribution

Floats = npt.NDArray[np.float64]
MIN_DAYS = 8
"""Of the reference, from which on its days tell how days differ."""


@dataclass(frozen=True)
class Level:
    """What is normal of some numbers, each (n_numbers,).

    Attributes:
        means: (n_seasons, n_numbers) of the reference's days.
        sd: of a day around its season's mean.
        memory: correlation of neighbouring days.
        days: independent days that the deviation rests on; fewer than 2 cannot be judged against.
    """

    means: Floats
    sd: Floats
    memory: Floats
    days: Floats


@dataclass(frozen=True)
class Shift:
    """A window's numbers beside the reference's, each (n_numbers,).

    Attributes:
        expected: of the reference, at the window's seasons.
        found: mean of the window.
        low: lower end of the interval in which the window was expected.
        high: its upper end.
        p_below: chance of so small a number while nothing changes; nan where it cannot be told.
        p_above: of so large a one.
    """

    expected: Floats
    found: Floats
    low: Floats
    high: Floats
    p_below: Floats
    p_above: Floats


def learn(days: Floats, seasons: Sequence[int]) -> Level:
    """The level of the reference's days; nan is a day without the number.

    Args:
        days: (n_days, n_numbers), in the order of time.
        seasons: (n_days,) what each is like: its weekday, or 0 of all days.
    """
    season = np.asarray(seasons, np.intp)
    is_known = np.isfinite(days)
    every = range(int(season.max(initial=0)) + 1)
    rows = np.stack([is_known[season == one].sum(axis=0) for one in every])
    filled = np.where(is_known, days, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.stack([filled[season == one].sum(axis=0) for one in every]) / rows
        rest = np.where(is_known, days - means[season], 0.0)
        left = is_known.sum(axis=0) - (rows > 0).sum(axis=0)
        variance = (rest**2).sum(axis=0) / np.maximum(left, 1)
        pairs = is_known[:-1] & is_known[1:]
        together = (rest[:-1] * rest[1:] * pairs).sum(axis=0) / np.maximum(pairs.sum(axis=0), 1)
        memory = np.clip(np.where(variance > 0, together / variance, 0.0), 0.0, 0.95)
    independent = left * (1 - memory) / (1 + memory)
    return Level(means, np.sqrt(variance), memory, np.where(is_known.sum(axis=0) >= MIN_DAYS, independent, 0.0))


def compare(level: Level, window: Floats, seasons: Sequence[int], confidence: float = 0.95) -> Shift:
    """A window's mean beside the reference's level (Student's t of a mean of days that remember each other).

    Args:
        level: what is normal.
        window: (n_days, n_numbers), in the order of time; nan is a day without the number.
        seasons: (n_days,) as of the reference.
        confidence: of the interval.
    """
    season = np.asarray(seasons, np.intp)
    is_known = np.isfinite(window)
    rows = is_known.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(is_known, window, 0.0).sum(axis=0) / rows
        expected = np.where(is_known, level.means[season], 0.0).sum(axis=0) / rows
        lags = np.abs(np.subtract.outer(np.arange(len(window)), np.arange(len(window))))[..., None]
        weight = is_known / rows
        of_window = np.einsum("in,ijn,jn->n", weight, level.memory**lags, weight)
        independent = np.maximum(level.days, 1.0)
        error = level.sd * np.sqrt(of_window + (1 + level.memory) / (1 - level.memory) / np.maximum(independent, 1))
        statistic = (found - expected) / error
        # A number that never moved tells by any other value.
        statistic = np.where(error > 0, statistic, np.where(found == expected, 0.0, np.sign(found - expected) * np.inf))
        can_tell = (level.days >= 2) & (rows > 0)
        below, above = (t_distribution.cdf(sign * statistic, independent) for sign in (1, -1))
        reach = t_distribution.ppf((1 + confidence) / 2, independent) * error
    nan = np.nan
    return Shift(
        expected, found, np.where(can_tell, expected - reach, nan), np.where(can_tell, expected + reach, nan),
        np.where(can_tell, below, nan), np.where(can_tell, above, nan),
    )  # fmt: skip
