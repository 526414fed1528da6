"""What is found of changes whose day is known, how soon, and what was raised before there was anything to find."""

from __future__ import annotations

import itertools
import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.monitoring import peers
from benchmarks.monitoring.engine import spec_of, watch
from benchmarks.monitoring.streams import Change, World, draw
from benchmarks.monitoring.tables import render, show_share, write_section

DAY, DAYS, ROWS, COLUMNS = 10, 40, (500, 2_000, 20_000), 12
REPEATS, PEER_REPEATS = 12, 2
CHANGES = {
    "shift of 0.2 sd": Change("shift", 0.2, DAY),
    "shift of 0.5 sd": Change("shift", 0.5, DAY),
    "shift of 1 sd": Change("shift", 1.0, DAY),
    "gradual, to 0.5 sd in 10 days": Change("gradual", 0.5, DAY),
    "recurring, 0.5 sd on 2 of 7 days": Change("recurring", 0.5, DAY),
    "prior, 15 points more positives": Change("prior", 0.15, DAY),
    "concept, 30 % of the relation turned": Change("concept", 0.3, DAY),
    "concept, 10 % of the relation turned": Change("concept", 0.1, DAY),
    "one column constant": Change("constant", 1.0, DAY),
    "one column with 30 % nulls": Change("nulls", 0.3, DAY),
    "one column times 100": Change("unit", 100.0, DAY),
}
_MOVED, _BROKEN = frozenset({"drift", "prediction"}), frozenset({"quality", "drift"})
FITTING = {
    "shift": _MOVED, "gradual": _MOVED, "recurring": _MOVED, "prior": frozenset({"label", "prediction"}),
    "concept": frozenset({"performance"}), "constant": _BROKEN, "nulls": _BROKEN, "unit": _BROKEN,
}  # fmt: skip
"""Kinds of signals that a change should give."""
_COLUMNS = ["evidently any", "evidently preset", "evidently policy", "nannyml any", "nannyml policy",
            "nannyml estimate", "nannyml metric", "river adwin"]  # fmt: skip
_AXES = f"""
Both axes at once, over all these streams. By chance: what a tool would find in the {DAYS - DAY} days after the change
if it went on to alarm as often as in the {DAY} quiet days before; what it tells of the change is what lies beyond.

"""
_AXES_HEAD = ["tool", f"an alarm in {DAY} quiet days", "found", "by chance", "beyond chance"]
Case = tuple[str, int, int]


def run(options: Namespace) -> None:
    """Simulate, print and, unless it is only tried, write."""
    repeats = 2 if options.quick else REPEATS
    cases = list(itertools.product(CHANGES, ROWS, range(repeats)))
    with ProcessPoolExecutor(options.jobs) as pool:
        found = list(pool.map(detect, cases, chunksize=4))
    few = [case for case in cases if case[2] < (0 if options.quick else PEER_REPEATS)]
    alarms = peers.watch_streams([(_world(case), CHANGES[case[0]], _seed(case)) for case in few], options)
    told = dict(zip(few, alarms, strict=True))
    if options.keep:
        Path(options.keep).write_text(json.dumps([found, [[*case, one] for case, one in told.items()]]))
    text = report(found, told)
    print(text)
    if not options.quick:
        write_section("Detection", text)


def detect(case: Case) -> dict[str, Any]:
    """The engine on one stream, with the default spec."""
    name, rows, repeat = case
    change = CHANGES[name]
    seen = watch(draw(_world(case), change, _seed(case)), spec_of())
    fitting = FITTING[change.kind]
    days = [day for day, kinds in enumerate(seen.fired) if kinds & fitting]
    return {
        "change": name, "rows": rows, "repeat": repeat, "retrain": seen.retrain, "cause": list(seen.cause),
        "days": days, "false": any(seen.fired[:DAY]), "incidents": list(seen.incidents),
        "anything": [day for day, kinds in enumerate(seen.fired) if kinds],
    }  # fmt: skip


