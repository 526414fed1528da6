"""Rows with features: for training with labels, and for scoring without."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from types import TracebackType
from typing import Self

import pyarrow as pa

from include.ratchet.errors import RowCountError, SpecError
from include.ratchet.features.definition import Definition, compile_sql, define
from include.ratchet.features.engine import Engine, quote
from include.ratchet.features.entities import GIVEN, complete_rows, given_rows, given_types, labelled_rows
from include.ratchet.features.inputs import Inputs
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
        engine.store(ENTITIES, compile_sql(labelled_rows(model, as_of, window_start)))
        build_histories(engine, definition)
        return join_features(engine, definition, (*_identity(model), LABEL_AVAILABLE, model.spec.label.column))


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
    """Features of rows as they come, over tables that are read once; for serving and replay."""

    def __init__(self, model: Model, key: ModelKey, inputs: Inputs, *, settings: Settings) -> None:
        _check_segment(key)
        self._definition = define(model)
        self._entities = compile_sql(given_rows(model))
        self._engine = Engine(settings)
        self._engine.bind_inputs(model, inputs)
        build_histories(self._engine, self._definition)

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
        self._engine.bind(GIVEN, complete_rows(model, rows), given_types(model))
        self._engine.store(ENTITIES, self._entities)
        return join_features(self._engine, self._definition, _identity(model))


def build_histories(engine: Engine, definition: Definition) -> None:
    """Keep the history sides of all joins."""
    for join in definition.joins:
        if join.history is not None:
            engine.store(join.history_name, compile_sql(join.history))


def join_features(engine: Engine, definition: Definition, leading: Iterable[str]) -> pa.Table:
    """Run the joins over the entity rows, prove that each kept every row, and take the features.

    Args:
        engine: with the tables bound, entity rows and histories kept.
        definition: of the features.
        leading: columns of the entity rows that come first.

    Raises:
        RowCountError: a join lost or multiplied rows.
    """
    expected = engine.count(ENTITIES)
    for join in definition.joins:
        prove_rows(join.title, expected, engine.store(join.name, compile_sql(join.result)))
    first = ", ".join(f"e.{quote(name)}" for name in leading)
    rest = ", ".join(f"f.{quote(name)}" for name in (*definition.context, *definition.features))
    frame = engine.fetch(
        f"SELECT {first}, {rest} FROM {ENTITIES} e JOIN ({compile_sql(definition.frame)}) f "  # noqa: S608
        f"USING ({ROW}) ORDER BY {ROW}"
    )
    prove_rows("the features' joins together", expected, frame.num_rows)
    return _zoned(frame)


def prove_rows(join: str, rows_in: int, rows_out: int) -> None:
    """Stop if a join has not given one row for each it was given.

    Raises:
        RowCountError: naming the join and both counts.
    """
    if rows_in != rows_out:
        what = "lost" if rows_out < rows_in else "multiplied"
        message = (
            f"{join}: {what} rows: {rows_in} in, {rows_out} out; expected as many. "
            "Make the keys of the joined table unique for the columns it is joined on, or join on more of them."
        )
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
