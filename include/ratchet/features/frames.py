"""Rows with features: for training with labels, and for scoring without."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from include.ratchet.errors import SpecError
from include.ratchet.features.assembly import open_assembly
from include.ratchet.features.definition import compile_sql, define
from include.ratchet.features.engine import Engine
from include.ratchet.features.entities import labelled_rows, number_rows
from include.ratchet.features.inputs import Inputs
from include.ratchet.features.schema import LABEL_AVAILABLE, PREDICTION
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
        assembly = open_assembly(engine, definition, settings)
        return assembly.assemble(entities, (*_identity(model), LABEL_AVAILABLE, model.spec.label.column))


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


class Scorer(RowScorer):
    """Features of rows as they come, over tables that are read once; for batches and replay."""

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
