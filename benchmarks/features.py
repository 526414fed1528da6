"""How long features take: an as-of join against Polars and Feast, a year of flights against pandas, and a single row.

.venv/bin/python -m benchmarks.features [--only join flights single] [--repeats 3] [--write]

Feast is not a dependency: its part makes an environment of its own under `.ratchet/benchmarks`, with pinned versions.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.features_pandas import flight_features
from include.ratchet.features import Inputs, Scorer, feature_names, scoring_rows, training_rows
from include.ratchet.settings import PROJECT, read_settings
from include.ratchet.spec import Model, ModelKey, Partition, get_model, load_model
from include.ratchet.spec.modules import load_function

RESULTS = PROJECT / "benchmarks" / "results" / "features.md"
FEAST = ("feast==0.67.0", "dask==2026.8.0", "pandas==2.3.3", "pyarrow==26.0.1")
ENTITIES, READINGS, DEVICES, COLUMNS = 100_000, 1_000_000, 5_000, 20
START = datetime(2024, 1, 1, tzinfo=UTC)

JOIN_SPEC = """
name: readings_join
owner: benchmark
description: The as-of join of the benchmark, and nothing else.
task: binary
source: {python: rows}
keys: [request]
event_time: at
label: {column: y}
columns: {request: {type: integer}, at: {type: timestamp}, device: {type: integer}}
tables:
  readings:
    source: {python: readings}
    keys: [device, event_timestamp]
    event_time: event_timestamp
    columns:
      device: {type: integer}
      event_timestamp: {type: timestamp}
"""
JOIN_FEATURES = """
from include.ratchet.features import Features, latest


def features(t):
    reading = latest(t.readings, on="device")
    return Features(**{f"x{i}": reading[f"f{i}"] for i in range(20)})
"""


def main() -> None:
    """Run the parts asked for, print their tables, and keep them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=["join", "flights", "single"], default=["join", "flights", "single"]
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"keep the tables in {RESULTS.relative_to(PROJECT)}")
    arguments = parser.parse_args()
    parts = {"join": measure_join, "flights": measure_flights, "single": measure_single}
    with tempfile.TemporaryDirectory() as folder:
        texts = [parts[name](Path(folder), arguments.repeats) for name in arguments.only]
    text = "\n\n".join(["# Features: how long they take", _setting(arguments.repeats), *texts]) + "\n"
    print(text)
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text)


def measure_join(folder: Path, repeats: int) -> str:
    """The newest of a million readings for each of 100,000 requests: ours, Polars' and Feast's."""
    import polars as pl

    entities, readings = _make_readings()
    model, settings = _join_model(folder), read_settings({"RATCHET_HOME": str(folder / "home")})
    left, right = pl.DataFrame(entities), pl.DataFrame(readings)

    def ours() -> pa.Table:
        inputs = Inputs({"readings": readings})
        return scoring_rows(model, ModelKey(model.name), inputs, entities, settings=settings)

    def polars() -> pl.DataFrame:
        return left.sort("at").join_asof(
            right.sort("event_timestamp"), left_on="at", right_on="event_timestamp", by="device",
            strategy="backward", allow_exact_matches=False, check_sortedness=False,
        )  # fmt: skip

    times = _race({"Ratchet": ours, "Polars `join_asof`": polars}, repeats)
    theirs, mine = polars().sort("request"), pl.DataFrame(ours()).sort("request")
    same = all(mine[f"x{i}"].equals(theirs[f"f{i}"]) for i in range(COLUMNS))
    feast = _run_feast(folder, entities, readings, repeats)
    times["Feast file store"] = Times(statistics.median(feast["seconds"]), statistics.median(feast["cpu_seconds"]))
    rows = {"Ratchet": mine.height, "Polars `join_asof`": theirs.height, "Feast file store": feast["rows_out"]}
    base = times["Ratchet"]
    lines = [
        f"| {name} | {time.wall:.2f} | {time.wall / base.wall:.2f} | {time.cpu:.2f} | {time.cpu / base.cpu:.2f} | "
        f"{rows[name]:,} |"
        for name, time in times.items()
    ]
    return "\n".join(
        [
            f"## As-of join: {ENTITIES:,} entity rows with {READINGS:,} x {COLUMNS} feature rows",
            f"{DEVICES:,} keys. Ratchet reads from memory, proves its row counts and returns Arrow; Polars is given "
            f"its frames and sorts them. Values {'equal' if same else 'DIFFER FROM'} Polars' in every cell. "
            "Feast reads Parquet, and loses the rows that have no earlier value.",
            "",
            "| | seconds | times Ratchet's | CPU seconds | times Ratchet's | rows out |\n|---|---|---|---|---|---|",
            *lines,
        ]
    )


