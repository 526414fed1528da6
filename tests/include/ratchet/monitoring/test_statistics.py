"""The statistics against scipy and Evidently on generated columns, and what all of them promise."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr
from scipy.stats import chi2_contingency, entropy, ks_2samp, wasserstein_distance

from include.ratchet.monitoring import statistics
from include.ratchet.monitoring.statistics import STATISTICS, Statistic

Floats = npt.NDArray[np.float64]
Samples = tuple[Floats, Floats]

COLUMNS_PER_KIND = 330
EVIDENTLY_COLUMNS_PER_KIND = 50
NULL = 1e6  # stands for null in the samples; above every value, so that its bin is the last


def rounded_normal(rng: np.random.Generator, n: int, m: int) -> Samples:
    digits = rng.integers(0, 2)
    return rng.normal(0, 1, n).round(digits), rng.normal(rng.normal(0, 0.3), rng.uniform(0.5, 2), m).round(digits)


def integers(rng: np.random.Generator, n: int, m: int) -> Samples:
    low, high = rng.uniform(0.1, 8, 2)
    return rng.poisson(low, n).astype(float), rng.poisson(high, m).astype(float)


def unseen_categories(rng: np.random.Generator, n: int, m: int) -> Samples:
    k = int(rng.integers(3, 18))
    p, q = rng.dirichlet(np.full(k, 0.5), 2)
    p[0] = q[-1] = 0  # one is unseen in the reference, another in the current sample
    return rng.choice(k, n, p=p / p.sum()).astype(float), rng.choice(k, m, p=q / q.sum()).astype(float)


def constant(rng: np.random.Generator, n: int, m: int) -> Samples:
    value = rng.normal()
    return np.full(n, value), np.full(m, value)


def empty(rng: np.random.Generator, n: int, m: int) -> Samples:
    either = rng.integers(0, 3)
    return rng.poisson(3, 0 if either != 1 else n).astype(float), rng.poisson(3, 0 if either != 0 else m).astype(float)


def all_null(rng: np.random.Generator, n: int, m: int) -> Samples:
    return np.full(n, NULL), np.full(m, NULL)


def some_null(rng: np.random.Generator, n: int, m: int) -> Samples:
    a, b = integers(rng, n, m)
    return np.where(rng.random(n) < 0.2, NULL, a), np.where(rng.random(m) < rng.random(), NULL, b)


def infinite(rng: np.random.Generator, n: int, m: int) -> Samples:
    a, b = rounded_normal(rng, n, m)
    a[rng.random(n) < 0.05], b[rng.random(m) < 0.1] = -np.inf, -np.inf
    a[rng.random(n) < 0.05], b[rng.random(m) < 0.1] = np.inf, np.inf
    return a, b


def single_category(rng: np.random.Generator, n: int, m: int) -> Samples:
    return np.zeros(n), rng.choice(int(rng.integers(1, 4)), m).astype(float)


def disjoint(rng: np.random.Generator, n: int, m: int) -> Samples:
    return rng.poisson(2, n).astype(float), 100 + rng.poisson(2, m).astype(float)


def similar(rng: np.random.Generator, n: int, m: int) -> Samples:
    a = rng.poisson(3, n).astype(float)
    b = a.copy()
    b[0] = a[-1]
    return a, b


KINDS: tuple[Callable[[np.random.Generator, int, int], Samples], ...] = (
    rounded_normal,
    integers,
    unseen_categories,
    constant,
    empty,
    all_null,
    some_null,
    infinite,
    single_category,
    disjoint,
    similar,
)


@dataclass(frozen=True)
class Columns:
    """Raw samples and their histograms, padded to one width: (n_columns, n_bins)."""

    samples: list[Samples]
    reference: Floats
    current: Floats
    values: Floats


def histogram(samples: list[Samples]) -> Columns:
    distinct = [np.unique(np.concatenate(pair)) for pair in samples]
    width = max(map(len, distinct)) + 1
    reference, current = np.zeros((2, len(samples), width))
    values = np.full((len(samples), width), np.nan)
    for row, (bins, (a, b)) in enumerate(zip(distinct, samples, strict=True)):
        reference[row, : len(bins)] = np.bincount(np.searchsorted(bins, a), minlength=len(bins))
        current[row, : len(bins)] = np.bincount(np.searchsorted(bins, b), minlength=len(bins))
        values[row, : len(bins)] = np.where(bins == NULL, np.nan, bins)
    return Columns(samples, reference, current, values)


def generate(
    seed: int, per_kind: int, kinds: tuple[Callable[..., Samples], ...] = KINDS, largest: int = 5000
) -> Columns:
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.uniform(0, np.log(largest), (len(kinds), per_kind, 2))).round().astype(int)
    pairs = [kind(rng, *size) for kind, of_kind in zip(kinds, sizes.tolist(), strict=True) for size in of_kind]
    return histogram(pairs)


@pytest.fixture(scope="module")
def columns() -> Columns:
    return generate(seed=20, per_kind=COLUMNS_PER_KIND)


def expect(actual: Floats, columns: Columns, oracle: Callable[[Floats, Floats], float]) -> None:
    """Compare with an oracle of raw samples; nan where a sample is empty."""
    expected = [oracle(a, b) if len(a) and len(b) else np.nan for a, b in columns.samples]
    assert actual.shape == (len(columns.samples),)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


def counts(a: Floats, b: Floats) -> Floats:
    """The 2 x k table of two samples, counted otherwise than in `histogram`."""
    sides = Counter(a.tolist()), Counter(b.tolist())
    return np.array([[side[value] for value in sorted(sides[0] | sides[1])] for side in sides], dtype=float)


def test_thousands_of_columns(columns: Columns):
    assert len(columns.samples) >= 3000
    sizes = {len(side) for pair in columns.samples for side in pair}
    assert min(sizes) == 0
    assert max(sizes) > 4500


def test_psi_is_that_of_scipy(columns: Columns):
    def oracle(a: Floats, b: Floats) -> float:
        p, q = (np.maximum(side / side.sum(), 1e-4) for side in counts(a, b))
        return float(rel_entr(p, q).sum() + rel_entr(q, p).sum())

    expect(statistics.psi(columns.reference, columns.current), columns, oracle)


def test_psi_without_empty_bins_is_symmetric_entropy():
    rng = np.random.default_rng(1)
    a, b = rng.integers(1, 100, (2, 200, 12))
    expected = entropy(a, b, axis=-1) + entropy(b, a, axis=-1)
    np.testing.assert_allclose(statistics.psi(a, b), expected, rtol=1e-9)


def test_jensen_shannon_is_that_of_scipy(columns: Columns):
    actual = statistics.jensen_shannon(columns.reference, columns.current)
    expect(actual, columns, lambda a, b: jensenshannon(*counts(a, b)))
    assert np.nanmax(actual) == pytest.approx(np.sqrt(np.log(2)))


def test_hellinger_is_the_norm_of_root_shares(columns: Columns):
    def oracle(a: Floats, b: Floats) -> float:
        p, q = (np.sqrt(side / side.sum()) for side in counts(a, b))
        return float(np.linalg.norm(p - q) / np.sqrt(2))

    actual = statistics.hellinger(columns.reference, columns.current)
    expect(actual, columns, oracle)
    assert np.nanmax(actual) <= 1


def test_kolmogorov_smirnov_is_that_of_scipy(columns: Columns):
    statistic = statistics.kolmogorov_smirnov(columns.reference, columns.current)
    n, m = columns.reference.sum(axis=-1), columns.current.sum(axis=-1)
    p = statistics.kolmogorov_smirnov_p(statistic, n, m)
    too_small = n * m <= 0.5 * (n + m)  # scipy divides by zero at one row against one
    results = [
        (np.nan, np.nan) if skip else ks_2samp(a, b, method="asymp")
        for (a, b), skip in zip(columns.samples, too_small, strict=True)
    ]
    expected, expected_p = np.array([(result[0], result[1]) for result in results]).T
    np.testing.assert_allclose(np.where(too_small, np.nan, statistic), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(p, expected_p, rtol=1e-9, atol=1e-9)


def test_wasserstein_is_that_of_scipy(columns: Columns):
    def oracle(a: Floats, b: Floats) -> float:
        a, b = (side[np.isfinite(side) & (side != NULL)] for side in (a, b))
        if not (len(a) and len(b)):
            return np.nan
        return wasserstein_distance(a, b) / max(float(np.std(a)), 0.001)

    actual = statistics.wasserstein(columns.reference, columns.current, columns.values)
    expect(actual, columns, oracle)
    assert np.isfinite(actual).sum() > 2500


def test_two_sample_tests_are_those_of_scipy(columns: Columns):
    a, b = columns.reference, columns.current
    degrees = statistics.degrees_of_freedom(a, b)
    expect(degrees, columns, lambda a, b: chi2_contingency(counts(a, b), correction=False)[2])
    for statistic, name in ((statistics.chi_square, "pearson"), (statistics.likelihood_ratio, "log-likelihood")):
        tables = [counts(*pair) if min(map(len, pair)) else None for pair in columns.samples]
        missing = (np.nan, np.nan)
        results = [missing if t is None else chi2_contingency(t, correction=False, lambda_=name) for t in tables]
        expected, expected_p = np.array([(result[0], result[1]) for result in results]).T
        actual = statistic(a, b)
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(statistics.chi_square_p(actual, degrees), expected_p, rtol=1e-9, atol=1e-9)


def test_likelihood_ratio_is_the_weighted_jensen_shannon_divergence():
    a, b = np.random.default_rng(2).integers(1, 100, (2, 50, 8))
    assert statistics.likelihood_ratio(a, a[:, ::-1]) == pytest.approx(
        4 * a.sum(axis=-1) * statistics.jensen_shannon(a, a[:, ::-1]) ** 2
    )
    n, m = a.sum(axis=-1), b.sum(axis=-1)
    divergence = entropy(a + b, axis=-1) - (n * entropy(a, axis=-1) + m * entropy(b, axis=-1)) / (n + m)
    assert statistics.likelihood_ratio(a, b) == pytest.approx(2 * (n + m) * divergence)


# Evidently


@pytest.fixture(scope="module")
def evidently() -> SimpleNamespace:
    with warnings.catch_warnings():
        # Evidently 0.7 imports numpy.core, which numpy 2 deprecates.
        warnings.simplefilter("ignore")
        from evidently.legacy.calculations import stattests
        from evidently.legacy.calculations.stattests.registry import get_stattest
        from evidently.legacy.core import ColumnType

    def call(name: str, a: Floats, b: Floats, kind: str) -> float:
        feature_type = ColumnType(kind)
        reference, current = pd.Series(a.copy()), pd.Series(b.copy())
        test = get_stattest(reference, current, feature_type, getattr(stattests, name))
        return float(test(reference, current, feature_type, 0.1).drift_score)

    return SimpleNamespace(call=call)


@pytest.fixture(scope="module")
def few_valued() -> Columns:
    """Columns without nulls: Evidently counts their rows in the total and drops their bin."""
    kinds = tuple(kind for kind in KINDS if kind not in (empty, all_null, some_null))
    return generate(seed=21, per_kind=EVIDENTLY_COLUMNS_PER_KIND, kinds=kinds)


def test_psi_is_that_of_evidently(few_valued: Columns, evidently: Any):
    actual = statistics.psi(few_valued.reference, few_valued.current)
    expect(actual, few_valued, lambda a, b: evidently.call("psi_stat_test", a, b, "cat"))


def test_jensen_shannon_is_that_of_evidently(few_valued: Columns, evidently: Any):
    actual = statistics.jensen_shannon(few_valued.reference, few_valued.current)
    expect(actual, few_valued, lambda a, b: evidently.call("jensenshannon_stat_test", a, b, "cat"))


def test_hellinger_is_that_of_evidently(few_valued: Columns, evidently: Any):
    # Squared: Evidently takes the root of 1 - x, which leaves noise of 1e-8 where the shares are equal.
    actual = statistics.hellinger(few_valued.reference, few_valued.current)
    expect(actual**2, few_valued, lambda a, b: evidently.call("hellinger_stat_test", a, b, "cat") ** 2)


def test_wasserstein_is_that_of_evidently(few_valued: Columns, evidently: Any):
    finite = histogram([pair for pair in few_valued.samples if np.isfinite(np.concatenate(pair)).all()])
    assert len(finite.samples) > 200
    actual = statistics.wasserstein(finite.reference, finite.current, finite.values)
    expect(actual, finite, lambda a, b: evidently.call("wasserstein_stat_test", a, b, "num"))


def test_kolmogorov_smirnov_is_that_of_evidently(evidently: Any):
    # Evidently returns scipy's p-value, which is asymptotic only above 10,000 rows.
    rng = np.random.default_rng(22)
    pairs = [(rng.poisson(3, 10_001).astype(float), rng.poisson(3.1, m).astype(float)) for m in range(50, 3000, 60)]
    large = histogram(pairs)
    statistic = statistics.kolmogorov_smirnov(large.reference, large.current)
    p = statistics.kolmogorov_smirnov_p(statistic, large.reference.sum(axis=-1), large.current.sum(axis=-1))
    expect(p, large, lambda a, b: evidently.call("ks_stat_test", a, b, "num"))


def test_chi_square_of_an_endless_reference_is_that_of_evidently(few_valued: Columns, evidently: Any):
    # Evidently tests the current sample against the reference's shares; it is undefined for unseen categories.
    pairs = [pair for pair in few_valued.samples if np.isin(pair[1], pair[0]).all()]
    seen = histogram([pair for pair in pairs if len(np.unique(pair[0])) > 1])
    assert len(seen.samples) > 100
    statistic = statistics.chi_square(seen.reference * 1e15, seen.current)
    p = statistics.chi_square_p(statistic, statistics.degrees_of_freedom(seen.reference, seen.current))
    expect(p, seen, lambda a, b: evidently.call("chi_stat_test", a, b, "cat"))


def test_psi_differs_from_evidently_where_shares_are_rare(evidently: Any):
    a = np.repeat([0.0, 1.0, 2.0], [9_500, 500, 1])
    b = np.repeat([0.0], 10_000)
    ours = float(statistics.psi([9_500, 500, 1], [10_000, 0, 0]))
    assert ours == pytest.approx(evidently.call("psi_stat_test", a[:-1], b, "cat"), abs=1e-3)
    # One row of a rare category in the current sample makes Evidently's empty bin weigh three times as much.
    rare = np.concatenate([np.repeat([0.0], 10_000), [2.0]])
    assert evidently.call("psi_stat_test", a, rare, "cat") > 3 * ours
    assert float(statistics.psi([9_500, 500, 1], [10_000, 0, 1])) == pytest.approx(ours, abs=1e-3)


# The contract

MEMBERS = pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS.keys())


def pairs(seed: int) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    rng = np.random.default_rng(seed)
    for _ in range(100):
        k = int(rng.integers(1, 30))
        a, b = rng.integers(0, 50, (2, k)) * rng.integers(0, 2, (2, k))
        a[0], b[-1] = 1, 1  # neither is empty
        yield a, b


@MEMBERS
def test_statistic_keeps_the_contract(statistic: Statistic):
    for a, b in pairs(3):
        value = float(statistic(a, b))
        assert value >= 0
        assert float(statistic(b, a)) == pytest.approx(value, rel=1e-12, abs=1e-15)
        assert float(statistic(a, 3 * a)) == 0
        assert float(statistic(a.astype(float), b.astype(float))) == value
        where = np.sort(np.random.default_rng(4).integers(0, len(a) + 1, 7))
        padded = float(statistic(np.insert(a, where, 0), np.insert(b, where, 0)))
        assert padded == pytest.approx(value, rel=1e-12, abs=1e-15)


@MEMBERS
def test_empty_sample_is_nan(statistic: Statistic):
    full, none = np.array([3, 0, 2]), np.zeros(3, dtype=int)
    values = statistic(np.stack([full, none, none, full]), np.stack([none, full, none, full]))
    np.testing.assert_array_equal(values, [np.nan, np.nan, np.nan, 0])


@MEMBERS
def test_constant_column_is_zero(statistic: Statistic):
    assert float(statistic([7], [3])) == 0
    assert float(statistic([0, 7, 0], [0, 3, 0])) == 0


@MEMBERS
def test_broadcasting_equals_a_loop(statistic: Statistic):
    rng = np.random.default_rng(5)
    a, b = rng.integers(0, 9, (4, 1, 6)), rng.integers(0, 9, (3, 6))
    b[1] = 0
    together = statistic(a, b)
    assert together.shape == (4, 3)
    one_by_one = [[float(statistic(row[0], other)) for other in b] for row in a]
    np.testing.assert_allclose(together, one_by_one, rtol=1e-12, atol=1e-15)


def test_rounding_leaves_the_range_alone():
    left, right = np.repeat(np.eye(2, dtype=int), 71, axis=1)  # whose root shares square to more than 1
    assert float(statistics.hellinger(left, right)) == 1
    nearly = np.array([136_876_171, 167_716_127, 114_874_871, 257_740_563, 831_943_215])
    assert 0 <= float(statistics.jensen_shannon(nearly, nearly + np.eye(5, dtype=int)[0])) < 1e-7


# Corners of those with another signature


def test_wasserstein_leaves_unknown_bins_out():
    values = [np.nan, -np.inf, 0.0, np.nan, 1.0, 3.0, np.inf, np.nan]
    actual = statistics.wasserstein([9, 5, 1, 4, 1, 0, 7, 0], [0, 6, 0, 8, 1, 1, 2, 3], values)
    assert float(actual) == pytest.approx(wasserstein_distance([0, 1], [1, 3]) / 0.5)
    assert np.isnan(statistics.wasserstein([1, 2], [2, 1], [np.nan, np.nan]))
    assert np.isnan(statistics.wasserstein([1], [2], [np.nan]))
    assert np.isnan(statistics.wasserstein([1, 0], [0, 2], [np.nan, 1.0]))
    assert np.isnan(statistics.wasserstein([0, 0], [1, 2], [0.0, 1.0]))


def test_wasserstein_ignores_values_of_padding_and_broadcasts():
    reference, current = np.array([[2, 0, 3, 0], [5, 0, 0, 1]]), np.array([1, 0, 3, 1])
    expected = [wasserstein_distance([0, 0, 2, 2, 2], [0, 2, 2, 2, 5]) / np.std([0, 0, 2, 2, 2])]
    expected.append(wasserstein_distance([0] * 5 + [5], [0, 2, 2, 2, 5]) / np.std([0] * 5 + [5]))
    actual = statistics.wasserstein(reference, current, [0.0, 999.0, 2.0, 5.0])
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_wasserstein_floors_the_deviation():
    assert float(statistics.wasserstein([5, 0], [0, 5], [1.0, 1.5])) == pytest.approx(500)


def test_wasserstein_survives_the_largest_floats():
    largest = np.finfo(float).max
    assert float(statistics.wasserstein([1, 1], [0, 2], [-largest, largest])) == pytest.approx(1)


def test_p_values_of_nothing_are_nan():
    assert np.isnan(statistics.kolmogorov_smirnov_p(np.nan, 0, 10))
    assert np.isnan(statistics.kolmogorov_smirnov_p(1.0, 1, 1))
    np.testing.assert_array_equal(statistics.chi_square_p([0, np.nan, np.nan], [0, 0, np.nan]), [1, np.nan, np.nan])
    assert np.isnan(statistics.degrees_of_freedom([1, 2], [0, 0]))
