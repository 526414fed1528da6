"""Krippendorff's alpha, against his own worked examples and a count of all pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ratchet.data.resolution import Ruling
from include.ratchet.labels.agreement import measure_agreement, tabulate, weigh_alpha
from include.ratchet.spec import load_model
from tests.include.ratchet.data.orders import write_model
from tests.include.ratchet.labels.letters import ESTIMATOR, FEATURES

# Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section C: 12 units, observers A to D.
NONE = np.nan
EXAMPLE = np.array([
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
    [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
]).T  # fmt: skip


def alpha(ratings, *, is_nominal, weights=None):
    given_weights = np.ones((1, len(ratings))) if weights is None else weights
    kept = np.isfinite(ratings).sum(axis=1) > 1
    return weigh_alpha(ratings, is_nominal=is_nominal)(given_weights[:, kept])


@pytest.mark.parametrize(("is_nominal", "published"), [(True, 0.743), (False, 0.849)])
def test_published_example(is_nominal, published):
    assert alpha(EXAMPLE, is_nominal=is_nominal)[0] == pytest.approx(published, abs=5e-4)


def all_pairs(ratings, *, is_nominal):
    """One less observed over expected disagreement, pair by pair."""
    units = [[value for value in row if np.isfinite(value)] for row in ratings]
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]

    def distance(one, other):
        return float(one != other) if is_nominal else (one - other) ** 2

    observed = sum(distance(*pair) / (len(unit) - 1) for unit in units for pair in itertools.permutations(unit, 2))
    expected = sum(distance(*pair) for pair in itertools.permutations(values, 2))
    if not expected:
        return None
    return 1 - (observed / len(values)) / (expected / len(values) / (len(values) - 1))


RATINGS = st.lists(st.lists(st.sampled_from([1.0, 2.0, 3.0, NONE]), min_size=3, max_size=3), min_size=1, max_size=8)


@given(RATINGS, st.booleans())
def test_products_are_the_count_of_all_pairs(rows, is_nominal):
    ratings = np.array(rows)
    expected = all_pairs(ratings, is_nominal=is_nominal)
    found = alpha(ratings, is_nominal=is_nominal)[0]
    assert np.isnan(found) if expected is None else found == pytest.approx(expected, abs=1e-9)


@given(RATINGS, st.lists(st.integers(0, 3), min_size=8, max_size=8), st.booleans())
def test_weight_of_a_row_is_the_row_so_many_times(rows, counts, is_nominal):
    ratings, times = np.array(rows), np.array(counts[: len(rows)])
    expected = all_pairs(np.repeat(ratings, times, axis=0), is_nominal=is_nominal)
    found = alpha(ratings, is_nominal=is_nominal, weights=times[None, :].astype(float))[0]
    assert np.isnan(found) if expected is None else found == pytest.approx(expected, abs=1e-9)


@pytest.fixture
def spec(tmp_path):
    return write_model(tmp_path).spec


def rulings(rows):
    return [Ruling(None, None, "", voices) for voices in rows]


def test_people_pairs_and_the_source(spec):
    rows = [{"ana": label, "bo": label != (place < 5), "source": label}
            for place, label in enumerate([True, False] * 25)]  # fmt: skip
    found = measure_agreement(spec, rulings([*rows, {"ana": True}]))
    assert found.labelled == {"ana": 51, "bo": 50, "source": 50}
    assert found.rows == 50
    assert [(pair.one, pair.other, pair.rows) for pair in found.pairs] == [
        ("ana", "bo", 50), ("ana", "source", 50), ("bo", "source", 50)
    ]  # fmt: skip
    assert found.pairs[1].alpha.value == 1
    assert found.alpha == found.pairs[0].alpha
    assert found.alpha.value == pytest.approx(0.8, abs=0.01)
    assert found.alpha.low < found.alpha.value < found.alpha.high < 1


def test_interval_covers_what_a_larger_sample_shows(spec):
    """Of 40 studies of 60 rows with known noise, nearly all intervals hold the value of the whole population."""
    generator = np.random.default_rng(3)

    def draw(rows):
        truth = generator.random(rows) < 0.4
        return [{name: bool(label ^ (generator.random() < 0.15)) for name in ("ana", "bo")} for label in truth]

    population = alpha(tabulate(draw(40_000), ["ana", "bo"]), is_nominal=True)[0]
    held = [measure_agreement(spec, rulings(draw(60))).alpha for _ in range(40)]
    assert sum(one.low <= population <= one.high for one in held) >= 34


@pytest.mark.parametrize(
    "rows", [[], [{"ana": True}], [{"ana": True, "bo": True}] * 5, [{"ana": True, "source": True}]]
)
def test_what_cannot_be_measured_is_none(spec, rows):
    assert measure_agreement(spec, rulings(rows)).alpha is None


def test_numbers_are_measured_as_numbers(tmp_path):
    folder = tmp_path / "size"
    folder.mkdir()
    (folder / "features.py").write_text(FEATURES)
    (folder / "estimator.py").write_text(ESTIMATOR)
    (folder / "model.yaml").write_text(
        "name: size\nowner: us\ndescription: How large is it, in metres?\ntask: regression\nsource: {python: rows}\n"
        "keys: [id]\nevent_time: at\nlabel: {column: metres, annotations: {rule: median}}\n"
        "columns: {metres: {type: float}}\n"
    )
    spec = load_model(folder).spec
    near = measure_agreement(spec, rulings([{"ana": float(x), "bo": x + 0.1} for x in range(20)]))
    assert near.alpha.value > 0.99
    assert near.alpha.value == pytest.approx(
        all_pairs(np.array([[x, x + 0.1] for x in range(20)]), is_nominal=False), abs=1e-9
    )
