"""How far two histograms over the same bins are apart.

Every statistic takes the counts of two samples, `reference` and `current`: int or float64, not negative,
shape (..., n_bins) with n_bins >= 1, broadcast over the leading axes. It returns float64 of shape (...): nan where
a sample is empty, 0 where the shares are equal. Bins that are empty in both samples change nothing, so histograms
of different widths can be padded and compared in one call. A bin may stand for anything: an interval, a category,
nulls, infinite values. Each is exact for the histogram; binning of raw values is what loses information.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, rel_entr
from scipy.stats import kstwo

Floats = npt.NDArray[np.float64]
Statistic = Callable[[npt.ArrayLike, npt.ArrayLike], Floats]

PSI_SHARE_FLOOR: Final = 1e-4
"""Smallest share that `psi` takes a bin to have."""
DEVIATION_FLOOR: Final = 1e-3
"""Smallest standard deviation that `wasserstein` divides by, in the units of the values."""


def psi(reference: npt.ArrayLike, current: npt.ArrayLike) -> Floats:
    """Population stability index, the symmetric Kullback-Leibler divergence of floored shares.

    Shares below `PSI_SHARE_FLOOR`, empty ones above all, count as that floor, without renormalising. Evidently 0.7
    gives the same number when no non-empty share is at or below the floor. It differs below: Evidently leaves rare
    shares as they are, and once a sample has one it takes that sample's empty bins as a millionth of its rarest
    share, so that one rare category multiplies the weight of all empty bins. The floor here is continuous and
    monotone.

    Source: Siddiqi, Credit Risk Scorecards (2006); Kullback and Leibler, On Information and Sufficiency (1951).

    Returns:
        shape (...), from 0 to below 2 log(1 / PSI_SHARE_FLOOR), about 18.4, in nats; symmetric.
    """
    p = np.maximum(_shares(reference), PSI_SHARE_FLOOR)
    q = np.maximum(_shares(current), PSI_SHARE_FLOOR)
    index: Floats = np.sum((p - q) * np.log(p / q), axis=-1)
    return index


def jensen_shannon(reference: npt.ArrayLike, current: npt.ArrayLike) -> Floats:
    """Jensen-Shannon distance: square root of the divergence, as `scipy.spatial.distance.jensenshannon`.

    Source: Endres and Schindelin, A New Metric for Probability Distributions (2003).

    Returns:
        shape (...), 0 to sqrt(log 2), about 0.833, in square roots of nats; symmetric.
    """
    p, q = _shares(reference), _shares(current)
    middle = (p + q) / 2
    divergence = np.sum(rel_entr(p, middle) + rel_entr(q, middle), axis=-1) / 2
    distance: Floats = np.sqrt(np.maximum(divergence, 0))  # rounding may leave it just below 0
    return distance


def hellinger(reference: npt.ArrayLike, current: npt.ArrayLike) -> Floats:
    """Hellinger distance: 0 for equal shares, 1 for samples that have no bin in common.

    Source: Hellinger, Neue Begründung der Theorie quadratischer Formen (1909).

    Returns:
        shape (...), 0 to 1, no unit; symmetric.
    """
    # The sum of squares keeps the digits that 1 - sum(sqrt(p q)) loses near 0.
    squares = (np.sqrt(_shares(reference)) - np.sqrt(_shares(current))) ** 2
    distance: Floats = np.sqrt(np.minimum(squares.sum(axis=-1) / 2, 1))
    return distance


def kolmogorov_smirnov(reference: npt.ArrayLike, current: npt.ArrayLike) -> Floats:
    """Largest distance of the two cumulative shares; the bins are in ascending order.

    Source: Smirnov, Table for Estimating the Goodness of Fit of Empirical Distributions (1948).

    Returns:
        shape (...), 0 to 1, no unit; symmetric.
    """
    distance: Floats = np.max(np.abs(_cumulative(reference) - _cumulative(current)), axis=-1)
    return distance


def kolmogorov_smirnov_p(statistic: npt.ArrayLike, n: npt.ArrayLike, m: npt.ArrayLike) -> Floats:
    """Asymptotic two-sided p-value, as `scipy.stats.ks_2samp(method="asymp")`; conservative for discrete values.

    Some 0.1 ms for each element.

    Source: Simard and L'Ecuyer, Computing the Two-Sided Kolmogorov-Smirnov Distribution (2011).

    Args:
        statistic: of `kolmogorov_smirnov`, shape (...).
        n: rows of one sample, shape (...).
        m: rows of the other, shape (...).

    Returns:
        shape (...), 0 to 1; nan where the statistic is nan or where n m / (n + m) rounds to 0.
    """
    n, m = np.asarray(n, dtype=np.float64), np.asarray(m, dtype=np.float64)
    effective = np.round(n * m / np.maximum(n + m, 1))
    probability: Floats = np.clip(kstwo.sf(statistic, np.where(effective >= 1, effective, np.nan)), 0, 1)
    return probability


def wasserstein(reference: npt.ArrayLike, current: npt.ArrayLike, values: npt.ArrayLike) -> Floats:
    """Wasserstein-1 distance in standard deviations of the reference, as Evidently's `wasserstein_distance_norm`.

    Both are taken over the bins whose value is a finite number; bins of nulls or of infinite values are left out.
    The deviation counts as `DEVIATION_FLOOR` at least.

    Source: Ramdas, Garcia and Cuturi, On Wasserstein Two-Sample Testing (2017), section 2.3.

    Args:
        reference: counts, shape (..., n_bins).
        current: counts, shape (..., n_bins).
        values: the value that stands for each bin, ascending, shape (..., n_bins); nan where there is none.

    Returns:
        shape (...), from 0 without limit, no unit; nan where a sample has no row in a bin of known value.
    """
    a, b, v = np.broadcast_arrays(*(np.asarray(each, dtype=np.float64) for each in (reference, current, values)))
    known = np.isfinite(v) & (a + b > 0)
    a, b, v = np.where(known, a, 0), np.where(known, b, 0), np.where(known, v, np.nan)
    # Scaled to at most 1, so that a sentinel such as 1.8e308 does not overflow.
    scale = np.fmax.reduce(np.abs(v), axis=-1, keepdims=True, initial=1.0)
    v = v / scale
    # A bin left out takes the value before it, and so adds no width.
    widths = np.nan_to_num(np.diff(np.fmax.accumulate(v, axis=-1), axis=-1))
    distance = np.sum(np.abs(_cumulative(a) - _cumulative(b))[..., :-1] * widths, axis=-1)
    shares, v = _shares(a), np.where(known, v, 0)
    mean = np.sum(shares * v, axis=-1, keepdims=True)
    deviation = np.sqrt(np.sum(shares * (v - mean) ** 2, axis=-1))
    normalised: Floats = distance / np.maximum(deviation, DEVIATION_FLOOR / scale[..., 0])
    return normalised


def chi_square(reference: npt.ArrayLike, current: npt.ArrayLike) -> Floats:
    """Pearson's statistic of the 2 x k table over the bins that are not empty in both, without correction.

    This tests two samples against each other. Evidently's chi-square takes the reference as the truth, which is
    the limit of this one for a reference of infinitely many rows.

    Source: Pearson, On the Probability that Two Independent Distributions of Frequency are Really Samples from
    the Same Population (1911).

    Returns:
        shape (...), 0 to n + m, no unit; symmetric.
    """
    a, b = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    both = a + b
    squares = (_shares(a) - _shares(b)) ** 2 / np.where(both > 0, both, 1)
    statistic: Floats = a.sum(axis=-1) * b.sum(axis=-1) * squares.sum(axis=-1)
    return statistic


def likelihood_ratio(reference: npt.ArrayLike, current: npt.ArrayLike) -> Floats:
    """G statistic of the 2 x k table: 2 (n + m) times the Jensen-Shannon divergence weighted by sample size.

    As `scipy.stats.chi2_contingency(lambda_="log-likelihood", correction=False)`; `chi_square_p` gives its p-value.

    Source: Wilks, The Large-Sample Distribution of the Likelihood Ratio for Testing Composite Hypotheses (1938);
    Lin, Divergence Measures Based on the Shannon Entropy (1991).

    Returns:
        shape (...), 0 to 2 (n + m) log 2, no unit; symmetric.
    """
    a, b = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    pooled = _shares(a + b)
    apart = a.sum(axis=-1) * np.sum(rel_entr(_shares(a), pooled), axis=-1)
    apart = apart + b.sum(axis=-1) * np.sum(rel_entr(_shares(b), pooled), axis=-1)
    statistic: Floats = 2 * np.maximum(apart, 0)
    return statistic


def degrees_of_freedom(reference: npt.ArrayLike, current: npt.ArrayLike) -> Floats:
    """Degrees of freedom of `chi_square` and `likelihood_ratio`: bins that are not empty in both, less one.

    Returns:
        shape (...), whole numbers from 0; nan where a sample is empty.
    """
    a, b = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    is_known = (a.sum(axis=-1) > 0) & (b.sum(axis=-1) > 0)
    degrees: Floats = np.where(is_known, np.count_nonzero(a + b, axis=-1) - 1.0, np.nan)
    return degrees


def chi_square_p(statistic: npt.ArrayLike, degrees: npt.ArrayLike) -> Floats:
    """Probability of a chi-square variable above `statistic`; 1 without degrees of freedom.

    Args:
        statistic: of `chi_square` or `likelihood_ratio`, shape (...).
        degrees: of `degrees_of_freedom`, shape (...).

    Returns:
        shape (...), 0 to 1; nan where either is nan.
    """
    degrees = np.asarray(degrees, dtype=np.float64)
    above = chdtrc(np.where(degrees == 0, 1, degrees), statistic)
    probability: Floats = np.where(degrees == 0, np.where(np.isnan(above), np.nan, 1.0), above)
    return probability


def _totals(counts: npt.ArrayLike) -> Floats:
    """Rows of each sample, shape (..., 1); nan for an empty one, which makes all that is divided by it nan."""
    totals = np.sum(np.asarray(counts, dtype=np.float64), axis=-1, keepdims=True)
    return np.where(totals > 0, totals, np.nan)


def _shares(counts: npt.ArrayLike) -> Floats:
    return np.asarray(counts, dtype=np.float64) / _totals(counts)


def _cumulative(counts: npt.ArrayLike) -> Floats:
    # Summed before it is divided: whole counts stay exact.
    return np.cumsum(np.asarray(counts, dtype=np.float64), axis=-1) / _totals(counts)


STATISTICS: Final[Mapping[str, Statistic]] = {
    "psi": psi,
    "jensen_shannon": jensen_shannon,
    "hellinger": hellinger,
    "kolmogorov_smirnov": kolmogorov_smirnov,
    "chi_square": chi_square,
    "likelihood_ratio": likelihood_ratio,
}
"""The statistics that need nothing but the two histograms, by name."""
