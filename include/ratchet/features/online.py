"""Features for a service: out of what histories can still matter, without the tables that they come from.

A history keeps, of each join, the rows that a prediction from `reach_from` on can see: of a rolling join those within
its longest window, of a latest join the newest of each key and all after, of a lookup everything. A prediction over
them has the bits of one over the whole tables, as both run the same code over the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from include.ratchet.errors import SpecError
from include.ratchet.features.asof import to_integers
from include.ratchet.features.assembly import Assembly
from include.ratchet.features.attach import History, plan_histories
from include.ratchet.features.definition import Definition, compile_sql, define
from include.ratchet.features.engine import Engine
from include.ratchet.features.inputs import Inputs
from include.ratchet.features.memory import one_chunk
from include.ratchet.features.scorer import RowScorer
from include.ratchet.settings import Settings
from include.ratchet.spec import Model

MEMORY_LIMIT = "256MB"
"""Of the engine that evaluates a few rows' expressions."""
EVER = datetime.min.replace(tzinfo=UTC)
"""Where histories reach from that are kept whole, or of which there are none."""


@dataclass(frozen=True)
class Histories:
    """What a model's online features are computed from.

    Attributes:
        definition: hash of the features' definition; another one needs other histories.
        known_until: what became available before this instant is in them.
        reach_from: the earliest prediction time that they serve; `EVER` without a history that changes in time.
        rows: by the name of the history.
    """

    definition: str
    known_until: datetime
    reach_from: datetime
    rows: Mapping[str, pa.Table]


def definition_hash(model: Model) -> str:
    """Equal for models whose histories are interchangeable."""
    return hashlib.sha256(define(model).query.encode()).hexdigest()


def build_histories(model: Model, inputs: Inputs, known_until: datetime, *, settings: Settings) -> Histories:
    """Take out of the landed tables what online features need.

    Args:
        model: whose features.
        inputs: the tables to read.
        known_until: rows that became available at or after it are left out.
        settings: limits of the query engine.

    Raises:
        SpecError: a feature is a `query`, of which nobody can say what it reads.
    """
    definition = define(model)
    _refuse_queries(definition)
    planned = plan_histories(definition.joins)
    changes = any(history.known is not None for history in planned)
    reach_from = known_until - model.spec.serving.online.reach if changes else EVER
    with Engine(settings) as engine:
        engine.bind_inputs(model, inputs)
        rows = {
            history.name: _restrict(history, engine.fetch(compile_sql(history.expression)), reach_from, known_until)
            for history in planned
        }
    return Histories(definition_hash(model), known_until, reach_from, rows)


class OnlineScorer(RowScorer):
    """Features of rows as they come, over histories."""

    def __init__(self, model: Model, histories: Histories, *, settings: Settings) -> None:
        self.histories = histories
        definition = define(model)
        joins = [
            pair
            for history in plan_histories(definition.joins)
            for pair in history.prepare(histories.rows[history.name])
        ]
        engine = Engine(replace(settings, duckdb_memory=MEMORY_LIMIT, duckdb_threads=1))
        super().__init__(model, engine, Assembly(engine, definition, joins, threads=1))


def _refuse_queries(definition: Definition) -> None:
    titles = [join.title for join in definition.joins if join.kind == "query"]
    if titles:
        message = (
            f"{definition.model.folder / 'features.py'}: {titles[0]}: nothing says which rows a query will read, so "
            "that it cannot be served online; expected latest, previous, lookup or rolling. Use these, or score "
            "in batch."
        )
        raise SpecError(message)


def _restrict(history: History, rows: pa.Table, reach_from: datetime, known_until: datetime) -> pa.Table:
    """The rows that predictions from `reach_from` on can see, in their order."""
    rows = rows.combine_chunks()
    if history.known is None:
        return rows
    known = to_integers(one_chunk(rows, history.known), -(2**61))
    longest = max(
        (length for join in history.joins for _, length in join.windows.values()), default=reach_from - reach_from
    )
    recent = known >= _micros(reach_from - longest)
    if history.kind == "latest":
        recent |= _newest_before(rows, list(history.joins[0].keys), known, _micros(reach_from))
    return rows.filter(pa.array(recent & (known < _micros(known_until))))


def _newest_before(rows: pa.Table, keys: list[str], known: np.ndarray, instant: int) -> np.ndarray:
    """Whether a row is one of those that could be its key's newest at an instant: the last placed, or last known."""
    before = np.flatnonzero(known < instant)
    kept = np.zeros(len(known), dtype=bool)
    if len(before) == 0:
        return kept
    early = rows.take(pa.array(before)).select(keys)
    early = early.append_column("__place", pa.array(before)).append_column("__known", pa.array(known[before]))
    last = early.group_by(keys, use_threads=False).aggregate([("__place", "max"), ("__known", "max")])
    kept[last["__place_max"].to_numpy()] = True
    # Rows that are not put into an order are told apart by when they became known, and no two of a key at once.
    joined = early.join(last, keys, join_type="inner", use_threads=False)
    same = joined["__known"].to_numpy() == joined["__known_max"].to_numpy()
    kept[joined["__place"].to_numpy()[same]] = True
    return kept


def _micros(moment: datetime) -> int:
    """Microseconds since 1970, in whole numbers: a float of seconds would not hold every one of them."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
