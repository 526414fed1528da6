"""How fast a day of many models is judged: from their records on disk to decisions, beside Evidently's preset."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.monitoring.records import DAY, draw_records, open_home, prepare
from benchmarks.monitoring.tables import render, write_section
from include.ratchet.spec import ModelKey

ROWS, COLUMNS, MODELS = 10_000, 50, (10, 20, 50)
HISTORIES = (10, 100, 300)
PARTITION = DAY.isoformat()
AS_OF = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(days=1)


def run(options: Namespace) -> None:
    """Measure each number in a process of its own, print and, unless it is only tried, write."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        text = "\n".join([_many(folder, options), _history(folder, options), _wide(folder), _beside(folder, options)])
    print(text)
    if not options.quick:
        write_section("Speed", text)


def judge_models(folder: Path, names: Sequence[str], before: Sequence[str] = ()) -> dict[str, Any]:
    """Profile, compare and judge a day of some models; seconds of wall and of processor by step, and the peak.

    Models of `before` are judged first, so that what a process loads for its first one is not counted.
    """
    from include.ratchet.monitoring import monitor

    workspace = open_home(folder)
    steps: dict[str, Callable[[str], object]] = {
        "profile": lambda name: monitor.profile(workspace, name, ["all"], PARTITION, AS_OF),
        "compare": lambda name: monitor.compare(workspace, name, ["all"], PARTITION),
        "judge": lambda name: monitor.judge(workspace, ModelKey(name), PARTITION),
    }  # fmt: skip
    for name in before:
        for work in steps.values():
            work(name)
    found: dict[str, Any] = dict.fromkeys(steps, 0.0)
    walls = []
    begun, used = time.perf_counter(), time.process_time()
    for name in names:
        start = time.perf_counter()
        for step, work in steps.items():
            already = time.process_time()
            work(name)
            found[step] += time.process_time() - already
        walls.append(time.perf_counter() - start)
    found |= {"wall": time.perf_counter() - begun, "cpu": time.process_time() - used}
    return {**found, "median": statistics.median(walls), "peak_mb": _peak_mb(), "models": len(names)}


def count_reads(folder: Path, name: str) -> list[str]:
    """Partitions of records that a first look reads: its own with all columns, others for labels only."""
    from include.ratchet.monitoring import monitor, observe

    read: list[str] = []
    known = observe.read_partitions  # type: ignore[attr-defined]

    def spy(delta: Any, partitions: Any, *further: Any) -> Any:
        read.extend(partitions)
        return known(delta, partitions, *further)

    observe.read_partitions = spy  # type: ignore[attr-defined, assignment]
    monitor.profile(open_home(folder), name, ["all"], PARTITION, AS_OF)
    return sorted(set(read))


def run_evidently(rows: int, columns: int) -> dict[str, float]:
    """Evidently's preset on the same rows: its statistics alone, its report, and the page as well."""
    import numpy as np
    from evidently import Report
    from evidently.presets import DataDriftPreset

    rng = np.random.default_rng(0)
    names = [f"feature_x{column}" for column in range(columns)]
    reference, current = (draw_records(rng, columns, rows, DAY).select(names).to_pandas() for _ in range(2))
    before = time.process_time()
    _statistics(reference, current)
    statistic = time.process_time() - before
    before = time.process_time()
    snapshot = Report([DataDriftPreset()]).run(current, reference)
    numbers = time.process_time() - before
    snapshot.get_html_str(as_iframe=False)
    page = time.process_time() - before
    return {"statistics": statistic, "report": numbers, "page": page, "peak_mb": _peak_mb()}


def _statistics(reference: Any, current: Any) -> None:
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType

    for name in reference.columns:
        kind = ColumnType.Categorical if reference[name].dtype == object else ColumnType.Numerical
        before, now = reference[name].dropna(), current[name].dropna()
        get_stattest(before, now, kind, None)(before, now, kind, None)


