"""Every verb against plain Python, in memory and in the query engine."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from include.ratchet.features import Inputs, scoring_rows, training_rows
from include.ratchet.features.assembly import Assembly
from include.ratchet.features.attach import prepare_joins
from include.ratchet.features.definition import define
from include.ratchet.features.engine import Engine
from include.ratchet.features.entities import complete_rows
from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from tests.include.ratchet.features.rides import (
    KEY,
    START,
    History,
    Row,
    expect_features,
    histories,
    make_inputs,
    make_model,
    make_settings,
    minute,
)

AS_OF = START + timedelta(hours=3)
fixtures_may_repeat = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def join_rows(model: Model, inputs: Inputs, rows: pa.Table, limits: Settings, budget: str) -> pa.Table:
    """Features with a memory budget of one's own: with none, every join is left to the query engine."""
    with Engine(limits) as engine:
        engine.bind_inputs(model, inputs)
        joins = prepare_joins(engine, define(model), budget, limits.duckdb_threads)
        assembly = Assembly(engine, define(model), joins, threads=limits.duckdb_threads)
        return assembly.assemble(complete_rows(model, rows), model.spec.keys)


def is_trained_on(row: Row) -> bool:
    done = row["done_at"]
    return START <= row["at"] < AS_OF and row["is_late"] is not None and done is not None and done < AS_OF


@fixtures_may_repeat
@given(history=histories())
def test_training_rows_are_the_labelled_ones_in_order(history: History, tmp_path: Path) -> None:
    for rows in history.values():
        random.Random(0).shuffle(rows)  # noqa: S311  # the order of landing must not matter
    model, limits = make_model(tmp_path), make_settings(tmp_path)
    found = training_rows(model, KEY, make_inputs(history), as_of=AS_OF, window_start=START, settings=limits)
    rides = sorted(filter(is_trained_on, history["rides"]), key=lambda row: (row["at"], row["ride_id"]))
    assert found["ride_id"].to_pylist() == [row["ride_id"] for row in rides]
    for got, ride in zip(found.to_pylist(), rides, strict=True):
        want = expect_features(history, ride)
        assert {name: got[name] for name in want} == want


@pytest.mark.parametrize("budget", ["0B", "1GB"])
@fixtures_may_repeat
@given(history=histories())
def test_features_are_what_plain_python_says(history: History, budget: str, tmp_path: Path) -> None:
    model, limits, inputs = make_model(tmp_path), make_settings(tmp_path), make_inputs(history)
    found = join_rows(model, inputs, inputs.tables["rides"], limits, budget)
    assert found["ride_id"].equals(inputs.tables["rides"]["ride_id"])
    for got, ride in zip(found.to_pylist(), history["rides"], strict=True):
        want = expect_features(history, ride)
        assert {name: got[name] for name in want} == want


@fixtures_may_repeat
@given(history=histories())
def test_scoring_needs_no_outcomes(history: History, tmp_path: Path) -> None:
    model, limits, inputs = make_model(tmp_path), make_settings(tmp_path), make_inputs(history)
    asked = inputs.tables["rides"]
    blind = scoring_rows(model, KEY, inputs, asked.drop_columns(["fare", "is_late", "done_at"]), settings=limits)
    assert blind.equals(scoring_rows(model, KEY, inputs, asked, settings=limits))


@pytest.mark.parametrize("budget", ["0B", "1GB"])
def test_the_newest_is_by_event_time_among_those_known(budget: str, tmp_path: Path) -> None:
    """An old post that becomes known late is not the newest; of posts known at once, the later said is, then by key."""
    arrivals = [(0, 1, 2), (1, 5, 6), (2, 3, 8), (3, 4, 8), (4, 9, 9), (5, 9, 9), (6, 7, 20)]
    posts: list[Row] = [
        {"post_id": key, "zone": "north", "said_at": minute(said), "known_at": minute(known), "score": key}
        for key, said, known in arrivals
    ]
    rides: list[Row] = [
        {"ride_id": f"r{at:02d}", "at": minute(at), "zone": "north", "driver": None, "seats": None, "fare": None,
         "is_late": None, "done_at": None}
        for at in range(2, 30)
    ]  # fmt: skip
    history: History = {"rides": rides, "rain": [], "posts": posts, "zones": []}
    model, limits, inputs = make_model(tmp_path), make_settings(tmp_path), make_inputs(history)
    found = join_rows(model, inputs, inputs.tables["rides"], limits, budget)
    # The prediction time is two steps before the ride; what is known at that very step is not known yet.
    expected = [None] * 3 + [0] * 4 + [1] * 3 + [5] * 18
    assert found["post_score"].to_pylist() == expected
    assert found["post_score"].to_pylist() == [expect_features(history, ride)["post_score"] for ride in rides]
