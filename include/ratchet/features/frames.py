"""Rows with features: for training with labels, and for scoring without."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include.ratchet.errors import SpecError
from include.ratchet.features.assembly import open_assembly
from include.ratchet.features.definition import compile_sql, define
from include.ratchet.features.engine import Engine
from include.ratchet.features.entities import complete_rows, labelled_rows, number_rows
from include.ratchet.features.inputs import Inputs
from include.ratchet.features.schema import LABEL_AVAILABLE, PREDICTION, time_order
from include.ratchet.features.scorer import RowScorer
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
    rule = model.spec.label.annotations
    settled = f"\n-- labels\n{rule.model_dump_json(exclude={'review'})}" if rule else ""
    return define(model).query + settled


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
    rows, order = labelled_rows(model, as_of, window_start), time_order(model, model.name)
    leading = _labelled(model)
    if is_on_spark(model):
        from include.ratchet.features.spark.frames import collect_labelled

        return collect_labelled(model, inputs, rows, leading, order, settings=settings)
    with Engine(settings) as engine:
        engine.bind_inputs(model, inputs)
        entities = number_rows(engine.fetch(compile_sql(rows.order_by(order))))
        return open_assembly(engine, definition, settings).assemble(entities, leading)


def write_training_rows(
    model: Model,
    key: ModelKey,
    inputs: Inputs,
    folder: Path,
    *,
    as_of: datetime,
    window_start: datetime | None,
    settings: Settings,
) -> int:
    """The rows of `training_rows` as Parquet in a folder that must not be there yet.

    With Spark its workers write them, in no order and never in this process: the folder is then one that all see.

    Returns:
        How many rows were written.

    Raises:
        RowCountError: a join lost or multiplied rows; what was written is no result.
    """
    if is_on_spark(model):
        from include.ratchet.features.spark.frames import write_labelled

        _check_segment(key)
        rows = labelled_rows(model, as_of, window_start)
        return write_labelled(model, inputs, rows, _labelled(model), str(folder), settings=settings)
    found = training_rows(model, key, inputs, as_of=as_of, window_start=window_start, settings=settings)
    folder.mkdir(parents=True)
    pq.write_table(found, folder / "rows.parquet")
    return int(found.num_rows)


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
    if is_on_spark(model):
        from include.ratchet.features.spark.frames import collect_given

        _check_segment(key)
        return collect_given(model, inputs, complete_rows(model, rows), _identity(model), settings=settings)
    with Scorer(model, key, inputs, settings=settings) as scorer:
        return scorer.score(rows)


def is_on_spark(model: Model) -> bool:
    """Whether Spark computes a model's training rows."""
    return model.spec.training.backend == "spark"


class Scorer(RowScorer):
    """Features of rows as they come, over tables that are read once; for batches and replay. Always by DuckDB."""

    def __init__(self, model: Model, key: ModelKey, inputs: Inputs, *, settings: Settings) -> None:
        _check_segment(key)
        engine = Engine(settings)
        engine.bind_inputs(model, inputs)
        super().__init__(model, engine, open_assembly(engine, define(model), settings))


def _check_segment(key: ModelKey) -> None:
    if key.segment != WHOLE:
        message = f"{key}: found segment {key.segment!r}; expected {WHOLE!r}, as the spec declares no segments"
        raise SpecError(message)


def _identity(model: Model) -> tuple[str, ...]:
    return (*model.spec.keys, model.spec.event_time, PREDICTION)


def _labelled(model: Model) -> tuple[str, ...]:
    return (*_identity(model), LABEL_AVAILABLE, model.spec.label.column)
