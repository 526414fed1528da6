"""Where features come from, against what moves them: each column of each table is changed, and the features watched."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from include.ratchet.exports.columns import Origin, joins_of, trace_features
from include.ratchet.features.definition import define
from include.ratchet.settings import PROJECT
from include.ratchet.spec import load_model
from tests.include.ratchet.features.rides import SCHEMAS, expect_features, make_model, steady_rides


def change(value, place):
    """Another value of the same type, for two rows in five: a change that all rows share may cancel out."""
    if value is None or place % 5 > 1:
        return value
    if isinstance(value, bool):
        return not value
    if isinstance(value, datetime):
        return value - timedelta(minutes=25)
    return f"{value}?" if isinstance(value, str) else value + 1 + place


def find_moved(history, table, column):
    """The features of any ride that another content of a column changes."""
    other = {**history, table: [{**row, column: change(row[column], i + 1)} for i, row in enumerate(history[table])]}
    pairs = [
        (expect_features(history, ours), expect_features(other, theirs))
        for ours, theirs in zip(history["rides"], other["rides"], strict=True)
    ]
    return {name for ours, theirs in pairs for name in ours if ours[name] != theirs[name]}


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    return trace_features(define(make_model(tmp_path_factory.mktemp("rides"))))


@pytest.mark.parametrize(
    ("table", "column"), [(table, name) for table, schema in SCHEMAS.items() for name in schema.names]
)
def test_a_feature_names_every_column_that_moves_it(traced, table, column):
    # What orders rows of one key, and what filters a table, moves a feature without being in it.
    orders = {("rain", "seen_at"), ("posts", "said_at"), ("posts", "post_id"), ("posts", "known_at"),
              ("rides", "ride_id"), ("rides", "at"), ("rides", "done_at"), ("rides", "fare")}  # fmt: skip
    moved = find_moved(steady_rides(), table, column)
    named = {name for name, found in traced.items() if Origin(table, column) in (*found.values, *found.keys)}
    assert moved <= named or (table, column) in orders
    if (table, column) not in orders:
        assert named <= moved


def test_what_is_named_of_a_feature(traced):
    assert traced["zone"].values == (Origin("rides", "zone"),)
    assert traced["zone"].is_plain
    assert not traced["seats_left"].is_plain
    assert traced["rain_mm"].values == (Origin("rain", "mm"),)
    assert traced["rain_mm"].keys == (Origin("rain", "zone"), Origin("rides", "zone"))
    assert traced["post_age"].values == (Origin("posts", "known_at"), Origin("rides", "at"))
    assert traced["zone_rides_1h"].values == ()
    assert traced["zone_rides_1h"].keys == (Origin("rides", "zone"),)
    assert traced["pair_late_3h"].keys == (Origin("rides", "driver"), Origin("rides", "zone"))


def test_flights_name_weather_and_planes():
    definition = define(load_model(PROJECT / "include/models/flight_delay"))
    found = trace_features(definition)
    assert found["plane_age_years"].values == (
        Origin("flight_delay", "scheduled_departure"), Origin("planes", "year_built")
    )  # fmt: skip
    assert [join.kind for join in joins_of(definition, "plane_age_years")] == ["lookup"]
    assert joins_of(definition, "weekday") == ()
