"""Ties against scipy, and by what is planted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from scipy.stats.contingency import association

from include.ratchet.dependencies.ties import find_ties, group_features, measure_ties


@pytest.fixture
def frame():
    random = np.random.default_rng(3)
    rows = 3000
    size = random.lognormal(size=rows)
    kind = random.choice(list("abcd"), rows)
    gappy = random.normal(size=rows) + size
    gappy[random.random(rows) < 0.3] = np.nan
    return pd.DataFrame({
        "size": size, "size_sq": size**2, "copy": size, "noise": random.normal(size=rows), "gappy": gappy,
        "kind": kind.astype(object), "code": np.array([{"a": "1", "b": "2", "c": "3", "d": "4"}[one] for one in kind],
                                                       dtype=object),
        "level": np.array([ord(one) for one in kind], float) + 0.01 * random.normal(size=rows),
        "free": random.choice([f"w{n}" for n in range(400)], rows).astype(object),
        "same": np.ones(rows), "none": np.full(rows, np.nan),
    })  # fmt: skip


def test_numbers_are_tied_as_scipy_ties_them(frame):
    names = ["size", "noise", "gappy"]
    found = measure_ties(frame[names])
    assert found[0, 1] == pytest.approx(abs(spearmanr(frame["size"], frame["noise"]).statistic), abs=1e-9)
    both = frame["gappy"].notna()
    # Ranks are those of the whole column, and so differ a little from those of the rows that have both.
    assert found[0, 2] == pytest.approx(spearmanr(frame["size"][both], frame["gappy"][both]).statistic, abs=0.005)


def test_texts_are_tied_as_scipy_ties_them_less_their_bias(frame):
    found = measure_ties(frame[["kind", "code", "free"]])
    assert found[0, 1] == pytest.approx(1.0, abs=1e-6)
    biased = association(pd.crosstab(frame["kind"], frame["free"]).to_numpy(), method="cramer")
    assert biased > 0.3
    assert found[0, 2] < 0.1


def test_number_and_text_by_a_correlation_ratio_that_many_texts_do_not_raise(frame):
    found = measure_ties(frame[["level", "kind", "free", "noise"]])
    groups = frame["level"].rank().groupby(frame["kind"])
    between = sum(len(one) * (one.mean() - frame["level"].rank().mean()) ** 2 for _, one in groups)
    explained = between / ((frame["level"].rank() - frame["level"].rank().mean()) ** 2).sum()
    assert found[0, 1] == pytest.approx(np.sqrt(explained), abs=0.001)
    assert found[2, 3] < 0.15
    assert np.array_equal(found, found.T)


def test_clusters_duplicates_and_constants_are_named(frame):
    ties = find_ties(frame)
    assert ties.constants == ("same", "none")
    assert ties.duplicates == (("size", "copy"),)
    assert {cluster.features for cluster in ties.clusters} == {("size", "size_sq", "copy"), ("kind", "code", "level")}
    kinds = next(one for one in ties.clusters if "kind" in one.features)
    assert (kinds.strongest, kinds.measure) == (("kind", "code"), "Cramer's V")
    assert group_features(["noise", "copy", "size", "level"], ties) == (
        ("noise",), ("size", "size_sq", "copy"), ("kind", "code", "level"),
    )  # fmt: skip


@pytest.mark.parametrize("columns", [[], ["size"], ["same"], ["kind"], ["none", "same"]])
def test_few_columns_have_no_ties(frame, columns):
    assert find_ties(frame[columns]).clusters == ()
    assert find_ties(frame[columns].iloc[:1]).clusters == ()
    assert find_ties(frame[columns].iloc[:0]).duplicates == ()


def test_independent_columns_are_never_of_one_cluster():
    for seed in range(20):
        random = np.random.default_rng(seed)
        frame = pd.DataFrame({f"n{n}": random.normal(size=200) for n in range(12)})
        frame["t"] = random.choice([f"v{n}" for n in range(100)], 200).astype(object)
        assert find_ties(frame).clusters == ()
