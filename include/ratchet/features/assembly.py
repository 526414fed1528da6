"""From entity rows to features: the joins, the proof that each kept every row, and the expressions over them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from include.ratchet.errors import RowCountError
from include.ratchet.features.attach import EngineJoin, prepare_joins
from include.ratchet.features.definition import FRAME, Definition
from include.ratchet.features.engine import Engine
from include.ratchet.features.memory import Probe, prove_rows
from include.ratchet.features.schema import ENTITIES, ROW

_GIVEN = "entities_given"
_FEW = 256
"""Up to so many rows, a result is cheaper by value than as Arrow."""


class Assembly:
    """A definition's history sides, read once, and its expressions, compiled once; for any number of entity rows.

    Args:
        engine: with the model's tables bound.
        definition: of the features.
        memory_limit: of what half may be held beside the engine, in DuckDB's words.
    """

    def __init__(self, engine: Engine, definition: Definition, memory_limit: str) -> None:
        self._engine, self._definition = engine, definition
        self._entities = engine.open_slot(_GIVEN, definition.entities.schema().to_pyarrow())
        self._frame = engine.open_slot(FRAME, definition.wide.schema().to_pyarrow())
        self._joins = prepare_joins(engine, definition, memory_limit)
        self._statement = engine.prepare("features", definition.frame_sql, definition.frame.schema().to_pyarrow())
        is_in_engine = any(isinstance(ready, EngineJoin) for _, ready in self._joins)
        self._asks_engine = is_in_engine or definition.probe_columns is None

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
        probe = Probe(self._probe_rows(entities))
        columns = {name: self._entities.rows[name] for name in self._entities.rows.column_names}
        for join, ready in self._joins:
            for name, column in ready.attach(probe).items():
                prove_rows(join.title, entities.num_rows, len(column))
                columns[name] = column
        schema = self._frame.rows.schema
        self._frame.rows = pa.table([columns[name] for name in schema.names], schema=schema)
        features = self._engine.run(self._statement, few=entities.num_rows <= _FEW)
        _prove_order(features, entities.num_rows)
        result = {name: entities[name] for name in leading}
        result |= {name: features[name] for name in (*self._definition.context, *self._definition.features)}
        return _zoned(pa.table(result))

    def _probe_rows(self, entities: pa.Table) -> pa.Table:
        plain = self._definition.probe_columns
        if plain is None:
            return self._engine.fetch(self._definition.probe_sql)
        return pa.table({name: entities[column] for name, column in plain.items()})


def _prove_order(rows: pa.Table, expected: int) -> None:
    """Rows are put side by side by their place: that they kept it is looked at, not assumed."""
    prove_rows("the features", expected, rows.num_rows)
    if not np.array_equal(rows[ROW].to_numpy(), np.arange(expected)):
        message = "the features: rows came back in another order; expected the entity rows' order. Report this."
        raise RowCountError(message)


def _zoned(frame: pa.Table) -> pa.Table:
    """Naive UTC times as what they are, one chunk a column."""
    fields = [
        pa.field(field.name, pa.timestamp("us", tz="UTC") if pa.types.is_timestamp(field.type) else field.type)
        for field in frame.schema
    ]
    return frame.cast(pa.schema(fields)).combine_chunks()
