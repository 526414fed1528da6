"""A small model with every kind of table, generated histories for it, and an oracle in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from include.ratchet.features import Inputs
from include.ratchet.settings import Settings, read_settings
from include.ratchet.spec import Model, ModelKey, load_model

KEY = ModelKey("rides")
START = datetime(2024, 3, 1, tzinfo=UTC)
LEAD = timedelta(minutes=10)
RAIN_DELAY = timedelta(minutes=5)
TIME = pa.timestamp("us", "UTC")

SPEC = """
name: rides
owner: fleet
description: Will a ride be late? A small model for tests.
task: binary
source: {python: rides}
keys: [ride_id]
event_time: at
prediction_lead: 10m
label: {column: is_late, available_time: done_at, outcomes: [fare]}
columns:
  ride_id: {type: string, nullable: false}
  at: {type: timestamp, nullable: false}
  zone: {type: string}
  driver: {type: string}
  seats: {type: integer}
  fare: {type: float}
  is_late: {type: boolean}
  done_at: {type: timestamp}
tables:
  rain:
    source: {python: rain}
    keys: [zone, seen_at]
    event_time: seen_at
    delay: 5m
    columns:
      zone: {type: string}
      seen_at: {type: timestamp}
      mm: {type: float}
  posts:
    source: {python: posts}
    keys: [post_id]
    event_time: said_at
    available_time: known_at
    columns:
      post_id: {type: integer}
      zone: {type: string}
      said_at: {type: timestamp}
      known_at: {type: timestamp}
      score: {type: integer}
  zones:
    source: {python: zones}
    keys: [zone]
    columns:
      zone: {type: string}
      size: {type: integer}
"""

FEATURES = """
from ibis import _

from include.ratchet.features import Features, latest, lookup, previous, query, rolling


def features(t):
    rain = latest(t.rain, on="zone")
    post = latest(t.posts, on="zone")
    last = previous(t.history, on="driver")
    pair = rolling(t.history, by=("zone", "driver"), over="3h")
    hour = rolling(t.history, by="zone", over="1h")
    return Features(
        zone=t.rows.zone,
        seats_left=4 - t.rows.seats,
        size=lookup(t.zones, on="zone").size,
        rain_mm=rain.mm,
        post_score=post.score,
        post_age=(t.rows._prediction_time.epoch_seconds() - post._available_time.epoch_seconds()),
        last_fare=last.fare,
        last_late=last.is_late,
        zone_rides_1h=hour.count(),
        zone_late_1h=hour.mean("is_late"),
        zone_fare_1h=hour.mean("fare", digits=2),
        zone_fare_sum_3h=rolling(t.history, by="zone", over="3h").sum("fare", digits=2),
        pair_late_3h=pair.mean("is_late"),
        long_rides_3h=rolling(t.history.filter(_.fare > 20), by="zone", over="3h").count(),
    )
"""

HEAD = "from ibis import _\nfrom include.ratchet.features import Features, latest, lookup, previous, query, rolling\n\n"
"""What a `features.py` of a test begins with."""

SCHEMAS = {
    "rides": pa.schema(
        [("ride_id", pa.string()), ("at", TIME), ("zone", pa.string()), ("driver", pa.string()), ("seats", pa.int64()),
         ("fare", pa.float64()), ("is_late", pa.bool_()), ("done_at", TIME)]
    ),
    "rain": pa.schema([("zone", pa.string()), ("seen_at", TIME), ("mm", pa.float64())]),
    "posts": pa.schema(
        [("post_id", pa.int64()), ("zone", pa.string()), ("said_at", TIME), ("known_at", TIME), ("score", pa.int64())]
    ),
    "zones": pa.schema([("zone", pa.string()), ("size", pa.int64())]),
}  # fmt: skip

Row = dict[str, Any]
History = dict[str, list[Row]]


def make_model(folder: Path, features: str = FEATURES, spec: str = SPEC) -> Model:
    """The model in a folder of its own."""
    home = folder / "rides"
    home.mkdir(parents=True, exist_ok=True)
    (home / "model.yaml").write_text(spec)
    (home / "features.py").write_text(features)
    return load_model(home)


def make_settings(folder: Path, threads: int = 2) -> Settings:
    """Settings whose every path is in the folder."""
    return replace(read_settings({"RATCHET_HOME": str(folder / "home")}), duckdb_threads=threads)


def make_inputs(history: Mapping[str, Sequence[Row]]) -> Inputs:
    """Rows as tables in memory."""
    return Inputs({name: pa.Table.from_pylist(list(rows), schema=SCHEMAS[name]) for name, rows in history.items()})


def minute(number: int) -> datetime:
    """An instant on the grid of five minutes, on which ties are common."""
    return START + timedelta(minutes=5 * number)


def steady_rides(count: int = 120) -> History:
    """A ride every five minutes that is done forty minutes later, with rain and posts now and then."""
    rides: list[Row] = [
        {
            "ride_id": f"r{i:03d}", "at": minute(i), "zone": ("north", "south")[i % 2], "driver": ("ann", "bob")[i % 2],
            "seats": 1 + i % 4, "fare": float(i), "is_late": i % 3 == 0, "done_at": minute(i + 8),
        }
        for i in range(count)
    ]  # fmt: skip
    rain = [{"zone": "north", "seen_at": minute(i), "mm": float(i)} for i in range(0, count, 7)]
    posts = [
        {"post_id": i, "zone": "south", "said_at": minute(i), "known_at": minute(i + 3), "score": i}
        for i in range(0, count, 11)
    ]
    return {"rides": rides, "rain": rain, "posts": posts, "zones": [{"zone": "north", "size": 3}]}


ZONES = st.sampled_from(["north", "south", "east", None])
DRIVERS = st.sampled_from(["ann", "bob", None])
PLACES = st.integers(0, 30).map(minute)
FARES = st.one_of(st.none(), st.integers(-500, 5000).map(lambda cents: cents / 100))


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Tables with ties, nulls, late and out-of-order arrivals, unknown keys and rows that never become known."""
    least = draw(st.sampled_from([0, 12]))  # left to itself, hypothesis makes most lists too short for rows to meet
    rides = []
    for number, at in enumerate(draw(st.lists(PLACES, min_size=max(1, least), max_size=25))):
        done = draw(st.one_of(st.none(), st.integers(1, 15)))
        rides.append(
            {
                "ride_id": f"r{number:03d}", "at": at, "zone": draw(ZONES), "driver": draw(DRIVERS),
                "seats": draw(st.one_of(st.none(), st.integers(1, 4))), "fare": draw(FARES),
                "is_late": draw(st.one_of(st.none(), st.booleans())),
                "done_at": None if done is None else at + timedelta(minutes=5 * done),
            }
        )  # fmt: skip
    seen = draw(st.lists(st.tuples(ZONES, PLACES), min_size=least, max_size=20, unique=True))
    rain = [{"zone": zone, "seen_at": at, "mm": draw(FARES)} for zone, at in seen]
    said = draw(st.lists(st.tuples(ZONES, PLACES, st.integers(0, 10)), min_size=least, max_size=20))
    posts = [
        {"post_id": i, "zone": zone, "said_at": at, "known_at": at + timedelta(minutes=5 * late), "score": i * 10}
        for i, (zone, at, late) in enumerate(said)
    ]
    zones = [{"zone": "north", "size": 7}, {"zone": "south", "size": None}]
    return {"rides": rides, "rain": rain, "posts": posts, "zones": zones}


