"""How long validation takes: for a million rows, for a day, and as a share of landing and training.

    .venv/bin/python -m benchmarks.validation [--run-s SECONDS] > benchmarks/results/validation.md

`--run-s` is the wall time of landing and training together; with it the share of the run is printed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.landing import land_many
from include.ratchet.data.snapshots import build_snapshot
from include.ratchet.data.tables import PARTITION_COLUMN, Table
from include.ratchet.settings import PROJECT, Settings, read_settings
from include.ratchet.spec import Model, ModelKey, Partition, load_model, partition_of, partitions_between
from include.ratchet.validation import validate_partition, validate_partitions, validate_snapshot

_MILLION = 1_000_000


def main() -> None:
    """Print a table with a row for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-s", type=float, default=None, help="wall time of a whole run, for the share")
    arguments = parser.parse_args()
    print("# Validation: how long it takes\n\n| what | s | CPU s |\n|---|---|---|")
    model = load_model(PROJECT / "include" / "models" / "flight_delay")
    first, last = (partition_of(model.spec, day) for day in ("2013-01-01", "2013-12-31"))
    days = list(partitions_between(model.spec, first, last))
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings({"RATCHET_HOME": folder})
        landing_s = _measure("landing a year of flights", lambda: _land(model, days, settings))
        day = days[200]
        check: dict[str, Any] = {"settings": settings, "run_id": "benchmark", "as_of": days[-1].end}
        _measure("the library's import, and a day", lambda: validate_partition(model, model.name, day, **check))
        _measure("a day", lambda: validate_partition(model, model.name, day, **check))
        partitions_s = _measure("a year", lambda: validate_partitions(model, model.name, days, **check))
        rows = Table(settings, model.name, model.name).read()
        snapshot = build_snapshot(
            ModelKey(model.name), as_of=last.end, window_start=first.start, query="benchmark", versions={},
            compute=lambda: _widen(rows, rows.num_rows), settings=settings,
        )  # fmt: skip
        snapshot_s = _measure(
            f"a snapshot of {snapshot.rows} rows and {len(snapshot.columns)} columns",
            lambda: validate_snapshot(model, snapshot, settings=settings, run_id="benchmark"),
        )
        large = build_snapshot(
            ModelKey(model.name), as_of=last.end, window_start=first.start, query="large", versions={},
            compute=lambda: _widen(rows, _MILLION), settings=settings,
        )  # fmt: skip
        _measure(
            f"a snapshot of a million rows and {len(large.columns)} columns",
            lambda: validate_snapshot(model, large, settings=settings, run_id="benchmark"),
        )
        spent = partitions_s + snapshot_s
        print(f"\nA year of flights and its snapshot take {spent:.1f} s to validate, {landing_s:.1f} s to land.")
        if arguments.run_s:
            print(f"That is {spent / arguments.run_s:.1%} of a run of {arguments.run_s:g} s (aim: below 20 %).")


def _land(model: Model, days: list[Partition], settings: Settings) -> None:
    land_many(
        model,
        model.name,
        days,
        lambda day: day.end,
        settings=settings,
        connections=MappedConnections(),
        run_id="benchmark",
    )


def _widen(rows: pa.Table, count: int) -> pa.Table:
    """As many rows as wanted, under keys of their own, with twenty-five features more."""
    copies = -(-count // rows.num_rows)
    table = pa.concat_tables([rows] * copies).slice(0, count).combine_chunks()
    table = table.drop_columns([PARTITION_COLUMN])
    keys = pa.array([f"flight-{number}" for number in range(count)])
    table = table.set_column(table.column_names.index("flight_id"), "flight_id", keys)
    for number in range(25):
        table = table.append_column(f"feature_{number}", table["distance_miles"].cast(pa.float64()))
    return table


def _measure(what: str, work: Callable[[], object]) -> float:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    print(f"| {what} | {wall_s:.2f} | {cpu_s:.2f} |", flush=True)
    return wall_s


if __name__ == "__main__":
    main()
