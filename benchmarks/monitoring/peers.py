"""Other tools on rows of the same streams, each with its own defaults.

Evidently runs here: the statistics of `DataDriftPreset`, chosen by its own rule, without the report. NannyML and river
run in the environment that `--peers` names, in `peers_child.py`, on the same rows from Parquet files.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.monitoring.engine import LATE
from benchmarks.monitoring.streams import Change, Stream, World, draw, draw_rows, kind_of
from benchmarks.monitoring.tables import render, show_share

COLUMNS, ROWS, REFERENCE_ROWS = 12, 2_000, 5_000
"""Of a stream, at most, that the other tools are given: they are slow."""
QUIET = 24
"""Model-months of the grid that the other tools see."""
WEIGHT, STREAK = 0.2, 3
"""The engine's own rule, put on the other tools: such a share of the columns, so many days in a row."""
NAMES = {
    "evidently any": "Evidently: any column",
    "evidently preset": "Evidently: preset (half of the columns)",
    "evidently policy": "Evidently with the engine's rule",
    "nannyml any": "NannyML univariate: any column",
    "nannyml policy": "NannyML univariate with the engine's rule",
    "nannyml estimate": "NannyML CBPE (estimated ROC AUC)",
    "nannyml metric": "NannyML realised ROC AUC",
    "river adwin": "river ADWIN (errors of rows)",
}
Alarms = dict[str, list[int]]
"""By tool: the live days on which it alarms."""


def frames_of(stream: Stream, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the test days and of the live days, with the number of their day since the first test day."""
    world = stream.world
    first = world.reference_days - world.test_days
    parts = []
    for day in range(first, len(stream.rows)):
        rows = draw_rows(stream, day, ROWS, min(COLUMNS, world.columns), seed)
        parts.append(pd.DataFrame({**rows, "day": day - first}))
    whole = pd.concat(parts, ignore_index=True)
    is_live = whole["day"] >= world.test_days
    return whole[~is_live], whole[is_live]


def watch_evidently(reference: pd.DataFrame, live: pd.DataFrame) -> Alarms:
    """Each live day against a sample of the test days, by Evidently's own choice of statistic and threshold."""
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType

    reference = reference.sample(min(REFERENCE_ROWS, len(reference)), random_state=0)
    columns = [name for name in reference.columns if name.startswith("x")]
    kinds = [ColumnType.Categorical if kind_of(one) == "category" else ColumnType.Numerical
             for one in range(len(columns))]  # fmt: skip
    known = [reference[name].dropna() for name in columns]
    # Its choice depends on the reference's rows and on how many values there are, which no day changes.
    tests = [get_stattest(before, before, kind, None) for before, kind in zip(known, kinds, strict=True)]
    flags = [
        [bool(test(before, today[name].dropna(), kind, None).drifted)
         for name, before, kind, test in zip(columns, known, kinds, tests, strict=True)]
        for _, today in live.groupby("day")
    ]  # fmt: skip
    return _by_rule("evidently", np.array(flags)) | {
        "evidently preset": np.flatnonzero(np.mean(flags, axis=1) >= 0.5).tolist()
    }


def watch_streams(streams: Sequence[tuple[World, Change, int]], options: Namespace) -> list[Alarms]:
    """Alarms of every tool that is there on some streams, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / str(position) for position in range(len(streams))]
        with ProcessPoolExecutor(options.jobs) as pool:
            found = list(pool.map(_prepare, streams, places, chunksize=2))
        if options.peers:
            with ThreadPoolExecutor(options.jobs) as threads:
                others = [places[start :: options.jobs] for start in range(options.jobs)]
                list(threads.map(lambda part: _call(options.peers, part), others))
            for one, place in zip(found, places, strict=True):
                told = json.loads((place / "alarms.json").read_text())
                one |= _by_rule("nannyml", np.array(told.pop("flags"), bool)) | told
    return found


def watch_quiet(worlds: Sequence[World], options: Namespace) -> dict[int, Alarms]:
    """Alarms on a part of the grid without change, by the position in it."""
    rng = np.random.default_rng(0)
    chosen = sorted(rng.choice(len(worlds), min(8 if options.quick else QUIET, len(worlds)), replace=False).tolist())
    found = watch_streams([(worlds[one], Change(), one) for one in chosen], options)
    return dict(zip(chosen, found, strict=True))


def report_quiet(others: Mapping[int, Alarms], own: Sequence[Mapping[str, Any]]) -> str:
    """The other tools beside the engine on the same model-months."""
    same = [own[position] for position in others]
    rows = [
        ["the engine: a retraining", show_share(sum(one["retrain"] for one in same), len(same)), "",],
        ["the engine: an incident", show_share(sum(one["incidents"] > 0 for one in same), len(same)),
         f"{np.mean([one['incidents'] for one in same]):.1f} incidents"],
    ]  # fmt: skip
    for name, words in NAMES.items():
        told = [one[name] for one in others.values() if name in one]
        if told:
            rows.append([words, show_share(sum(bool(one) for one in told), len(told)),
                         f"{np.mean([len(one) for one in told]):.1f} days"])  # fmt: skip
    head = ["tool", "model-months with an alarm", "alarms a month"]
    words = (
        f"The same streams, a part of them ({len(others)} model-months), drawn as rows for the other tools: at most "
        f"{COLUMNS} columns and {ROWS:,} rows a day; their reference is the test days (Evidently: a sample of "
        f"{REFERENCE_ROWS:,} rows of them). The engine's rule put on another tool: {WEIGHT:.0%} of the columns, "
        f"{STREAK} days in a row.\n\n"
    )
    is_whole = any("nannyml any" in one for one in others.values())
    return "\n" + words + render(head, rows) + ("" if is_whole else "\nNannyML and river: `--peers` not given.\n")


def _prepare(one: tuple[World, Change, int], place: Path) -> Alarms:
    """Rows of a stream into files, and Evidently's alarms on them."""
    world, change, seed = one
    reference, live = frames_of(draw(world, change, seed), seed)
    place.mkdir()
    reference.to_parquet(place / "reference.parquet")
    live.to_parquet(place / "live.parquet")
    return watch_evidently(reference, live)


def _by_rule(tool: str, flags: np.ndarray[Any, np.dtype[np.bool_]]) -> Alarms:
    """Days on which any column is flagged, and days that the engine's rule would ask for a retraining on."""
    is_much = flags.mean(axis=1) >= WEIGHT
    lasting = [day for day in range(STREAK - 1, len(flags)) if is_much[day - STREAK + 1 : day + 1].all()]
    return {f"{tool} any": np.flatnonzero(flags.any(axis=1)).tolist(), f"{tool} policy": lasting}


def _call(python: str, places: Sequence[Path]) -> None:
    script = Path(__file__).with_name("peers_child.py")
    line = [python, str(script), str(LATE), *map(str, places)]
    # NannyML reports its use to its makers unless it is told not to.
    quiet = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1"}
    done = subprocess.run(line, check=False, capture_output=True, text=True, env=quiet)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