def expect_features(history: History, ride: Row) -> Row:
    """What `FEATURES` means, row by row."""
    moment = ride["at"] - LEAD
    rides = [row for row in history["rides"] if row["done_at"] is not None and row["done_at"] < moment]
    rain = _newest(
        history["rain"], ride, ["zone"], moment, lambda row: row["seen_at"] + RAIN_DELAY, lambda row: row["seen_at"]
    )
    post = _newest(
        history["posts"],
        ride,
        ["zone"],
        moment,
        lambda row: row["known_at"],
        lambda row: (row["said_at"], row["post_id"]),
    )
    last = _newest(rides, ride, ["driver"], moment, lambda row: row["done_at"], lambda row: (row["at"], row["ride_id"]))
    hour = _window(rides, ride, ["zone"], moment, timedelta(hours=1))
    three = _window(rides, ride, ["zone"], moment, timedelta(hours=3))
    pair = _window(rides, ride, ["zone", "driver"], moment, timedelta(hours=3))
    sizes = {row["zone"]: row["size"] for row in history["zones"] if row["zone"] is not None}
    fares = [row["fare"] for row in three if row["fare"] is not None]
    return {
        "zone": ride["zone"],
        "seats_left": None if ride["seats"] is None else 4 - ride["seats"],
        "size": sizes.get(ride["zone"]),
        "rain_mm": rain.get("mm"),
        "post_score": post.get("score"),
        "post_age": int((moment - post["known_at"]).total_seconds()) if post else None,
        "last_fare": last.get("fare"),
        "last_late": last.get("is_late"),
        "zone_rides_1h": len(hour),
        "zone_late_1h": _mean([row["is_late"] for row in hour], 1),
        "zone_fare_1h": _mean([row["fare"] for row in hour], 100),
        "zone_fare_sum_3h": sum(round(fare * 100) for fare in fares) / 100 if fares else None,
        "pair_late_3h": _mean([row["is_late"] for row in pair], 1),
        "long_rides_3h": sum(row["fare"] is not None and row["fare"] > 20 for row in three),
    }


def _newest(
    rows: Sequence[Row], ride: Row, keys: list[str], moment: datetime,
    known: Callable[[Row], datetime], order: Callable[[Row], Any],
) -> Row:  # fmt: skip
    found = [row for row in rows if _is_like(row, ride, keys) and known(row) < moment]
    return max(found, key=order, default={})


def _window(rows: Sequence[Row], ride: Row, keys: list[str], moment: datetime, over: timedelta) -> list[Row]:
    return [row for row in rows if _is_like(row, ride, keys) and moment - over <= row["done_at"] < moment]


def _is_like(row: Row, ride: Row, keys: list[str]) -> bool:
    return all(ride[key] is not None and row[key] == ride[key] for key in keys)


def _mean(values: list[Any], scale: int) -> float | None:
    terms = [round(value * scale) for value in values if value is not None]
    return sum(terms) / (len(terms) * scale) if terms else None
