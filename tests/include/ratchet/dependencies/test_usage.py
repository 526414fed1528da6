"""Which columns a model reads, traced through the joins and windows of its features."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.ratchet.dependencies.usage import find_unused, trace_features
from include.ratchet.spec import get_model
from include.ratchet.spec.scaffold import make_model

PROJECT = Path(__file__).resolve().parents[4]
NAME = "flight_delay"


@pytest.fixture(scope="module")
def flights():
    return get_model(PROJECT / "include/models", NAME)


def test_features_are_traced_to_columns_of_tables(flights):
    traced = trace_features(flights)
    assert traced["carrier"] == {(NAME, "carrier")}
    assert traced["plane_age_years"] == {
        (NAME, "scheduled_departure"), (NAME, "tail_number"), ("planes", "tail_number"), ("planes", "year_built"),
    }  # fmt: skip
    assert traced["temperature_f"] == {(NAME, "origin"), ("weather", "origin"), ("weather", "temperature_f")}
    assert traced["route_late_rate_7d"] == {(NAME, "origin"), (NAME, "destination"), (NAME, "is_late")}


def test_columns_and_features_that_nobody_reads_are_named(flights):
    landed = {name: [*flights.spec.table(name).columns, "left_over"] for name in flights.spec.table_names}
    unused = find_unused(flights, landed, [(7, ["carrier", "gate"]), (3, ["gate", "crew"])])
    assert unused.columns == (f"{NAME}.flight_number", f"{NAME}.left_over", "weather.left_over", "planes.left_over")
    assert unused.tables == ()
    assert unused.features == (("gate", 7), ("crew", 3))


FEATURES = """
from include.ratchet.features import Features, latest, query

def features(t):
    cheap = t.prices.filter(t.prices.kind == "cheap").mutate(double=t.prices.amount * 2)
    return Features(
        price=t.rows.price,
        double=latest(cheap, on={"shop": "place"}).double,
        other=query(lambda rows: rows.join(t.visits, [rows.shop == t.visits.place]).select(rows._row,
                                                                                           n=t.visits.people)).n,
    )
"""
TABLES = """
tables:
  prices: {source: {python: orders}, keys: [place, at], event_time: at, columns: {place: {type: string},
    at: {type: timestamp}, kind: {type: string}, amount: {type: float}, note: {type: string}}}
  visits: {source: {python: orders}, keys: [place], columns: {place: {type: string}, people: {type: float}}}
  spare: {source: {python: orders}, keys: [place], columns: {place: {type: string}}}
"""


def test_filters_and_computed_columns_are_followed_and_a_query_reads_what_it_mentions(tmp_path):
    folder = make_model(tmp_path, "order_returns")
    (folder / "features.py").write_text(FEATURES)
    spec = folder / "model.yaml"
    spec.write_text(spec.read_text() + TABLES)
    model = get_model(tmp_path, "order_returns")
    traced = trace_features(model)
    assert traced["double"] == {("order_returns", "shop"), ("prices", "place"), ("prices", "kind"),
                                ("prices", "amount")}  # fmt: skip
    assert {("visits", "people"), ("visits", "place")} <= traced["other"]
    unused = find_unused(model, {name: list(model.spec.table(name).columns) for name in model.spec.table_names})
    assert unused.columns == ("prices.note",)
    assert unused.tables == ("spare",)
