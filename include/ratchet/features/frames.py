"""Rows with features: for training with labels, and for scoring without."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

from include.ratchet.errors import RowCountError, SpecError
from include.ratchet.features.attach import Attachable, prepare_joins
from include.ratchet.features.definition import FRAME, Definition, compile_sql, define
from include.ratchet.features.engine import Engine
from include.ratchet.features.entities import complete_rows, labelled_rows, number_rows
from include.ratchet.features.inputs import Inputs
from include.ratchet.features.joins import Join
from include.ratchet.features.memory import Probe, prove_rows
from include.ratchet.features.schema import ENTITIES, LABEL_AVAILABLE, PREDICTION, ROW
from include.ratchet.settings import Settings
from include.ratchet.spec import WHOLE, Model, ModelKey


def feature_names(model: Model) -> tuple[str, ...]:
    """The names of a model's features, in declared order."""
    return tuple(define(model).features)


def context_names(model: Model) -> tuple[str, ...]:
    """Columns of a frame for slices, fairness and baselines that are no features, in their order."""
    return define(model).context


def feature_query(model: Model) -> str:
    """The whole definition of a model's features as text; equal texts compute equal features from equal tables."""
    return define(model).query


def training_rows(
    model: Model,
    key: ModelKey,
    inputs: Inputs,
    *,
    as_of: datetime,
    window_start: datetime | None,
    settings: Settings,
) -> pa.Table:
    """The labelled rows that a model may learn from at an instant, with their features.

    Known means known strictly before: a row is taken if its event time lies in `[window_start, as_of)` and its label
    is there and became available before `as_of`; its features see what became available before its prediction time.

    Args:
        model: whose rows.
        key: the model's segment.
        inputs: the tables to read.
        as_of: nothing that became available at or after it is read.
        window_start: first event time; None takes all.
        settings: limits of the query engine.

    Returns:
        Keys, event time, `_prediction_time`, `_label_available_time`, label, context columns, then the features in
        declared order; sorted by event time and keys; instants are timestamp[us, UTC].

    Raises:
        RowCountError: a join lost or multiplied rows.
    """
    definition = define(model)
    _check_segment(key)
    with Engine(settings) as engine:
        engine.bind_inputs(model, inputs)
        entities = number_rows(engine.fetch(compile_sql(labelled_rows(model, as_of, window_start))))
        joins = prepare_joins(engine, definition, settings.duckdb_memory)
        leading = (*_identity(model), LABEL_AVAILABLE, model.spec.label.column)
        return join_features(engine, definition, joins, entities, leading)


def scoring_rows(model: Model, key: ModelKey, inputs: Inputs, rows: pa.Table, *, settings: Settings) -> pa.Table:
    """Features of given rows: the same definition, bit for bit the same values as in `training_rows`.

    Args:
        model: whose rows.
        key: the model's segment.
        inputs: the tables to read.
        rows: keys, event time and the columns known at prediction time; others are ignored.
        settings: limits of the query engine.

    Returns:
        Keys, event time, `_prediction_time`, context columns and features, in the order of `rows`.

    Raises:
        RowCountError: a join lost or multiplied rows.
        SchemaChangedError: a column that must not be null is missing.
    """
    with Scorer(model, key, inputs, settings=settings) as scorer:
        return scorer.score(rows)


class Scorer:
    """Features of rows as they come, over tables that are read once; for serving and replay. One thread at a time."""

    def __init__(self, model: Model, key: ModelKey, inputs: Inputs, *, settings: Settings) -> None:
        _check_segment(key)
        self._definition = define(model)
        self._engine = Engine(settings)
        self._engine.bind_inputs(model, inputs)
        self._joins = prepare_joins(self._engine, self._definition, settings.duckdb_memory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the tables."""
        self._engine.close()

    def score(self, rows: pa.Table) -> pa.Table:
        """Features of some rows, in their order; see `scoring_rows`."""
        model = self._definition.model
        return join_features(self._engine, self._definition, self._joins, complete_rows(model, rows), _identity(model))


def join_features(
    engine: Engine,
    definition: Definition,
    joins: Sequence[tuple[Join, Attachable]],
    entities: pa.Table,
    leading: Iterable[str],
) -> pa.Table:
    """Run the joins over the entity rows, prove that each kept every row, and compute the features.

    Args:
        engine: with the tables bound.
        definition: of the features.
        joins: of the definition, prepared.
        entities: the entity rows, numbered.
        leading: columns of the entity rows that come first in the result.

    Raises:
        RowCountError: a join lost or multiplied rows.
    """
    with engine.lend(ENTITIES, entities):
        plain = definition.probe_columns
        looked_at = {name: entities[ours] for name, ours in plain.items()} if plain else None
        probe = Probe(pa.table(looked_at) if looked_at else engine.fetch(definition.probe_sql))
        frame = entities
        for join, ready in joins:
            columns = ready.attach(probe)
            for name, column in columns.items():
                prove_rows(join.title, entities.num_rows, len(column))
                frame = frame.append_column(name, column)
    with engine.lend(FRAME, frame):
        features = engine.fetch(definition.frame_sql)
    _prove_order(features, entities.num_rows)
    columns = {name: entities[name] for name in leading}
    columns |= {name: features[name] for name in (*definition.context, *definition.features)}
    return _zoned(pa.table(columns))


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


def _check_segment(key: ModelKey) -> None:
    if key.segment != WHOLE:
        message = f"{key}: found segment {key.segment!r}; expected {WHOLE!r}, as the spec declares no segments"
        raise SpecError(message)


def _identity(model: Model) -> tuple[str, ...]:
    return (*model.spec.keys, model.spec.event_time, PREDICTION)