def report(found: Sequence[Mapping[str, Any]], told: Mapping[Case, peers.Alarms]) -> str:
    """The engine by change and rows, then beside the other tools."""
    head = ["change", "rows a day", "found", "median delay, days", "asks for a retraining", "median day of asking",
            "signal before the change", "retraining before"]  # fmt: skip
    rows = []
    for name, size in itertools.product(CHANGES, ROWS):
        chosen = [one for one in found if one["change"] == name and one["rows"] == size]
        delays = [_delay(one["days"]) for one in chosen]
        asked = [one["retrain"] - DAY for one in chosen if one["retrain"] is not None and one["retrain"] >= DAY]
        early = sum(one["retrain"] is not None and one["retrain"] < DAY for one in chosen)
        rows.append([name, f"{size:,}", *_found(delays), _share(len(asked), len(chosen)), _median(asked),
                     _share(sum(one["false"] for one in chosen), len(chosen)), _share(early, len(chosen))])  # fmt: skip
    return render(head, rows) + (_beside(found, told) if told else "")


def _beside(found: Sequence[Mapping[str, Any]], told: Mapping[Case, peers.Alarms]) -> str:
    """Each tool on the same streams: found, median delay, and streams with an alarm before the change."""
    there = [name for name in _COLUMNS if all(name in one for one in told.values())]
    own = {(one["change"], one["rows"], one["repeat"]): one for one in found}
    tools: dict[str, Mapping[Case, Sequence[int]]] = {
        "engine: any signal": {case: own[case]["anything"] for case in told},
        "engine: a retraining": {case: [day for day in [own[case]["retrain"]] if day is not None] for case in told},
        **{peers.NAMES[tool]: {case: told[case][tool] for case in told} for tool in there},
    }  # fmt: skip
    rows: list[list[object]] = []
    for name in (*CHANGES, None):
        cases = [case for case in told if name in (None, case[0])]
        rows.append([name or "all", *(_cell([days[case] for case in cases]) for days in tools.values())])
    words = (
        f"\nThe same streams, {len(told)} of them: found after day {DAY} / median delay in days / streams with an "
        f"alarm in the {DAY} days before. A tool that always alarms finds everything. The other tools see at most "
        f"{peers.ROWS:,} rows a day.\n\n"
    )
    both = []
    for tool, found_on in tools.items():
        days = list(found_on.values())
        both.append([tool, *_weigh(_early(days), sum(_delay(one) is not None for one in days), len(days))])
    return words + render(["change", *tools], rows) + _AXES + render(_AXES_HEAD, both)


def _weigh(early: int, found: int, of: int) -> list[str]:
    """Of so many streams: with an alarm before the change, found after it, found by chance, and beyond that."""
    chance = 1 - (1 - early / of) ** ((DAYS - DAY) / DAY)
    beyond = found / of - chance
    return [show_share(early, of), show_share(found, of), f"{100 * chance:.0f} %", f"{100 * beyond:.0f} %"]


def _cell(days: Sequence[Sequence[int]]) -> str:
    share, delay = _found([_delay(one) for one in days])
    return f"{share} / {delay} / {_share(_early(days), len(days))}"


def _early(days: Sequence[Sequence[int]]) -> int:
    """Streams with an alarm before the change."""
    return sum(any(day < DAY for day in one) for one in days)


def _delay(days: Sequence[int]) -> int | None:
    after = [day - DAY for day in days if day >= DAY]
    return min(after) if after else None


def _found(delays: Sequence[int | None]) -> tuple[str, str]:
    known = [delay for delay in delays if delay is not None]
    return _share(len(known), len(delays)), _median(known)


def _median(values: Sequence[int]) -> str:
    return f"{np.median(values):g}" if values else "-"


def _share(found: int, of: int) -> str:
    return f"{found / of:.0%}".replace("%", " %") if of else "-"


def _world(case: Case) -> World:
    return World(COLUMNS, case[1], 0.6, 0.1, case[2] % 2 == 1, 90, DAYS)


def _seed(case: Case) -> int:
    return list(CHANGES).index(case[0]) * 10_000 + case[1] + case[2]