def _join_model(folder: Path) -> Model:
    home = folder / "readings_join"
    home.mkdir()
    declared = "".join(f"      f{i}: {{type: float}}\n" for i in range(COLUMNS))
    (home / "model.yaml").write_text(JOIN_SPEC + declared)
    (home / "features.py").write_text(JOIN_FEATURES)
    return load_model(home)


def measure_flights(folder: Path, repeats: int) -> str:
    """A quarter, half and whole year of flights' features: ours and pandas'."""
    model = get_model(PROJECT / "include" / "models", "flight_delay")
    settings = read_settings({"RATCHET_HOME": str(folder / "home")})
    lines = []
    for name, end in (("quarter", (2013, 4, 1)), ("half", (2013, 7, 1)), ("year", (2014, 1, 2))):
        as_of = datetime(*end, tzinfo=UTC)
        tables = _read_flights(as_of)
        frames = [tables[table].to_pandas() for table in ("flight_delay", "weather", "planes")]

        def ours(tables: Mapping[str, pa.Table] = tables, as_of: datetime = as_of) -> pa.Table:
            return training_rows(
                model, ModelKey(model.name), Inputs(tables), as_of=as_of, window_start=None, settings=settings
            )

        def pandas(frames: list[Any] = frames, as_of: datetime = as_of) -> Any:
            return flight_features(frames[0], frames[1], frames[2], as_of)

        mine, theirs = _race({"ours": ours, "pandas": pandas}, repeats).values()
        rows, share = _compare(ours(), pandas(), feature_names(model))
        lines.append(
            f"| {name} | {rows:,} | {mine.wall:.2f} | {rows / mine.wall:,.0f} | {theirs.wall:.2f} | "
            f"{rows / theirs.wall:,.0f} | {theirs.wall / mine.wall:.1f} | {mine.cpu:.2f} | {theirs.cpu:.2f} | "
            f"{theirs.cpu / mine.cpu:.1f} | {share:.3%} |"
        )
    return "\n".join(
        [
            f"## Flights: {len(feature_names(model))} features",
            "From tables in memory to the training rows: selection, joins, expressions, proof of row counts. pandas: "
            "`benchmarks/features_pandas.py`. Where cells differ, two legs of a plane became known out of their order: "
            "Ratchet takes the later flight, `merge_asof` the one that became known last.",
            "",
            "| | rows | seconds | rows/s | pandas: seconds | rows/s | ratio | CPU seconds | pandas: CPU seconds | "
            "ratio | equal cells |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
            *lines,
        ]
    )


def measure_single(folder: Path, repeats: int) -> str:
    """One flight at a time, as a service would ask."""
    model = get_model(PROJECT / "include" / "models", "flight_delay")
    settings = read_settings({"RATCHET_HOME": str(folder / "home")})
    tables = _read_flights(datetime(2014, 1, 2, tzinfo=UTC))
    flights = tables["flight_delay"]
    start = time.perf_counter()
    with Scorer(model, ModelKey(model.name), Inputs(tables), settings=settings) as scorer:
        ready = time.perf_counter() - start
        millis = []
        for place in np.random.default_rng(0).choice(flights.num_rows, 300 * repeats, replace=False):
            start = time.perf_counter()
            scorer.score(flights.slice(int(place), 1))
            millis.append((time.perf_counter() - start) * 1000)
    p50, p95, p99 = np.percentile(millis, [50, 95, 99])
    return "\n".join(
        [
            "## A single flight",
            f"Over a year of history, made ready in {ready:.1f} s; {len(millis)} flights one by one.",
            "",
            "| p50 ms | p95 ms | p99 ms |\n|---|---|---|",
            f"| {p50:.1f} | {p95:.1f} | {p99:.1f} |",
        ]
    )


