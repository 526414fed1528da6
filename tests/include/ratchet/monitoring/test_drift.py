"""The drift test on streams whose truth is known: it keeps its level, however days differ, and sees what changes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm

from include.ratchet.monitoring import drift, levels

BINS = 20
EDGES = np.array([-np.inf, *norm.ppf(np.arange(1, BINS) / BINS), np.inf])


def stream(generator, days, rows, *, columns=10, sd=0.0, memory=0.0, week=0.0, shift=0.0):
    """Counts of normal columns whose location differs by day: by chance, with memory, by weekday, and by a shift."""
    noise = generator.standard_normal((days, columns))
    place = np.zeros((days, columns))
    for day in range(days):
        before = place[day - 1] if day else noise[0]
        place[day] = memory * before + np.sqrt(1 - memory**2) * noise[day]
    season = np.arange(days) % 7
    place = place * sd + week * np.sin(2 * np.pi * season / 7)[:, None] + shift
    shares = np.diff(ndtr(EDGES[None, None] - place[..., None]), axis=-1)
    return generator.multinomial(rows, shares).astype(float), season.tolist()


@pytest.mark.parametrize(
    ("rows", "sd", "memory", "week"),
    [(200, 0.0, 0.0, 0.0), (2000, 0.1, 0.0, 0.0), (2000, 0.1, 0.6, 0.0), (20_000, 0.1, 0.5, 0.3),
     (100_000, 0.2, 0.5, 0.0)],
)  # fmt: skip
def test_level_is_kept_however_days_differ(rows, sd, memory, week):
    generator = np.random.default_rng(7)
    found = []
    for _ in range(12):
        days, seasons = stream(generator, 90, rows, sd=sd, memory=memory, week=week)
        normal = drift.learn(days[:60], seasons[:60])
        for last in range(66, 90, 4):
            for length in (1, 7):
                window = slice(last - length + 1, last + 1)
                found.append(drift.test(normal, days[window], seasons[window], 100).p)
    p = np.concatenate(found)
    assert len(p) == 1440
    assert (p < 0.05).mean() < 0.06
    assert (p < 0.001).mean() < 0.003


def test_row_by_row_test_would_cry_wolf_where_days_differ():
    generator = np.random.default_rng(3)
    days, seasons = stream(generator, 61, 20_000, sd=0.1)
    independent = drift.likelihood_ratio(days[:60].sum(axis=0), days[60])
    assert (independent > 50).mean() > 0.5  # chi-square of 19 degrees is below 44 in 999 of 1000 cases
    normal = drift.learn(days[:60], seasons[:60])
    assert (drift.test(normal, days[60:], seasons[60:], 100).p > 0.001).all()


@pytest.mark.parametrize(
    ("rows", "sd", "shift", "length"), [(200, 0.0, 0.8, 1), (200, 0.0, 0.4, 7), (2000, 0.1, 0.8, 7)]
)
def test_change_is_seen_with_its_size(rows, sd, shift, length):
    generator = np.random.default_rng(5)
    days, seasons = stream(generator, 60, rows, sd=sd)
    window, _ = stream(generator, length, rows, sd=sd, shift=shift)
    change = drift.test(drift.learn(days, seasons), window, seasons[:length], 100)
    assert (change.p < 1e-3).mean() >= 0.9
    q, p = np.full(BINS, 1 / BINS), np.diff(ndtr(EDGES - shift))
    assert np.median(change.effect) == pytest.approx(((p - q) ** 2 / (p + q) * 2).sum(), rel=0.35)


def test_weekdays_are_compared_with_their_like():
    generator = np.random.default_rng(1)
    days, seasons = stream(generator, 84, 5000, week=0.5)
    sunday = slice(76, 77)
    alike = drift.test(drift.learn(days[:70], seasons[:70]), days[sunday], seasons[sunday], 100)
    blind = drift.test(drift.learn(days[:70], [0] * 70), days[sunday], [0], 100)
    assert alike.effect.max() < 0.02 < blind.effect.max()


def test_few_rows_and_missing_days_are_not_judged():
    generator = np.random.default_rng(2)
    days, seasons = stream(generator, 40, 300)
    normal = drift.learn(days, seasons)
    few = drift.test(normal, days[:1] / 10, seasons[:1], 100)
    assert np.isnan(few.p).all()
    empty = drift.test(normal, np.zeros_like(days[:3]), seasons[:3], 100)
    assert np.isnan(empty.p).all()
    with_gap = np.concatenate([days[:2], np.zeros_like(days[:1])])
    assert np.isfinite(drift.test(normal, with_gap, seasons[:3], 100).p).all()


def test_short_reference_tells_nothing():
    generator = np.random.default_rng(4)
    days, _ = stream(generator, drift.MIN_DAYS - 1, 1000)
    window, _ = stream(generator, 1, 1000)
    assert np.isnan(drift.test(drift.learn(days, [0] * len(days)), window, [0], 100).p).all()


def test_columns_of_one_value_never_drift_and_new_values_do():
    days = np.zeros((30, 2, 5))
    days[:, :, 0] = 1000
    window = days[:7].copy()
    normal = drift.learn(days, [0] * 30)
    same = drift.test(normal, window, [0] * 7, 100)
    assert (same.effect == 0).all()
    window[:, 1, 0], window[:, 1, 3] = 500, 500
    moved = drift.test(normal, window, [0] * 7, 100)
    assert moved.p[0] > 0.5
    assert moved.p[1] < 1e-9


def test_discoveries_leave_out_what_is_not_known():
    p = np.array([1e-6, np.nan, 0.04, 0.9])
    assert drift.discoveries(p, 0.05).tolist() == [True, False, False, False]
    assert not drift.discoveries(np.array([np.nan]), 0.05).any()


@pytest.mark.parametrize("memory", [0.0, 0.6])
def test_level_of_a_number_keeps_its_chance(memory):
    generator = np.random.default_rng(11)
    numbers = 4000
    noise = generator.standard_normal((40, numbers))
    for day in range(1, 40):
        noise[day] = memory * noise[day - 1] + np.sqrt(1 - memory**2) * noise[day]
    shift = levels.compare(levels.learn(noise[:33], [0] * 33), noise[33:], [0] * 7)
    assert (shift.p_below < 0.05).mean() < (0.065 if memory == 0 else 0.09)
    assert (shift.p_below < 0.001).mean() < (0.003 if memory == 0 else 0.008)


def test_level_sees_a_fall_and_says_where_it_was_expected():
    generator = np.random.default_rng(12)
    days = generator.normal(0.8, 0.02, (28, 1))
    fallen = levels.compare(levels.learn(days, [0] * 28), generator.normal(0.7, 0.02, (7, 1)), [0] * 7)
    assert fallen.p_below[0] < 1e-4
    assert fallen.p_above[0] > 0.99
    assert fallen.low[0] < 0.8 < fallen.high[0]
    unknown = levels.compare(levels.learn(days[:5], [0] * 5), days[:2], [0] * 2)
    assert np.isnan(unknown.p_below).all()
    gaps = levels.compare(levels.learn(days, [0] * 28), np.full((3, 1), np.nan), [0] * 3)
    assert np.isnan(gaps.p_below).all()
