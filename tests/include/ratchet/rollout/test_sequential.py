"""Error rates under daily looks, by simulation: 1000 experiments of 60 looks each, all at once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from include.ratchet.rollout.sequential import (
    BURN_IN_ROWS,
    Bounds,
    Moments,
    difference_bounds,
    half_width,
    mean_bounds,
    tightest_rho_squared,
)

ALPHA, EXPERIMENTS, LOOKS, DAILY = 0.05, 1000, 60, 60
SLACK = 3 * math.sqrt(ALPHA * (1 - ALPHA) / EXPERIMENTS)
"""Three standard errors of a share of 5 % over the experiments."""


def draws(kind: str, seed: int) -> np.ndarray:
    """Values of mean 0, (experiments, rows)."""
    generator, shape = np.random.default_rng(seed), (EXPERIMENTS, LOOKS * DAILY)
    if kind == "normal":
        return generator.normal(size=shape)
    if kind == "skewed":  # such as squared errors
        return generator.exponential(size=shape) - 1
    if kind == "heavy":  # such as log losses of a model that is sometimes sure and wrong
        values = generator.lognormal(0, 1, size=shape)
        return values - math.exp(0.5)
    return np.where(generator.random(shape) < 0.02, 0.98, -0.02)  # rare: two versions that mostly agree


def looks(values: np.ndarray, first: int = BURN_IN_ROWS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, (looks,), and running mean and standard deviation, (experiments, looks), at the end of each day."""
    rows = np.arange(1, LOOKS + 1) * DAILY
    mean = np.cumsum(values, axis=1)[:, rows - 1] / rows
    square = np.cumsum(values**2, axis=1)[:, rows - 1] / rows
    allowed = rows >= first
    return rows[allowed], mean[:, allowed], np.sqrt(np.maximum(square - mean**2, 0))[:, allowed]


@pytest.mark.parametrize(("kind", "first"), [("normal", 100), ("skewed", 100), ("heavy", 500), ("rare", 500)])
def test_daily_looks_at_no_difference_rarely_decide(kind, first):
    """Long tails and differences that are nearly always 0 need a spec's `min_rows` (500 unless it says otherwise)."""
    rows, mean, deviation = looks(draws(kind, 1), first)
    is_wrong = (np.abs(mean) > half_width(rows, deviation, ALPHA, 500)).any(axis=1)
    assert is_wrong.mean() <= ALPHA + SLACK


def test_interval_of_fixed_size_looked_at_daily_does_not_hold():
    """What the sequence is for: a z-test at the same looks finds what is not there four times as often."""
    rows, mean, deviation = looks(draws("normal", 2))
    is_wrong = (np.abs(mean) > 1.96 * deviation / np.sqrt(rows)).any(axis=1)
    assert is_wrong.mean() > 4 * ALPHA


def test_two_groups_looked_at_daily_rarely_decide():
    one, other = looks(draws("skewed", 3)), looks(draws("skewed", 4))
    half = sum(half_width(rows, deviation, ALPHA / 2, 500) for rows, _, deviation in (one, other))
    assert (np.abs(one[1] - other[1]) > half).any(axis=1).mean() <= ALPHA + SLACK


@pytest.mark.parametrize(("shift", "least"), [(0.2, 0.99), (0.1, 0.9)])
def test_real_difference_is_found(shift, least):
    rows, mean, deviation = looks(draws("skewed", 5) + shift)
    assert (mean - half_width(rows, deviation, ALPHA, 500) > 0).any(axis=1).mean() >= least
    # In the wrong direction it is never found.
    assert (mean + half_width(rows, deviation, ALPHA, 500) < 0).any(axis=1).mean() <= ALPHA / 10


@pytest.mark.parametrize(("block", "shared"), [(5, 0.6), (60, 0.1)])
def test_what_hours_or_days_share_is_allowed_for(block, shared):
    """Of 60 rows a day: five in an hour share much, a whole day shares little. Plain rows would decide too often."""
    generator = np.random.default_rng(8)
    count, wrong = 250, {"rows": 0, "blocks": 0}
    for _ in range(count):
        values = generator.normal(size=LOOKS * DAILY)
        values += shared * np.repeat(generator.normal(size=len(values) // block), block)
        hours, missed = np.arange(len(values)) // 5, {"rows": False, "blocks": False}
        for rows in range(2 * DAILY, len(values) + 1, DAILY):
            seen = values[:rows]
            for name, blocks in (("rows", ()), ("blocks", (hours[:rows], hours[:rows] // 12))):
                bounds = mean_bounds(Moments.of(seen, *blocks), ALPHA, 500)
                missed[name] |= not bounds.low <= 0 <= bounds.high
        for name, is_missed in missed.items():
            wrong[name] += is_missed
    assert wrong["rows"] / count > 0.08
    assert wrong["blocks"] / count <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / count)


def test_pairs_take_fewer_rows_than_groups():
    """Two versions that mostly agree on the same rows: what shadowing both is for."""
    generator = np.random.default_rng(6)
    loss = generator.exponential(size=2000)
    other = loss + generator.normal(0.02, 0.1, size=2000)
    paired = mean_bounds(Moments.of(other - loss), ALPHA, 500)
    grouped = difference_bounds(Moments.of(other[::2]), Moments.of(loss[1::2]), ALPHA, 500)
    assert 0 < paired.low < 0.02 < paired.high < 0.05
    assert grouped.high - grouped.low > 10 * (paired.high - paired.low)


@pytest.mark.parametrize("target", [200, 500, 5000])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_interval_is_tightest_where_it_is_to_be(target, alpha):
    """Against a search over rho."""
    best = half_width(np.array(target), np.array(1.0), alpha, target)
    others = [half_width(np.array(target), np.array(1.0), alpha, int(target * factor)) for factor in (0.2, 0.5, 2, 5)]
    assert all(best <= other for other in others)
    assert tightest_rho_squared(alpha, target) > tightest_rho_squared(alpha, 2 * target)


def test_half_width_is_that_of_the_paper():
    """sqrt(2 (t rho^2 + 1) / (t^2 rho^2) * log(sqrt(t rho^2 + 1) / alpha)), written out."""
    t, alpha, rho = 700, 0.05, math.sqrt(tightest_rho_squared(0.05, 500))
    expected = 3 * math.sqrt(2 * (t * rho**2 + 1) / (t**2 * rho**2) * math.log(math.sqrt(t * rho**2 + 1) / alpha))
    assert half_width(np.array(t), np.array(3.0), alpha, 500) == pytest.approx(expected)


def test_few_rows_bound_nothing():
    few = mean_bounds(Moments.of(np.zeros(BURN_IN_ROWS - 1)), ALPHA, 500)
    assert (few.low, few.high) == (-math.inf, math.inf)
    assert Bounds.from_dict(few.to_dict()) == few
    assert Moments.of(np.array([])) == Moments(0, 0.0, 0.0)
    values = np.array([1.0, 1.0, -1.0, -1.0])
    assert Moments.of(values, np.array([0, 0, 1, 1])).deviation == pytest.approx(2.0)
    assert Moments.of(values, np.array([0, 1, 0, 1]), np.zeros(4, int)).deviation == pytest.approx(1.0)
    assert difference_bounds(Moments(0, 0, 0), Moments(9999, 1, 1), ALPHA, 500).high == math.inf
