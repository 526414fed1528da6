"""Expressions as Spark SQL that means what DuckDB's means.

Ibis compiles for Spark; said differently here is only what would give another value there. Times are naive and in UTC:
a session's `TIMESTAMP` has to be one without a zone.
"""

# ruff: noqa: N802  # a compiler's methods go by its operations

from __future__ import annotations

from typing import Any

import ibis.common.exceptions as ex
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import sqlglot.expressions as sge
from ibis.backends.sql.compilers.base import NULL
from ibis.backends.sql.compilers.pyspark import PySparkCompiler

from include.ratchet.errors import SpecError

# Ibis's compilers are reached through attributes of their own making, of which mypy knows nothing.
_Base: Any = PySparkCompiler


class SparkCompiler(_Base):  # type: ignore[misc]
    """Ibis's compiler for Spark, with DuckDB's answers where the two differ."""

    __slots__ = ()

    def visit_Field(self, op: Any, *, rel: Any, name: str) -> Any:
        """A column as it stands. Ibis asks an option whether NaN is null, which only its connections have."""
        return super(_Base, self).visit_Field(op, rel=rel, name=name)

    def visit_NonNullLiteral(self, op: Any, *, value: Any, dtype: Any) -> Any:
        """A literal: of floats Ibis asks the same option."""
        return None if dtype.is_floating() else super().visit_NonNullLiteral(op, value=value, dtype=dtype)

    def visit_IsNull(self, op: Any, *, arg: Any) -> Any:
        """NaN is no null."""
        return arg.is_(NULL)

    def visit_NotNull(self, op: Any, *, arg: Any) -> Any:
        """NaN is no null."""
        return arg.is_(sge.Not(this=NULL))

    def visit_IsInf(self, op: Any, *, arg: Any) -> Any:
        """Whether a number is infinite: Ibis 12 compares SQL in place of values, and says never."""
        return self.f.abs(arg).eq(self.POS_INF)

    def visit_Cast(self, op: Any, *, arg: Any, to: Any) -> Any:
        """A float becomes the nearest whole number, of two the even one; Spark would cut it off."""
        if op.arg.dtype.is_floating() and to.is_integer():
            arg = self.f.rint(arg)
        return super().visit_Cast(op, arg=arg, to=to)

    def visit_Divide(self, op: Any, *, left: Any, right: Any) -> Any:
        """A number by zero is infinite, zero by zero NaN; Spark would stop."""
        left, right = self.cast(left, dt.float64), self.cast(right, dt.float64)
        return self.if_(right.eq(0), left * self.POS_INF, left / right)

    def visit_ExtractEpochSeconds(self, op: Any, *, arg: Any) -> Any:
        """Seconds since 1970 with their fraction."""
        zoned = sge.Cast(this=arg, to=sge.DataType.build("timestamp_ltz", dialect="spark"))
        return self.cast(self.f.unix_micros(zoned), dt.float64) / self.cast(sge.convert(1_000_000), dt.float64)

    def visit_ScalarUDF(self, op: Any, **values: Any) -> Any:
        """DuckDB's `timezone(zone, time)`, of which `local_time` is made: a time of UTC on the clocks of the zone."""
        if self.__sql_name__(op) != "timezone":
            return super().visit_ScalarUDF(op, **values)
        return self.f.convert_timezone(sge.convert("UTC"), *values.values())


_COMPILER = SparkCompiler()


def compile_spark(expression: ir.Table, where: str) -> str:
    """An expression as Spark's SQL.

    Args:
        expression: over tables by name.
        where: whose it is, for errors.

    Raises:
        SpecError: Spark has no words for it.
    """
    try:
        query = _COMPILER.to_sqlglot(expression.unbind())
    except ex.UnsupportedOperationError as error:
        message = (
            f"{where}: Spark cannot run this: {error} Expected what both backends can do. Say it with latest, "
            "previous, rolling or lookup, or set training.backend to duckdb."
        )
        raise SpecError(message) from error
    return str(query.sql(dialect=_COMPILER.dialect))
