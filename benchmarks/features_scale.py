"""How features grow with rows: DuckDB that spills against Spark, over 1, 10 and 100 years' worth of the flights.

.venv/bin/python -m benchmarks.features_scale
    [--times 1 10 100] [--memory 512MB 2GB] [--heap 4GB] [--minutes 15] [--disk 25] [--write]

Ten times are ten years of the flights, a hundred ten years of ten such regions, each with its own airports, carriers,
planes and weather. Every run is a process of its own, which writes the training rows as Parquet; it is ended when it
takes too long, or more memory or disk than is left to it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.ratchet.features import Inputs, write_training_rows
from include.ratchet.settings import PROJECT, read_settings
from include.ratchet.spec import Model, ModelKey, Partition, get_model
from include.ratchet.spec.modules import load_function

RESULTS = PROJECT / "benchmarks" / "results" / "features_scale.md"
TABLES = {"flight_delay": "flights", "weather": "weather", "planes": "planes"}
YEARS, REGIONS = 10, 10
YEAR = timedelta(days=365)
FIRST = datetime(2013, 1, 1, tzinfo=UTC)
NAMES = ("flight_id", "carrier", "origin", "destination", "tail_number")
MOST_MEMORY = 16 * 2**30


@dataclass(frozen=True)
class Run:
    """What one run took. Of one that was ended, until then.

    Attributes:
        rows: that were written; None if it did not finish.
        wall_seconds: from the first read to the last row written, without the start of Python and of the JVM.
        cpu_seconds: of all processes, from their start.
        memory: most bytes held by all processes together; shared pages are counted once.
        disk: most bytes in the folder for what does not fit in memory.
        end: why it ended.
    """

    rows: int | None
    wall_seconds: float
    cpu_seconds: float
    memory: int
    disk: int
    end: str


def main() -> None:
    """Run what was asked for, print its table after every line, and keep it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, nargs="+", choices=[1, 10, 100], default=[1, 10, 100])
    parser.add_argument("--memory", nargs="*", default=["512MB", "2GB"], help="DuckDB's limits")
    parser.add_argument("--heap", nargs="*", default=["4GB"], help="Spark's")
    parser.add_argument("--repeats", type=int, default=3, help="at 1x; one run of each above")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--disk", type=float, default=25, help="GB for what does not fit in memory")
    parser.add_argument("--folder", type=Path, help="for tables and results; the tables are kept there")
    parser.add_argument("--write", action="store_true", help=f"keep the table in {RESULTS.relative_to(PROJECT)}")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        compute(*arguments.child, folder=arguments.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        make_tables(folder, max(arguments.times))
        lines = []
        for times in arguments.times:
            engines = [*(("duckdb", one) for one in arguments.memory), *(("spark", one) for one in arguments.heap)]
            for backend, memory in engines:
                turns = range(arguments.repeats if times == 1 else 1)
                runs = [measure(folder, backend, memory, times, arguments) for _ in turns]
                lines.append(_describe(times, backend, memory, runs))
                print(lines[-1], flush=True)
    if arguments.write:
        RESULTS.write_text(_page(arguments, lines))


def make_tables(folder: Path, times: int) -> None:
    """The tables as Parquet, a file for each year and region; those that are there already are kept."""
    model = _model("duckdb")
    period = Partition("year", datetime(2012, 12, 31, tzinfo=UTC), datetime(2014, 1, 2, tzinfo=UTC))
    found = {name: load_function(model, "sources.py", source)(period, period.end) for name, source in TABLES.items()}
    for name, rows in found.items():
        for path, year, region in _parts(folder, name, times):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(_move(rows, year, region), path)


def _parts(folder: Path, table: str, times: int) -> Iterator[tuple[Path, int, int]]:
    """The files of a table, with their year and region; planes have no year."""
    years = 1 if table == "planes" or times == 1 else YEARS
    for region in range(REGIONS if times == 100 else 1):
        for year in range(years):
            yield folder / "tables" / table / f"region-{region}-year-{year}.parquet", year, region


def _move(rows: pa.Table, year: int, region: int) -> pa.Table:
    """Another year's and region's rows: times later, names their own."""
    for place, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type):
            moved = pc.add(rows[field.name], pa.scalar(year * YEAR, pa.duration("us")))
            rows = rows.set_column(place, field.name, moved.cast(field.type))
        elif field.name in NAMES:
            suffix = f"-{year}-{region}" if field.name == "flight_id" else f"-{region}"
            rows = rows.set_column(place, field.name, pc.binary_join_element_wise(rows[field.name], suffix, ""))
    return rows