def _make_readings() -> tuple[pa.Table, pa.Table]:
    """Requests and readings at random times of a quarter, in random order; every time of a device is its own."""
    random = np.random.default_rng(7)
    span = int(timedelta(days=90).total_seconds() * 1_000_000)
    origin = np.datetime64(START.replace(tzinfo=None), "us")
    stamps = pa.array(origin + random.permutation(READINGS) * (span // READINGS), pa.timestamp("us", "UTC"))
    readings = {"device": pa.array(random.integers(0, DEVICES, READINGS)), "event_timestamp": stamps}
    readings |= {f"f{i}": pa.array(random.normal(size=READINGS)) for i in range(COLUMNS)}
    times = pa.array(origin + random.integers(0, span, ENTITIES), pa.timestamp("us", "UTC"))
    entities = {"request": np.arange(ENTITIES), "at": times, "device": random.integers(0, DEVICES, ENTITIES)}
    return pa.table(entities), pa.table(readings)


def _run_feast(folder: Path, entities: pa.Table, readings: pa.Table, repeats: int) -> dict[str, Any]:
    place = PROJECT / ".ratchet" / "benchmarks" / FEAST[0]
    python = place / "bin" / "python"
    uv = Path(sys.executable).parent / "uv"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, place], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *FEAST], check=True)
    pq.write_table(readings, folder / "readings.parquet")
    pq.write_table(entities.rename_columns(["request", "event_timestamp", "device"]), folder / "entities.parquet")
    script = PROJECT / "benchmarks" / "features_feast.py"
    command = [str(python), "-W", "ignore", str(script), str(folder), str(repeats)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _read_flights(until: datetime) -> dict[str, pa.Table]:
    model = get_model(PROJECT / "include" / "models", "flight_delay")
    months = Partition("until", datetime(2012, 12, 31, tzinfo=UTC), until)
    names = {"flight_delay": "flights", "weather": "weather", "planes": "planes"}
    return {name: load_function(model, "sources.py", source)(months, until) for name, source in names.items()}


class Times(NamedTuple):
    """Medians: by the clock, and of processor time over all threads, which other work on the machine disturbs less."""

    wall: float
    cpu: float


def _race(contestants: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, Times]:
    """What each takes, in turns, so that a busy moment meets all; the first round does not count."""
    seconds: dict[str, list[Times]] = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name, work in contestants.items():
            start = Times(time.perf_counter(), time.process_time())
            work()
            if turn:
                seconds[name].append(Times(time.perf_counter() - start.wall, time.process_time() - start.cpu))
    return {
        name: Times(statistics.median(one.wall for one in times), statistics.median(one.cpu for one in times))
        for name, times in seconds.items()
    }


def _compare(ours: pa.Table, pandas: Any, names: tuple[str, ...]) -> tuple[int, float]:
    """Rows, and the share of cells that are equal to nine digits."""
    mine, equal = ours.to_pandas(), 0
    for name in names:
        left, right = mine[name], pandas[name]
        if left.dtype == object:
            equal += int(((left == right) | (left.isna() & right.isna())).sum())
        else:
            equal += int(
                np.isclose(left.astype(float), right.astype(float), rtol=1e-9, atol=1e-9, equal_nan=True).sum()
            )
    return len(mine), equal / (len(mine) * len(names))


def _setting(repeats: int) -> str:
    import duckdb
    import pandas as pd
    import polars as pl

    return (
        f"Two cores; medians of {repeats} runs taken in turns after one that does not count. Python 3.11, DuckDB "
        f"{duckdb.__version__}, numpy {np.__version__}, pandas {pd.__version__}, Polars {pl.__version__}; in an "
        f"environment of its own {', '.join(FEAST).replace('==', ' ')}. "
        "Made by `python -m benchmarks.features --write`."
    )


if __name__ == "__main__":
    main()
