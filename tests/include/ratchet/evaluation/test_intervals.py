"""Intervals hold what they promise, and a difference of the same thing is nothing."""

from __future__ import annotations

import numpy as np

from include.ratchet.evaluation.intervals import Bootstrap
from include.ratchet.training.metrics import prepare


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """Mean absolute error of a known distribution, 200 samples: 95 % intervals miss it 10 times, give or take."""
    generator = np.random.default_rng(1)
    truth = np.sqrt(2 / np.pi)
    covered = 0
    for sample in range(200):
        error = generator.normal(size=400)
        interval = Bootstrap(400, 300, 0.95, sample).measure(prepare("mae", error, np.zeros(400)))
        covered += interval.low <= truth <= interval.high
    assert 180 <= covered <= 199


def test_difference_is_paired():
    """Two models that err alike differ less surely than their own intervals would suggest."""
    generator = np.random.default_rng(2)
    label = (generator.random(2000) < 0.3).astype(np.int8)
    scores = np.clip(0.3 + 0.2 * label + generator.normal(0, 0.2, 2000), 0, 1)
    better = np.clip(scores + 0.02 * (2 * label - 1), 0, 1)
    bootstrap = Bootstrap(2000, 300, 0.95, 0)
    one, other = prepare("roc_auc", label, better), prepare("roc_auc", label, scores)
    gain = bootstrap.difference(one, other)
    assert gain.low > 0
    assert gain.high - gain.low < 0.3 * (bootstrap.measure(one).high - bootstrap.measure(one).low)
    same = bootstrap.difference(one, one)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_same_seed_gives_the_same_interval_and_another_does_not():
    error = np.random.default_rng(3).normal(size=100)
    measure = prepare("rmse", error, np.zeros(100))
    assert Bootstrap(100, 200, 0.9, 7).measure(measure) == Bootstrap(100, 200, 0.9, 7).measure(measure)
    assert Bootstrap(100, 200, 0.9, 7).measure(measure) != Bootstrap(100, 200, 0.9, 8).measure(measure)


def test_undefined_resamples_are_left_out():
    label, scores = np.array([1, 0, 0, 0]), np.array([0.9, 0.1, 0.2, 0.3])
    interval = Bootstrap(4, 200, 0.95, 0).measure(prepare("roc_auc", label, scores))
    assert (interval.value, interval.low, interval.high) == (1, 1, 1)
