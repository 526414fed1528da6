"""Profiles: what they say of columns, and that adding them is reading the rows together."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from include.ratchet.monitoring.binning import MAX_CATEGORIES, Bins, is_countable, make_bins
from include.ratchet.monitoring.profile import HASHES, ProfileTable, profile_column
from include.ratchet.settings import read_settings

GENERATOR = np.random.default_rng(20130101)
COLUMNS = {
    "numbers": pa.array(GENERATOR.normal(5, 2, 3000)),
    "integers": pa.array(GENERATOR.integers(0, 9, 3000)),
    "skewed": pa.array(np.where(GENERATOR.random(3000) < 0.9, 0.0, GENERATOR.exponential(1, 3000))),
    "booleans": pa.array(GENERATOR.random(3000) < 0.2),
    "holes": pa.array([None if one < 0.3 else one for one in GENERATOR.random(3000)]),
    "infinite": pa.array(np.where(np.arange(3000) % 10 == 0, np.inf, np.arange(3000.0))),
    "constant": pa.array([7.0] * 3000),
    "null": pa.nulls(3000, pa.float64()),
    "text": pa.array(GENERATOR.choice(["a", "b", "c", None], 3000)),
    "many texts": pa.array([f"user-{one}" for one in GENERATOR.integers(0, 2000, 3000)]),
    "one text": pa.array(["x"] * 3000),
}


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_every_row_is_in_one_bin(name):
    column = COLUMNS[name]
    bins = make_bins(column)
    counts = bins.count(column)
    assert len(counts) == len(bins)
    assert counts.sum() == 3000
    assert counts[-1] == column.null_count
    assert (np.bincount(bins.codes(column), minlength=len(bins)) == counts).all()
    assert len(bins.labels) >= len(bins) - 1
    assert Bins.from_dict(bins.to_dict()).id == bins.id


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_adding_profiles_is_reading_together(name):
    column = COLUMNS[name]
    bins = make_bins(column)
    whole = profile_column(bins, column)
    cuts = [0, 1, 700, 700, 2200, 3000]
    parts = [profile_column(bins, column.slice(a, b - a)) for a, b in pairwise(cuts)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    assert (merged.counts == whole.counts).all()
    assert (merged.hashes == whole.hashes).all()
    assert merged.infinite == whole.infinite
    for one, other in ((merged.minimum, whole.minimum), (merged.maximum, whole.maximum), (merged.mean, whole.mean),
                       (merged.variance, whole.variance)):  # fmt: skip
        assert one == pytest.approx(other, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize(("distinct", "tolerance"), [(1, 0), (HASHES - 1, 0), (5000, 0.35), (100_000, 0.35)])
def test_distinct_values_are_counted_or_estimated(distinct, tolerance):
    values = pa.array(np.arange(distinct, dtype=np.float64).repeat(2))
    assert profile_column(make_bins(values), values).distinct == pytest.approx(distinct, rel=tolerance)
    texts = pa.array([f"t{one}" for one in range(distinct)])
    assert profile_column(make_bins(texts), texts).distinct == pytest.approx(distinct, rel=tolerance)


def test_moments_are_those_of_the_finite_values():
    found = profile_column(make_bins(COLUMNS["infinite"]), COLUMNS["infinite"])
    finite = np.array([one for one in range(3000) if one % 10])
    assert found.infinite == 300
    assert found.mean == pytest.approx(finite.mean())
    assert found.variance == pytest.approx(finite.var())
    assert (found.minimum, found.maximum) == (1, 2999)


def test_quantiles_are_near():
    column = COLUMNS["numbers"]
    bins = make_bins(column)
    found = profile_column(bins, column)
    for share in (0.05, 0.5, 0.95):
        assert found.quantile(share, bins) == pytest.approx(np.quantile(column.to_numpy(), share), abs=0.15)


def test_unseen_and_rare_texts_share_a_bin():
    bins = make_bins(COLUMNS["many texts"])
    assert len(bins.categories) == MAX_CATEGORIES
    counts = bins.count(pa.array(["never seen", bins.categories[3], None]))
    assert counts[3] == 1
    assert (counts[-2], counts[-1]) == (1, 1)


def test_column_of_another_type_is_null():
    numbers, texts = make_bins(COLUMNS["numbers"]), make_bins(COLUMNS["text"])
    assert profile_column(numbers, COLUMNS["text"]).nulls == 3000
    assert profile_column(texts, COLUMNS["integers"]).nulls == 3000
    assert profile_column(numbers, COLUMNS["booleans"]).nulls == 0


def test_different_bins_are_not_added():
    one, other = (profile_column(make_bins(COLUMNS[name]), COLUMNS[name]) for name in ("numbers", "skewed"))
    with pytest.raises(ValueError, match="cannot be added"):
        one.merge(other)


def test_times_and_lists_are_not_counted():
    assert not is_countable(pa.timestamp("us"))
    assert not is_countable(pa.list_(pa.int64()))
    assert is_countable(pa.dictionary(pa.int32(), pa.string()))


def test_table_keeps_other_segments_and_replaces_its_own(tmp_path):
    table = ProfileTable(read_settings({"RATCHET_HOME": str(tmp_path)}), "orders")
    bins = make_bins(COLUMNS["numbers"])
    half = profile_column(bins, COLUMNS["numbers"].slice(0, 1500))
    whole = profile_column(bins, COLUMNS["numbers"])
    table.write({("a", "2026-03-01"): {"x": whole}, ("b", "2026-03-01"): {"x": half}}, ["2026-03-01"])
    table.write({("a", "2026-03-02"): {"x": whole}}, ["2026-03-02"])
    table.write({("b", "2026-03-01"): {"x": whole}}, ["2026-03-01"])
    days = ["2026-03-01", "2026-03-02", "2026-03-03"]
    found = table.counts({"a": {"x": bins}, "b": {"x": bins}}, days)
    assert found["a"][0].sum(axis=2).tolist() == [[3000], [3000], [0]]
    assert found["b"][0].sum(axis=2).tolist() == [[3000], [0], [0]]
    assert (table.columns("b", "2026-03-01")["x"].counts == whole.counts).all()
    other = table.counts({"a": {"x": make_bins(COLUMNS["skewed"])}}, days)
    assert other["a"][0].sum() == 0
