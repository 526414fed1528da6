"""Which way each join runs, in memory or in the query engine, and its columns in the order of the entity rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, eq=False)
class History:
    """Rows in which joins find theirs: read once for all joins that can share them.

    Attributes:
        name: of the first join; unique in a definition.
        expression: the rows, over the model's tables.
        joins: what reads them. Rolling joins over one table share them; every other join has its own.
        names: rolling: what a join takes of them -> the column's name.
    """

    name: str
    expression: ir.Table
    joins: tuple[Join, ...]
    names: Mapping[Any, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """How rows are found."""
        return self.joins[0].kind

    @property
    def known(self) -> str | None:
        """The column that says when a row became known; None of a static table."""
        if self.kind == "rolling":
            return self.names[self.joins[0].values[KNOWN].op()]
        return KNOWN if KNOWN in self.joins[0].values else None

    def prepare(self, rows: pa.Table, threads: int = 1) -> list[tuple[Join, Attachable]]:
        """The joins, ready to find what belongs to entity rows."""
        if self.kind == "rolling":
            return _prepare_rolling(self, rows.combine_chunks(), threads)
        join = self.joins[0]
        if self.kind == "lookup":
            return [(join, LookupJoin(join, rows))]
        return [(join, LatestJoin(join, Timeline(one_chunk(rows, KNOWN)), rows))]


def plan_histories(joins: Iterable[Join]) -> list[History]:
    """What some joins read; a `query` reads for itself."""
    shared: dict[Any, list[Join]] = {}
    for join in joins:
        if join.kind != "query":
            shared.setdefault(join.source.op() if join.kind == "rolling" else join.name, []).append(join)
    return [_plan_rolling(group) if group[0].kind == "rolling" else _plan_single(group[0]) for group in shared.values()]


def prepare_joins(
    engine: Engine, definition: Definition, memory_limit: str, threads: int = 1
) -> list[tuple[Join, Attachable]]:
    """Read the history sides of a definition's joins: those that fit into half the memory limit, to keep them there."""
    budget = memory_bytes(memory_limit) // 2
    sizes = {
        name: engine.count(source_name(name)) for name in {leaf for join in definition.joins for leaf in join.leaves}
    }
    prepared: list[tuple[Join, Attachable]] = []
    fitting = []
    for join in definition.joins:
        rows = sum(sizes[leaf] for leaf in join.leaves)
        # Three words for the search, and each column once as it came and once as it is kept.
        if join.kind == "query" or rows * 8 * (3 + 2 * len(join.values)) > budget:
            prepared.append((join, EngineJoin(join, definition.entities, engine)))
        else:
            fitting.append(join)
    for history in plan_histories(fitting):
        prepared += history.prepare(engine.fetch(compile_sql(history.expression)), threads)
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


def _plan_single(join: Join) -> History:
    rows = join.history
    if join.order:
        rows = rows.order_by([rows[name].asc(nulls_first=False) for name in join.order]).drop(*join.order)
    return History(join.name, rows, (join,))


def _plan_rolling(joins: Sequence[Join]) -> History:
    """All rolling joins over one table: it is read once, sorted by time once, and searched once for each window."""
    names: dict[Any, str] = {}
    values: dict[str, ir.Value] = {}
    for join in joins:
        for value in join.values.values():
            values.setdefault(names.setdefault(value.op(), f"v{len(names)}"), value)
    known = names[joins[0].values[KNOWN].op()]
    rows = joins[0].source.filter(values[known].notnull()).select(**values)
    return History(joins[0].name, rows, tuple(joins), names)


def _prepare_rolling(history: History, rows: pa.Table, threads: int) -> list[tuple[Join, Attachable]]:
    names, joins = history.names, history.joins
    timeline = Timeline(one_chunk(rows, str(history.known)))
    keys = {names[join.values[key].op()] for join in joins for key in join.keys}
    values_of = {name: Values(one_chunk(rows, name)) for name in sorted(keys)}
    terms = {names[join.values[one].op()] for join in joins for one, _ in join.windows.values()}
    terms_of = merge_equal({name: to_integers(one_chunk(rows, name), 0) for name in sorted(terms)})

    def prepare(join: Join) -> tuple[Join, Attachable]:
        own = {one: terms_of[names[join.values[one].op()]] for one, _ in join.windows.values()}
        return join, RollingJoin(join, timeline, [values_of[names[join.values[key].op()]] for key in join.keys], own)

    return side_by_side(prepare, joins, threads)