def _many(folder: Path, options: Namespace) -> str:
    """One process over 10, 20 and 50 models, then two processes over the 50."""
    sizes = (4, 8) if options.quick else MODELS
    names = [f"m{one:03d}" for one in range(max(sizes))]
    prepare(folder / "many", names, COLUMNS, ROWS)
    _alone(judge_models, folder / "many", names[:2])
    rows = []
    for size in sizes:
        one = _alone(judge_models, folder / "many", names[:size])
        rows.append([
            size, f"{one['wall']:.2f}", f"{one['cpu']:.2f}",
            *(f"{1000 * one[step] / size:.0f}" for step in ("profile", "compare", "judge")),
            f"{1000 * one['cpu'] / size:.0f}", f"{1000 * one['median']:.0f}", f"{one['peak_mb']:.0f}",
            f"{1000 * one['cpu'] / size:.0f}",
        ])  # fmt: skip
    start = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        both = list(pool.map(judge_models, [folder / "many"] * 2, [names[::2], names[1::2]]))
    wall = max(one["wall"] for one in both)
    head = ["models", "s", "s of processor", "ms a model: profile", "compare", "judge", "together",
            "wall, median", "peak MB", "1,000 models, s of processor"]  # fmt: skip
    return (
        f"A day of {ROWS:,} rows x {COLUMNS} columns for each model, from its Delta table to its decision, one "
        "process; milliseconds of processor time.\n\n" + render(head, rows)
        + f"\nTwo processes, {len(names)} models: {wall:.1f} s of wall clock "
        f"({time.perf_counter() - start:.1f} s with starting Python), {sum(one['cpu'] for one in both):.1f} s of "
        f"processor; 5,000 models: {5000 * wall / len(names):.0f} s of wall clock, "
        f"{5000 * sum(one['cpu'] for one in both) / len(names) / 2:.0f} s of processor on each of two cores.\n"
    )  # fmt: skip


def _history(folder: Path, options: Namespace) -> str:
    """Time of a day after more and more days, and which partitions are read."""
    rows = []
    for days in HISTORIES[: 1 if options.quick else None]:
        place = folder / f"history{days}"
        prepare(place, ["m000"], COLUMNS, ROWS, days)
        read = _alone(count_reads, place, "m000")
        times = [_alone(judge_models, place, ["m000", "m000", "m000"]) for _ in range(2)]
        best = min(times, key=lambda one: one["cpu"])
        late = [key for key in read if key != PARTITION]
        rows.append([days, f"{1000 * best['cpu'] / 3:.0f}", len(read), ", ".join(late) or "none"])
    head = ["days before", "ms of processor for the new day", "partitions of records read", "for late labels"]
    return (
        "History is not read again, but for the days whose labels may still come (without their features); starting "
        "the process is part of the time:\n\n" + render(head, rows)
    )


def _wide(folder: Path) -> str:
    """A wide day, and a long one."""
    rows = []
    for columns, count in ((500, 10_000), (50, 100_000)):
        place = folder / f"wide{columns}"
        prepare(place, ["m000"], columns, count)
        one = min((_alone(judge_models, place, ["m000"] * 3) for _ in range(2)), key=lambda found: found["cpu"])
        rows.append([f"{count:,} x {columns}", f"{one['median']:.2f}", f"{one['cpu'] / 3:.2f}",
                     f"{one['peak_mb']:.0f}"])  # fmt: skip
    head = ["rows x columns", "s, median", "s of processor", "peak MB"]
    return "Wide and long days of one model:\n\n" + render(head, rows)


def _beside(folder: Path, options: Namespace) -> str:
    """Evidently on the same rows and the engine, in turns: the machine is not equally fast all the time.

    What a process loads for its first rows is counted of neither.
    """
    names = [path.name for path in sorted((folder / "many" / "models").iterdir())]
    rows, ratios = [], []
    for turn in range(1 if options.quick else 3):
        found = _alone(run_evidently, ROWS, 10 if options.quick else COLUMNS)
        own = _alone(judge_models, folder / "many", names[1:], names[:1])["cpu"] / (len(names) - 1)
        ratios.append(found["report"] / own)
        rows.append([turn + 1, *(f"{found[name]:.2f}" for name in ("statistics", "report", "page")), f"{own:.3f}",
                     f"{ratios[-1]:.0f}", f"{found['page'] / own:.0f}"])  # fmt: skip
    head = ["turn", "its statistics alone, no report", "`Report.run`, no page", "and the page", "the engine, a model",
            "times as long: no page", "with the page"]  # fmt: skip
    return (
        f"Evidently's `DataDriftPreset` on {ROWS:,} x {COLUMNS} against as many, in memory already (peak "
        f"{found['peak_mb']:.0f} MB), and the engine from disk to decision, in turns; seconds of processor, without "
        f"those of loading either. Median: {statistics.median(ratios):.0f} times as long.\n\n" + render(head, rows)
    )


def _peak_mb() -> float:
    """Most memory that this process held; `getrusage` would count what its parent held before it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()
