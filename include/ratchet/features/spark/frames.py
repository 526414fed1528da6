"""Rows with features out of Spark: as Arrow to go on with, or as files where they would not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ibis.expr.types as ir
import pyarrow as pa

from include.ratchet.features.definition import define
from include.ratchet.features.inputs import Inputs
from include.ratchet.features.memory import prove_rows
from include.ratchet.features.schema import ROW
from include.ratchet.features.spark.assembly import assemble
from include.ratchet.features.spark.session import SparkEngine
from include.ratchet.settings import Settings
from include.ratchet.spec import Model

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def collect_labelled(
    model: Model, inputs: Inputs, rows: ir.Table, leading: Sequence[str], order: Sequence[str], *, settings: Settings
) -> pa.Table:
    """Features of rows that a query finds, brought to this process.

    Args:
        model: whose features.
        inputs: the tables to read.
        rows: the entity rows, as a query over them.
        leading: columns of the entity rows that come first.
        order: columns to sort the result by.
        settings: where Spark is.

    Returns:
        Leading columns, context columns and features; instants are timestamp[us, UTC].

    Raises:
        RowCountError: a join lost or multiplied rows.
    """
    with SparkEngine(settings) as engine:
        engine.bind_inputs(model, inputs)
        found = engine.collect(assemble(engine, define(model), _number(engine, rows), leading))
        prove_rows("the features", engine.count, found.num_rows)
    return found.sort_by([(name, "ascending") for name in order]).drop_columns([ROW])


def write_labelled(
    model: Model, inputs: Inputs, rows: ir.Table, leading: Sequence[str], folder: str, *, settings: Settings
) -> int:
    """Features of rows that a query finds, written by the workers as Parquet, in no order.

    Returns:
        How many rows were written.

    Raises:
        RowCountError: a join lost or multiplied rows; what was written is no result.
    """
    with SparkEngine(settings) as engine:
        engine.bind_inputs(model, inputs)
        written = engine.write(assemble(engine, define(model), _number(engine, rows), leading).drop(ROW), folder)
        prove_rows("the features", engine.count, written)
    return written


def collect_given(
    model: Model, inputs: Inputs, entities: pa.Table, leading: Sequence[str], *, settings: Settings
) -> pa.Table:
    """Features of rows that a caller gives, numbered, in their order.

    Raises:
        RowCountError: a join lost or multiplied rows.
    """
    with SparkEngine(settings) as engine:
        engine.bind_inputs(model, inputs)
        rows = engine.session.createDataFrame(entities)
        found = engine.collect(assemble(engine, define(model), rows, leading))
    prove_rows("the features", entities.num_rows, found.num_rows)
    return found.sort_by(ROW).drop_columns([ROW])


def _number(engine: SparkEngine, rows: ir.Table) -> DataFrame:
    """The rows, each with a number that is its own: one that counted them would need them all in one place."""
    from pyspark.sql import functions as f

    return engine.run(rows, "the entity rows").withColumn(ROW, f.monotonically_increasing_id())
