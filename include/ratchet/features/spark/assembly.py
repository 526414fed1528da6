"""From entity rows to features on Spark: the plan of one machine, put together as one query."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

import ibis
import ibis.expr.types as ir

from include.ratchet.features.definition import FRAME, Definition
from include.ratchet.features.joins import Join
from include.ratchet.features.memory import prove_rows
from include.ratchet.features.schema import ENTITIES, LABEL_AVAILABLE, ROW, TIMESTAMP, column_types
from include.ratchet.features.spark.joins import run_join
from include.ratchet.features.spark.session import SparkEngine

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def assemble(engine: SparkEngine, definition: Definition, entities: DataFrame, leading: Sequence[str]) -> DataFrame:
    """The features of some rows, not computed yet.

    Args:
        engine: with the model's tables.
        definition: of the features.
        entities: the rows, each with a number of its own.
        leading: columns of theirs that come first in the result.

    Returns:
        `_row`, leading columns, context columns and features, in no order.

    Raises:
        RowCountError: a join lost or multiplied rows.
    """
    count = engine.keep(ENTITIES, entities)
    found = [_run_proved(engine, join, definition.entities, count) for join in definition.joins]
    wide = reduce(lambda left, right: left.join(right, ROW), found, engine.session.table(ENTITIES))
    wide.createOrReplaceTempView(FRAME)
    return engine.run(_lead(definition, leading), f"{definition.model.name}: features")


def _run_proved(engine: SparkEngine, join: Join, entities: ir.Table, count: int) -> DataFrame:
    """A join's columns; what an author's query or static table makes of the rows is looked at first."""
    found = run_join(engine, join, entities)
    if join.kind in {"lookup", "query"}:
        prove_rows(join.title, count, found.count())
        prove_rows(join.title, count, found.select(ROW).distinct().count())
    return found


def _lead(definition: Definition, leading: Sequence[str]) -> ir.Table:
    """The features' expressions, behind columns of the entity rows."""
    model = definition.model
    own = {**column_types(model, model.name), LABEL_AVAILABLE: TIMESTAMP}
    types = {name: own[name] for name in leading if name not in definition.wide.columns}
    wide = ibis.table({**dict(definition.wide.schema().items()), **types}, name=FRAME)
    frame = definition.frame.op().replace({definition.wide.op(): wide.op()})
    values = {name: value.to_expr() for name, value in frame.values.items()}
    row = values.pop(ROW)
    return wide.select(row, *leading, **values)