def measure(folder: Path, backend: str, memory: str, times: int, limits: argparse.Namespace) -> Run:
    """One run in a process of its own, watched."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        environ = {
            **os.environ,
            "PYSPARK_SUBMIT_ARGS": f"--driver-memory {memory.removesuffix('B').lower()} pyspark-shell",
            "SPARK_LOCAL_DIRS": f"{place}/disk",
            "RATCHET_HOME": f"{place}/disk",
            "RATCHET_SPARK_MASTER": "local[2]",
            "RATCHET_DUCKDB_MEMORY": memory,
            "RATCHET_DUCKDB_THREADS": "2",
        }
        command = [sys.executable, "-m", "benchmarks.features_scale", "--folder", str(folder)]
        command += ["--child", backend, str(times), f"{place}/rows"]
        with (Path(place) / "errors").open("w") as errors:
            child = subprocess.Popen(
                command, env=environ, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
            )
            seen = _watch(child, Path(place) / "disk", limits.minutes * 60, limits.disk)
        answer = child.communicate()[0]
        told = json.loads(answer.splitlines()[-1]) if child.returncode == 0 else {}
        end = "finished" if told else seen.end or f"failed: {_last_line(Path(place) / 'errors')}"
        wall = told.get("seconds", seen.wall_seconds)
        return Run(told.get("rows"), wall, seen.cpu_seconds, seen.memory, seen.disk, end)


def _watch(child: subprocess.Popen[str], disk: Path, most_seconds: float, most_disk: float) -> Run:
    """Look at a process and all under it until it ends, or must."""
    start, memory, written, cpu, end = time.monotonic(), 0, 0, {}, ""
    while child.poll() is None:
        now, held = time.monotonic() - start, 0
        for process in _tree(child.pid):
            with suppress(psutil.Error):
                times = process.cpu_times()
                cpu[process.pid] = times.user + times.system
                held += process.memory_full_info().pss
        memory, written = max(memory, held), max(written, _size(disk))
        if now > most_seconds:
            end = f"did not finish in {most_seconds / 60:.0f} minutes"
        elif held > MOST_MEMORY:
            end = f"ended: above {MOST_MEMORY / 2**30:.0f} GB of memory"
        elif written > most_disk * 2**30:
            end = f"ended: above {most_disk:g} GB of disk"
        if end:
            os.killpg(child.pid, signal.SIGKILL)  # a session of its own: nothing else is in it
            child.wait()
        time.sleep(1)
    return Run(None, time.monotonic() - start, sum(cpu.values()), memory, written, end)


def _tree(pid: int) -> Sequence[psutil.Process]:
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def _size(folder: Path) -> int:
    """Bytes of its files; what is taken away meanwhile is left out."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(place, name).stat().st_size
    return total


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    return (named or lines or ["without a word"])[-1][:120]


def compute(backend: str, times: str, target: str, *, folder: Path) -> None:
    """What a run does: the training rows of all flights, from files to files."""
    model, settings = _model(backend), read_settings(os.environ)
    inputs = Inputs({name: [str(path) for path, _, _ in _parts(folder, name, int(times))] for name in TABLES})
    if backend == "spark":
        from include.ratchet.features.spark.session import open_application

        open_application(settings.spark_master)
    start = time.perf_counter()
    rows = write_training_rows(
        model, ModelKey(model.name), inputs, Path(target), as_of=FIRST + (YEARS + 1) * YEAR, window_start=None,
        settings=settings,
    )  # fmt: skip
    print(json.dumps({"rows": rows, "seconds": time.perf_counter() - start}))


def _model(backend: str) -> Model:
    model = get_model(PROJECT / "include" / "models", "flight_delay")
    training = model.spec.training.model_copy(update={"backend": backend})
    return model.model_copy(update={"spec": model.spec.model_copy(update={"training": training})})


def _describe(times: int, backend: str, memory: str, runs: Sequence[Run]) -> str:
    middle = {name: statistics.median(getattr(run, name) for run in runs) for name in ("wall_seconds", "cpu_seconds")}
    rows = runs[0].rows
    name = f"DuckDB, {memory}" if backend == "duckdb" else f"Spark local[2], heap {memory}"
    return (
        f"| {times}x | {name} | {'' if rows is None else f'{rows:,}'} | {middle['wall_seconds']:,.1f} | "
        f"{middle['cpu_seconds']:,.1f} | {max(run.memory for run in runs) / 2**30:.1f} | "
        f"{max(run.disk for run in runs) / 2**30:.1f} | {runs[-1].end} |"
    )


def _page(arguments: argparse.Namespace, lines: Sequence[str]) -> str:
    given = (("times", arguments.times), ("memory", arguments.memory), ("heap", arguments.heap))
    asked = " ".join(f"--{name} {' '.join(map(str, values))}" for name, values in given)
    return "\n".join(
        [
            "# Features: how they grow with rows",
            "",
            f"`.venv/bin/python -m benchmarks.features_scale {asked} --minutes {arguments.minutes:g} "
            f"--disk {arguments.disk:g} --write`",
            "",
            "Two cores, 24 GB of memory. The flight model's 50 features for every flight, from Parquet to Parquet. "
            "Wall seconds without the start of Python and of the JVM; CPU seconds with it, over all processes. Memory "
            "is the most that all processes held (PSS), disk the most that was spilled or shuffled. "
            f"Medians of {arguments.repeats} at 1x, one run each above.",
            "",
            "| rows | engine | rows out | wall s | CPU s | memory GB | disk GB | |",
            "|---|---|---|---|---|---|---|---|",
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    main()
