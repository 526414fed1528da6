"""Which way each join runs, in memory or in the query engine, and its columns in the order of the entity rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from include.ratchet.features.asof import Timeline, Values, to_integers
from include.ratchet.features.definition import Definition, compile_sql
from include.ratchet.features.engine import Engine
from include.ratchet.features.joins import KNOWN, Join
from include.ratchet.features.memory import (
    LatestJoin,
    LookupJoin,
    Probe,
    RollingJoin,
    merge_equal,
    one_chunk,
    prove_rows,
    side_by_side,
)
from include.ratchet.features.relational import history_name, join_history, keep_history
from include.ratchet.features.schema import ROW, source_name

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class Attachable(Protocol):
    """A join whose history side is ready."""

    def attach(self, probe: Probe) -> dict[str, pa.Array]:
        """Its columns, in the order of the entity rows."""


class EngineJoin:
    """A join that the query engine runs, spilling to disk what does not fit in memory."""

    def __init__(self, join: Join, entities: ir.Table, engine: Engine) -> None:
        self._engine, self._title = engine, join.title
        if join.kind != "query":
            engine.store(history_name(join), compile_sql(keep_history(join)))
        self._query = compile_sql(join_history(join, entities).order_by(ROW))
        self._types = {**dict.fromkeys(join.columns), **dict.fromkeys(join.windows, pa.int64())}

    def attach(self, probe: Probe) -> dict[str, pa.Array]:
        """The join's columns, in the order of the entity rows.

        Raises:
            RowCountError: it lost or multiplied rows.
        """
        result = self._engine.fetch(self._query)
        prove_rows(self._title, len(probe), result.num_rows)
        prove_rows(self._title, len(probe), len(np.unique(result[ROW].to_numpy())))
        columns = {name: one_chunk(result, name) for name in self._types}
        return {name: column.cast(self._types[name] or column.type) for name, column in columns.items()}


def prepare_joins(
    engine: Engine, definition: Definition, memory_limit: str, threads: int = 1
) -> list[tuple[Join, Attachable]]:
    """Read the history sides of a definition's joins: those that fit into half the memory limit, to keep them there."""
    budget = memory_bytes(memory_limit) // 2
    sizes = {
        name: engine.count(source_name(name)) for name in {leaf for join in definition.joins for leaf in join.leaves}
    }
    prepared: list[tuple[Join, Attachable]] = []
    shared: dict[Any, list[Join]] = {}
    for join in definition.joins:
        rows = sum(sizes[leaf] for leaf in join.leaves)
        # Three words for the search, and each column once as it came and once as it is kept.
        if join.kind == "query" or rows * 8 * (3 + 2 * len(join.values)) > budget:
            prepared.append((join, EngineJoin(join, definition.entities, engine)))
        elif join.kind == "lookup":
            prepared.append((join, LookupJoin(join, engine.fetch(compile_sql(join.history)))))
        elif join.kind == "latest":
            prepared.append((join, _prepare_latest(engine, join)))
        else:
            shared.setdefault(join.source.op(), []).append(join)
    for joins in shared.values():
        prepared += _prepare_rolling(engine, joins, threads)
    return prepared


def is_in_engine(ready: Attachable) -> bool:
    """Whether a join is run by the query engine, which takes one query at a time."""
    return isinstance(ready, EngineJoin)


def memory_bytes(limit: str) -> int:
    """What a memory limit in DuckDB's words is in bytes: `2GB`, `512 MiB`.

    Raises:
        ValueError: it is not understood.
    """
    match = re.fullmatch(r"([\d.]+)\s*([KMGT]?)(i?)B?", limit.strip(), re.IGNORECASE)
    if match is None:
        message = f"duckdb_memory: found {limit!r}; expected a number and a unit, such as 2GB"
        raise ValueError(message)
    number, unit, binary = match.groups()
    size = _UNITS[unit.upper()]
    return int(float(number) * (1024 ** (len(str(size)) // 3) if binary else size))


def _prepare_latest(engine: Engine, join: Join) -> LatestJoin:
    history = join.history
    if join.order:
        history = history.order_by([history[name].asc(nulls_first=False) for name in join.order]).drop(*join.order)
    rows = engine.fetch(compile_sql(history))
    return LatestJoin(join, Timeline(one_chunk(rows, KNOWN)), rows)


def _prepare_rolling(engine: Engine, joins: Sequence[Join], threads: int) -> list[tuple[Join, Attachable]]:
    """All rolling joins over one table: it is read once, sorted by time once, and searched once for each window."""
    names: dict[Any, str] = {}
    values: dict[str, ir.Value] = {}
    for join in joins:
        for value in join.values.values():
            values.setdefault(names.setdefault(value.op(), f"v{len(names)}"), value)
    known = names[joins[0].values[KNOWN].op()]
    rows = engine.fetch(compile_sql(joins[0].source.filter(values[known].notnull()).select(**values)))
    rows = rows.combine_chunks()
    timeline = Timeline(one_chunk(rows, known))
    keys = {names[join.values[key].op()] for join in joins for key in join.keys}
    values_of = {name: Values(one_chunk(rows, name)) for name in sorted(keys)}
    terms = {names[join.values[one].op()] for join in joins for one, _ in join.windows.values()}
    terms_of = merge_equal({name: to_integers(one_chunk(rows, name), 0) for name in sorted(terms)})

    def prepare(join: Join) -> tuple[Join, Attachable]:
        own = {one: terms_of[names[join.values[one].op()]] for one, _ in join.windows.values()}
        return join, RollingJoin(join, timeline, [values_of[names[join.values[key].op()]] for key in join.keys], own)

    return side_by_side(prepare, joins, threads)
