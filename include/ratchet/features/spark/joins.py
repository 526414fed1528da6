"""Joins on Spark: entity rows and history come together by a hash of their keys, and workers search their shares.

A share has to fit in a worker's memory, and so has the history of any one key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ibis.expr.types as ir
import pyarrow as pa

from include.ratchet.features.joins import Join
from include.ratchet.features.relational import history_name, join_history, keep_history
from include.ratchet.features.schema import PREDICTION, ROW
from include.ratchet.features.spark.search import Search, send_along
from include.ratchet.features.spark.session import SparkEngine, sql_type, widen

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, GroupedData


def run_join(engine: SparkEngine, join: Join, entities: ir.Table) -> DataFrame:
    """A join's columns for the entity rows, by row number; not run yet.

    Args:
        engine: with the model's tables and the entity rows.
        join: what is asked for.
        entities: the entity rows, by name.
    """
    if join.kind in {"lookup", "query"}:
        if join.kind == "lookup":
            engine.run(keep_history(join), join.title).createOrReplaceTempView(history_name(join))
        return engine.run(join_history(join, entities), join.title)
    probe = engine.run(entities.select(ROW, PREDICTION, **join.keys), join.title)
    # A null key belongs to nothing, and may be most of a table.
    history = engine.run(join.history.drop_null(list(join.keys)), join.title)
    search = Search.of(join)
    send_along()

    def find(entities: pa.Table, history: pa.Table) -> pa.Table:
        return search.find(entities, history)

    columns = [f"{name} {sql_type(join.values[name].type())}" for name in join.columns]
    schema = ", ".join([f"{ROW} bigint", *columns, *(f"{name} bigint" for name in join.windows)])
    left, right = (_divide(widen(rows), list(join.keys), engine.shares) for rows in (probe, history))
    return left.cogroup(right).applyInArrow(find, schema)


def _divide(rows: DataFrame, keys: Sequence[str], shares: int) -> GroupedData:
    from pyspark.sql import functions as f

    return rows.groupBy(f.pmod(f.hash(*keys), f.lit(shares)))
