"""From entity rows to features: the joins, the proof that each kept every row, and the expressions over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from include.ratchet.errors import RowCountError
from include.ratchet.features.attach import Attachable, is_in_engine, prepare_joins
from include.ratchet.features.definition import FRAME, Definition
from include.ratchet.features.engine import Engine
from include.ratchet.features.entities import zone_times
from include.ratchet.features.joins import Join
from include.ratchet.features.memory import Probe, prove_rows, side_by_side
from include.ratchet.features.schema import ENTITIES, ROW
from include.ratchet.settings import Settings

_GIVEN = "entities_given"
_FEW = 256
"""Up to so many rows, a result is cheaper by value than as Arrow."""


class Assembly:
    """A definition's history sides, read once, and its expressions, planned once; for any number of entity rows.

    Args:
        engine: evaluates the expressions, and the joins that it must.
        definition: of the features.
        joins: their history sides, ready.
        threads: for work beside the engine.
    """

    def __init__(
        self, engine: Engine, definition: Definition, joins: Sequence[tuple[Join, Attachable]], *, threads: int
    ) -> None:
        self._engine, self._definition, self._threads = engine, definition, threads
        self._entities = engine.open_slot(_GIVEN, definition.entities.schema().to_pyarrow())
        self._frame = engine.open_slot(FRAME, definition.wide.schema().to_pyarrow())
        self._joins = joins
        self._statement = engine.prepare("features", definition.computed_sql)
        self._asks_engine = definition.probe_columns is None or any(is_in_engine(ready) for _, ready in self._joins)

    def assemble(self, entities: pa.Table, leading: Iterable[str]) -> pa.Table:
        """The features of some rows.

        Args:
            entities: the rows, numbered.
            leading: columns of theirs that come first in the result.

        Returns:
            Leading columns, context columns and features, in the order of the rows; instants as timestamp[us, UTC].

        Raises:
            RowCountError: a join lost or multiplied rows.
        """
        self._entities.rows = entities.select(self._entities.rows.column_names)
        if self._asks_engine:
            # A table has a size; of a slot the planner takes none for granted, and joins it row by row.
            self._engine.store(ENTITIES, f"SELECT * FROM {_GIVEN}")  # noqa: S608
        columns = {name: self._entities.rows[name] for name in self._entities.rows.column_names}
        columns |= self._join_columns(self._probe(entities))
        schema = self._frame.rows.schema
        frame = self._frame.rows = pa.table([columns[name] for name in schema.names], schema=schema)
        computed = self._engine.run(self._statement, few=entities.num_rows <= _FEW)
        _prove_order(computed, entities.num_rows)
        plain = self._definition.plain
        result = {name: entities[name] for name in leading}
        for name in (*self._definition.context, *self._definition.features):
            result[name] = frame[plain[name]] if name in plain else computed[name]
        return zone_times(pa.table(result))

    def _join_columns(self, probe: Probe) -> dict[str, pa.Array]:
        """What the joins add, each proved to be one value for each row; those in memory side by side."""
        threads = self._threads if len(probe) > _FEW else 1
        beside = [(join, ready) for join, ready in self._joins if not is_in_engine(ready)]
        results = side_by_side(lambda pair: (pair[0], pair[1].attach(probe)), beside, threads)
        results += [(join, ready.attach(probe)) for join, ready in self._joins if is_in_engine(ready)]
        columns: dict[str, pa.Array] = {}
        for join, found in results:
            for name, column in found.items():
                prove_rows(join.title, len(probe), len(column))
                columns[name] = column
        return columns

    def _probe(self, entities: pa.Table) -> Probe:
        plain = self._definition.probe_columns
        if plain is not None:
            return Probe(entities, plain)
        rows = self._engine.fetch(self._definition.probe_sql)
        return Probe(rows, {name: name for name in rows.column_names})


def open_assembly(engine: Engine, definition: Definition, settings: Settings) -> Assembly:
    """An assembly over an engine with the model's tables bound, within an installation's limits."""
    joins = prepare_joins(engine, definition, settings.duckdb_memory, settings.duckdb_threads)
    return Assembly(engine, definition, joins, threads=settings.duckdb_threads)


def _prove_order(rows: pa.Table, expected: int) -> None:
    """Rows are put side by side by their place: that they kept it is looked at, not assumed."""
    prove_rows("the features", expected, rows.num_rows)
    if not np.array_equal(rows[ROW].to_numpy(), np.arange(expected)):
        message = "the features: rows came back in another order; expected the entity rows' order. Report this."
        raise RowCountError(message)
