"""How often nothing happens and something is raised: 1,008 model-months of 30 looks each, over a grid of worlds."""

from __future__ import annotations

import itertools
import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.monitoring import peers
from benchmarks.monitoring.engine import spec_of, watch
from benchmarks.monitoring.streams import Change, World, draw
from benchmarks.monitoring.tables import render, show_share, write_section

REGIMES = ((0.0, 0.0), (0.0, 0.05), (0.0, 0.2), (0.5, 0.1), (0.7, 0.05), (0.9, 0.1), (0.9, 0.2))
"""Correlation of neighbouring days, and how far days move, in standard deviations of a column."""
COLUMNS, ROWS, REFERENCES = (10, 50, 200), (200, 1_000, 10_000, 100_000), (60, 90, 180)
REPEATS = 2
_FACTORS: dict[str, Callable[[dict[str, Any]], object]] = {
    "days": lambda one: f"correlation {one['phi']}, sd {one['sd']}",
    "week": lambda one: "season" if one["is_seasonal"] else "none",
    "columns": lambda one: one["columns"],
    "rows a day": lambda one: f"{one['rows']:,}",
    "reference days": lambda one: one["reference_days"],
}


def run(options: Namespace) -> None:
    """Simulate, print and, unless it is only tried, write."""
    worlds = list(_worlds(1 if options.quick else REPEATS))
    worlds = worlds[::12] if options.quick else worlds
    with ProcessPoolExecutor(options.jobs) as pool:
        found = list(pool.map(simulate, worlds, range(len(worlds)), chunksize=4))
    if options.keep:
        Path(options.keep).write_text(json.dumps(found))
    text = report(found)
    others = peers.watch_quiet(worlds, options)
    text += peers.report_quiet(others, found)
    print(text)
    if not options.quick:
        write_section("False alarms", text)


def simulate(world: World, seed: int) -> dict[str, Any]:
    """One model-month, judged by the engine with the default spec."""
    seen = watch(draw(world, Change(), seed), spec_of())
    kinds = sorted({kind for day in seen.fired for kind in day})
    return {
        **asdict(world), "seed": seed, "retrain": seen.retrain is not None, "cause": list(seen.cause), "kinds": kinds,
        "incidents": len(seen.incidents), "subjects": sorted({one for day in seen.subjects for one in day})[:20],
    }  # fmt: skip


def report(found: list[dict[str, Any]]) -> str:
    """Tables over each factor and in all."""
    head = ["what", "level", "model-months", "ask for a retraining", "open an incident", "incidents a month"]
    rows = [_row("all", "", found)]
    for name, level in _FACTORS.items():
        for value in dict.fromkeys(level(one) for one in found):
            rows.append(_row(name, value, [one for one in found if level(one) == value]))
    kinds = sorted({kind for one in found for kind in one["kinds"]})
    by_kind = [
        [kind, show_share(sum(kind in one["kinds"] for one in found), len(found)),
         show_share(sum(kind in one["cause"] for one in found), len(found))] for kind in kinds
    ]  # fmt: skip
    return render(head, rows) + "\n" + render(["signal", "fired at least once", "led to a retraining"], by_kind)


def _row(name: str, level: object, chosen: list[dict[str, Any]]) -> list[object]:
    retrained, alerted = (sum(bool(one[what]) for one in chosen) for what in ("retrain", "incidents"))
    mean = sum(one["incidents"] for one in chosen) / max(len(chosen), 1)
    return [name, level, len(chosen), show_share(retrained, len(chosen)), show_share(alerted, len(chosen)),
            f"{mean:.2f}"]  # fmt: skip


def _worlds(repeats: int) -> Iterator[World]:
    cells = itertools.product(range(repeats), REGIMES, (False, True), COLUMNS, ROWS, REFERENCES)
    for _, (phi, sd), is_seasonal, columns, rows, days in cells:
        yield World(columns, rows, phi, sd, is_seasonal, days)
