"""How often a fleet raises something while nothing happens, and what it finds, with and without the fleet's control.

Months of single keys are simulated once and made into fleets of many sizes, by drawing keys.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.monitoring.engine import Watched, follow_policy, see, spec_of
from benchmarks.monitoring.streams import Change, World, draw
from benchmarks.monitoring.tables import render, write_section
from include.ratchet.monitoring.control import control
from include.ratchet.monitoring.signals import Look
from include.ratchet.spec import ModelKey

COLUMNS, DAYS = 12, 30
REGIMES = {"days alike (0.6, 0.1 sd)": (0.6, 0.1), "days that wander (0.9, 0.2 sd)": (0.9, 0.2)}
"""Correlation of neighbouring days, and how far they move."""
ROWS = (200, 1_000, 5_000)
SIZES = (1, 50, 500)
CHANGE_DAY = 10
SHIFT = Change("shift", 0.5, CHANGE_DAY)
TURNED = Change("concept", 0.3, CHANGE_DAY)


def run(options: Namespace) -> None:
    """Simulate, print and, unless it is only tried, write."""
    keys, changed = (60, 6) if options.quick else (1_500, 30)
    text = ""
    with ProcessPoolExecutor(options.jobs) as pool:
        for name, (phi, sd) in REGIMES.items():
            quiet = _simulate(pool, phi, sd, Change(), keys)
            shifted, turned = (_simulate(pool, phi, sd, change, changed) for change in (SHIFT, TURNED))
            text += f"Days: {name}; {keys:,} quiet key-months, a fleet is a draw of them.\n\n"
            text += _report_quiet(quiet, options.quick) + "\n"
            changes = {"0.5 sd in a third of the columns": shifted, "30 % of the relation turned": turned}
            text += _report_power(quiet, changes) + "\n"
    print(text)
    if not options.quick:
        write_section("Fleets", text)


def simulate(phi: float, sd: float, change: Change, seed: int) -> list[Look]:
    """A key's month, without what only drawings need."""
    world = World(COLUMNS, ROWS[seed % len(ROWS)], phi, sd, is_seasonal=False, reference_days=90, live_days=DAYS)
    key = ModelKey("stream", f"k{seed}")
    return [replace(look, key=key, numbers={}) for look in see(draw(world, change, seed), spec_of())]


def _simulate(pool: ProcessPoolExecutor, phi: float, sd: float, change: Change, count: int) -> list[list[Look]]:
    offset = {"none": 0, "shift": 100_000, "concept": 200_000}[change.kind]
    arguments = zip(*((phi, sd, change, offset + seed) for seed in range(count)), strict=True)
    return list(pool.map(simulate, *arguments, chunksize=8))


def live(months: Sequence[Sequence[Look]], *, is_controlled: bool) -> list[Watched]:
    """A month of a fleet's keys, each day controlled over all of them."""
    spec = spec_of()
    if is_controlled:
        days = [control(spec.monitoring, [month[day] for month in months]) for day in range(DAYS)]
        months = [[day[position] for day in days] for position in range(len(months))]
    return [follow_policy(spec, month, 90) for month in months]


def _report_quiet(quiet: list[list[Look]], is_quick: bool) -> str:
    rng = np.random.default_rng(0)
    own = live(quiet, is_controlled=False)
    rows = []
    for size in SIZES[: 2 if is_quick else None]:
        fleets = max(3, len(quiet) // size)
        for is_controlled in (False, True):
            if size == 1 and is_controlled:
                continue
            found = []
            for _ in range(1 if size == 1 else fleets):
                chosen = range(len(quiet)) if size == 1 else rng.choice(len(quiet), size, replace=False)
                months = [own[i] for i in chosen]
                if is_controlled:
                    months = live([quiet[i] for i in chosen], is_controlled=True)
                found.append(_count(months))
            incidents, retrains = np.mean(found, axis=0) * (1 / len(quiet) if size == 1 else 1)
            rows.append([size, "yes" if is_controlled else "no", f"{incidents:.3f}", f"{retrains:.3f}",
                         f"{incidents / size:.4f}", f"{retrains / size:.4f}"])  # fmt: skip
    head = ["keys", "controlled", "incidents a fleet-month", "retrainings a fleet-month", "incidents a key-month",
            "retrainings a key-month"]  # fmt: skip
    return render(head, rows)


def _count(months: Sequence[Watched]) -> tuple[int, int]:
    return sum(len(one.incidents) for one in months), sum(one.retrain is not None for one in months)


def _report_power(quiet: list[list[Look]], changed: dict[str, list[list[Look]]]) -> str:
    """Keys that change among those that do not: one of a fleet at a time, a fifth and all of it."""
    size = min(500, len(quiet))
    rows = []
    for what, months in changed.items():
        alone = live(months, is_controlled=False)
        one = [live([month, *quiet[: size - 1]], is_controlled=True)[0] for month in months]
        fifth = (months * size)[: size // 5]
        some, every = (
            live([*changed_keys, *quiet[: size - len(changed_keys)]], is_controlled=True)[: len(months)]
            for changed_keys in (fifth, (months * size)[:size])
        )
        for words, found in (("a model by itself", alone), (f"one key of {size}", one),
                             (f"a fifth of {size}", some), (f"all of {size}", every)):  # fmt: skip
            rows.append([what, words, *_found(found)])
    head = ["change", "where", "incident: found, days", "retraining: found, days"]
    return render(head, rows)


def _found(months: Sequence[Watched]) -> list[Any]:
    cells = []
    incidents = [next((day for day in one.incidents if day >= CHANGE_DAY), None) for one in months]
    for found in (incidents, [one.retrain for one in months]):
        days = [day - CHANGE_DAY for day in found if day is not None and day >= CHANGE_DAY]
        cells.append(f"{len(days) / len(months):.0%}, {np.median(days):g}" if days else "0 %")
    return cells
