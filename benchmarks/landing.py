"""How long landing takes: a year of flights in one batch, the same again, and day by day.

.venv/bin/python -m benchmarks.landing [--days 30] > benchmarks/results/landing.md
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.landing import LandingReport, land_many
from include.ratchet.data.tables import Table
from include.ratchet.settings import PROJECT, Settings, read_settings
from include.ratchet.spec import Model, Partition, load_model, partition_of, partitions_between


def main() -> None:
    """Print a table with a row for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30, help="days to land one by one")
    arguments = parser.parse_args()
    print("# Landing: how long it takes\n\n| what | rows | s | CPU s | rows/s |\n|---|---|---|---|---|")
    model = load_model(PROJECT / "include" / "models" / "flight_delay")
    year = [partition_of(model.spec, "2013-01-01"), partition_of(model.spec, "2013-12-31")]
    days = list(partitions_between(model.spec, *year))
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings({"RATCHET_HOME": str(Path(folder) / "batch")})
        for name in model.spec.table_names:
            for label in ("a year, first time", "a year, again"):
                _measure(f"{name}: {label}", partial(_land, model, name, days, settings))
        table = Table(settings, model.name, model.name)
        _measure("flight_delay: read back", lambda: table.read().num_rows)
        single = read_settings({"RATCHET_HOME": str(Path(folder) / "single")})
        chosen = days[: arguments.days]
        _measure(
            f"flight_delay: {len(chosen)} days one by one, with late labels",
            lambda: sum(_land(model, model.name, [day], single).read for day in chosen),
        )


def _land(model: Model, table: str, days: list[Partition], settings: Settings) -> LandingReport:
    return land_many(
        model,
        table,
        days,
        lambda day: day.end,
        settings=settings,
        connections=MappedConnections(),
        run_id=datetime.now(UTC).isoformat(),
    )


def _measure(what: str, work: Callable[[], LandingReport | int]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    rows = found.read if isinstance(found, LandingReport) else found
    print(f"| {what} | {rows:,} | {wall_s:.2f} | {cpu_s:.2f} | {rows / wall_s:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
