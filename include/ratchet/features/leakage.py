"""Proof that features see no future: change everything that became known later, and demand that none moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.errors import LeakageError
from include.ratchet.features.definition import FILE, compile_sql, define
from include.ratchet.features.engine import Engine
from include.ratchet.features.entities import instant, zone_times
from include.ratchet.features.frames import Scorer, training_rows
from include.ratchet.features.inputs import Inputs
from include.ratchet.features.perturbation import perturb_inputs
from include.ratchet.features.schema import PREDICTION, interval, known_columns, source_table, time_order
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey


@dataclass(frozen=True)
class LeakageReport:
    """What was tried without moving a feature.

    Attributes:
        as_of: up to when data was looked at.
        instants: prediction times from which on the data was changed, besides `as_of`.
        features: that were compared.
        rows_compared: rows whose features were computed before and after, over all instants.
        rows_changed: rows of the tables that were changed, gone or new, over all instants.
    """

    as_of: datetime
    instants: tuple[datetime, ...]
    features: tuple[str, ...]
    rows_compared: int
    rows_changed: int


def check_leakage(
    model: Model, inputs: Inputs, *, as_of: datetime, settings: Settings, sample: int = 200, instants: int = 3
) -> LeakageReport:
    """Change what could not be known, and compare features bit by bit.

    Twice over: everything from `as_of` on is changed, and the training rows must stay the same in every column; then,
    for some prediction times, everything from then on is changed (outcomes of the very rows, rows that came later),
    and the features of the rows predicted last by then must stay.

    Args:
        model: whose features.
        inputs: the tables to read.
        as_of: an instant.
        settings: limits of the query engine.
        sample: how many rows are looked at for each prediction time.
        instants: how many prediction times are tried, spread evenly over the rows.

    Raises:
        LeakageError: a feature moved; with the feature, a row, and its values before and after.
    """
    key = ModelKey(model.name)
    before = training_rows(model, key, inputs, as_of=as_of, window_start=None, settings=settings)
    changed, rows_changed = perturb_inputs(model, inputs, as_of, settings=settings)
    after = training_rows(model, key, changed, as_of=as_of, window_start=None, settings=settings)
    _compare(model, before, after, as_of)
    rows_compared = before.num_rows
    chosen = _choose_instants(before, instants)
    with Scorer(model, key, inputs, settings=settings) as scorer:
        for since in chosen:
            rows = _rows_until(model, inputs, since, sample, settings)
            changed, count = perturb_inputs(model, inputs, since, settings=settings)
            with Scorer(model, key, changed, settings=settings) as other:
                _compare(model, scorer.score(rows), other.score(rows), since)
            rows_compared, rows_changed = rows_compared + rows.num_rows, rows_changed + count
    return LeakageReport(as_of, tuple(chosen), tuple(define(model).features), rows_compared, rows_changed)


def _choose_instants(rows: pa.Table, count: int) -> list[datetime]:
    """Prediction times at evenly spread places of the rows."""
    times = rows[PREDICTION].sort()
    places = np.unique([len(times) * (i + 1) // (count + 1) for i in range(count)] if len(times) else [])
    return sorted({times[int(place)].as_py() for place in places})


def _rows_until(model: Model, inputs: Inputs, until: datetime, sample: int, settings: Settings) -> pa.Table:
    """The rows predicted last, up to and including an instant."""
    rows = source_table(model, model.name)
    event = rows[model.spec.event_time]
    rows = rows.filter(event - interval(model.spec.prediction_lead) <= instant(until))
    rows = rows.order_by([rows[column].desc() for column in time_order(model, model.name)]).limit(sample)
    with Engine(settings) as engine:
        engine.bind_inputs(model, inputs)
        found = engine.fetch(compile_sql(rows.select(*known_columns(model))))
    return zone_times(found)


def _compare(model: Model, before: pa.Table, after: pa.Table, since: datetime) -> None:
    if before.equals(after):
        return
    moment = since.isoformat(sep=" ")
    if before.num_rows != after.num_rows or not before.select(model.spec.keys).equals(after.select(model.spec.keys)):
        message = (
            f"{model.name}: the rows to learn from changed from {before.num_rows} to {after.num_rows} when only data "
            f"changed that became available at or after {moment}; expected the same. Look at label.available_time."
        )
        raise LeakageError(message)
    moved = {name: _moved_rows(before[name], after[name]) for name in before.column_names}
    moved = {name: rows for name, rows in moved.items() if len(rows)}
    if moved:
        raise LeakageError(_explain(model, before, after, moved, moment))


def _moved_rows(before: pa.ChunkedArray, after: pa.ChunkedArray) -> Sequence[int]:
    is_same = pc.fill_null(pc.equal(before, after), False)
    is_same = pc.or_(is_same, pc.and_(before.is_null(), after.is_null()))
    if pa.types.is_floating(before.type):
        both = pc.and_(pc.is_nan(before), pc.is_nan(after))
        is_same = pc.or_(is_same, pc.fill_null(both, False))
    rows: Sequence[int] = np.flatnonzero(~is_same.to_numpy()).tolist()
    return rows


def _explain(model: Model, before: pa.Table, after: pa.Table, moved: dict[str, Sequence[int]], moment: str) -> str:
    name, rows = next(iter(moved.items()))
    row = rows[0]
    key = ", ".join(f"{column}={before[column][row].as_py()!r}" for column in model.spec.keys)
    listed = ", ".join(repr(column) for column in moved)
    return (
        f"{model.folder / FILE}: {listed} moved when only data was changed that became available at or after {moment}: "
        f"{name!r} of the row {key}, predicted at {before[PREDICTION][row].as_py().isoformat(sep=' ')}, was "
        f"{before[name][row].as_py()!r} and became {after[name][row].as_py()!r} ({len(rows)} of {before.num_rows} rows "
        "moved); expected no change. Read earlier rows through latest, previous or rolling, which look only at what "
        "was known."
    )
