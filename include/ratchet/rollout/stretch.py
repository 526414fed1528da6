"""The records of stages with what became known of them: read once for many model keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from include.ratchet.data.records import RecordTable
from include.ratchet.rollout.labels import Outcomes, read_outcomes, unit_of
from include.ratchet.rollout.state import RolloutState
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, partition_of

UNIT, KEY = "_unit_code", "_key_code"
LABEL, TRUTH, PERSON = "_label_at", "_truth_at", "_person_at"
ROWS = 500_000
"""Held at once, some 200 bytes each; a single key's are held whole."""
_COLUMNS = ("request_id", "row", "segment", "key", "event_time", "prediction_time", "received_at", "latency_ms",
            "version", "route", "mode", "score", "error")  # fmt: skip
_UNROUTED = ("batch", "pinned")
"""Routes that no hand-over chose."""
_PREDICTED = "_predicted_at"
_TIME = pa.timestamp("us", "UTC")
Look = tuple[RolloutState, datetime]
"""A hand-over, and as of when it is looked at."""


@dataclass(frozen=True)
class StageRecords:
    """What was recorded of the present stage of one hand-over.

    Attributes:
        state: of the hand-over.
        as_of: what became known then or later is not in it.
        rows: its records, oldest prediction first. Numbers of what was predicted together and of the row's key are in
            `UNIT` and `KEY`; where its label and a person's answer lie in the outcomes in `LABEL`, `TRUTH` and
            `PERSON`, null if they are not known.
        outcomes: labels and people's answers, of other keys too.
    """

    state: RolloutState
    as_of: datetime
    rows: pa.Table
    outcomes: Outcomes


def read_stages(
    settings: Settings, model: Model, looks: Sequence[Look], *, max_rows: int = ROWS
) -> Iterator[StageRecords]:  # fmt: skip
    """The records of many stages, whatever their order, with one reading for as many keys as memory takes.

    Args:
        settings: of the installation.
        model: whose keys these are.
        looks: hand-overs of different keys, each as of its instant.
        max_rows: of records that are held at once; those of one key are held whole.
    """
    # Those of one instant see the same labels; those that began at one time need the same days.
    ordered = sorted(looks, key=lambda look: (look[1], look[0].stage_since))
    for as_of, group in groupby(ordered, key=lambda look: look[1]):
        states = [state for state, _ in group]
        for part in _parts(settings, model, states, as_of, max_rows):
            yield from _read(settings, model, part, as_of)


def _parts(
    settings: Settings, model: Model, states: Sequence[RolloutState], as_of: datetime, max_rows: int
) -> Iterator[Sequence[RolloutState]]:
    """So many of the hand-overs at a time that their records fit into memory."""
    since = min(state.stage_since for state in states)
    rows = _count(settings, model, since, _end(model, as_of), max_rows) if len(states) > 1 else None
    if rows is None:
        yield states
        return
    part: list[RolloutState] = []
    held = 0
    for state in states:
        own = rows.get(state.key.segment, 0)
        if part and held + own > max_rows:
            yield part
            part, held = [], 0
        part.append(state)
        held += own
    yield part


def _count(settings: Settings, model: Model, start: datetime, end: datetime, max_rows: int) -> dict[str, int] | None:
    """Records of each segment in the days of a stretch; None if all of them together are no more than `max_rows`."""
    table = RecordTable(settings, model, "requests")
    first, last = (partition_of(model.spec, instant).key for instant in (start, end))
    days = {key: rows for key, rows in table.row_counts().items() if first <= key <= last}
    if sum(days.values()) <= max_rows:
        return None
    found: dict[str, int] = {}
    for day in days:
        for one in pc.value_counts(table.read([day], columns=["segment"])["segment"]).to_pylist():
            found[one["values"]] = found.get(one["values"], 0) + one["counts"]
    return found


def _read(
    settings: Settings, model: Model, states: Sequence[RolloutState], as_of: datetime
) -> Iterator[StageRecords]:  # fmt: skip
    segments = pa.array([state.key.segment for state in states], pa.string())
    rows = _read_rows(settings, model, segments, min(state.stage_since for state in states), as_of)
    outcomes = read_outcomes(settings, model, rows, as_of)
    keys = rows["key"].combine_chunks()
    for name, known in ((LABEL, outcomes.labels), (TRUTH, outcomes.truths), (PERSON, outcomes.people)):
        rows = rows.append_column(name, known.locate(keys))
    codes = pc.index_in(rows["segment"], value_set=segments).combine_chunks()
    bounds = np.searchsorted(codes.to_numpy(), np.arange(len(states) + 1))
    for number, state in enumerate(states):
        own = rows.slice(bounds[number], bounds[number + 1] - bounds[number])
        yield StageRecords(state, as_of, _of_stage(own, state), outcomes)


def _read_rows(
    settings: Settings, model: Model, segments: pa.Array, since: datetime, as_of: datetime
) -> pa.Table:  # fmt: skip
    """Routed records of some segments, one after the other, oldest prediction first, with a key in each.

    The key is its own, or its request and row.
    """
    columns = [*_COLUMNS, *(["output"] if model.spec.task == "multiclass" else [])]
    where = pads.field("segment").isin(segments)
    # Half-open times of the event; a row that is predicted ahead of its event counts once it is predicted.
    stretch = (since, max(since, _end(model, as_of)))
    rows = RecordTable(settings, model, "requests").between(*stretch, columns, where)
    rows = rows.append_column(_PREDICTED, pc.coalesce(rows["prediction_time"], rows["event_time"]))
    keep = _all(
        pc.greater_equal(rows[_PREDICTED], pa.scalar(since, _TIME)),
        pc.less(rows[_PREDICTED], pa.scalar(as_of, _TIME)),
        *(pc.not_equal(rows["route"], route) for route in _UNROUTED),
    )
    rows = rows.filter(keep)
    rows = rows.append_column("_segment_code", pc.index_in(rows["segment"], value_set=segments)).sort_by(
        [("_segment_code", "ascending"), ("prediction_time", "ascending"), ("received_at", "ascending")]
    )
    units = unit_of(rows)
    keys = pc.coalesce(rows["key"].combine_chunks(), units)
    rows = rows.set_column(rows.column_names.index("key"), "key", keys)
    codes = {name: pc.dictionary_encode(column).indices for name, column in ((UNIT, units), (KEY, keys))}
    return rows.append_column(UNIT, codes[UNIT]).append_column(KEY, codes[KEY])


def _of_stage(rows: pa.Table, state: RolloutState) -> pa.Table:
    """The records of a hand-over's present stage among those of its key."""
    # What was predicted before the stage began was the stage before's, also if its event came later.
    keep = [pc.greater_equal(rows[_PREDICTED], pa.scalar(state.stage_since, _TIME))]
    if not state.at.is_shadowed:
        # Two groups of keys can be compared only while both were answered.
        keep.append(pc.equal(rows["mode"], state.at.mode))
        # Nor where one group's answers were withheld: acting on them may change what comes true.
        keep.append(pc.not_equal(rows["route"], "holdout"))
    return rows.filter(_all(*keep))


def _end(model: Model, as_of: datetime) -> datetime:
    return as_of + model.spec.prediction_lead + timedelta(microseconds=1)


def _all(*masks: pa.ChunkedArray) -> pa.ChunkedArray:
    """Where each of some masks holds; null counts as no."""
    return pc.fill_null(reduce(pc.and_kleene, masks), False)
