"""Rolling counts, sums and means over what became known in a window before the prediction time.

Everything is summed in whole numbers, floats in fixed point: integer addition has no order, so that a batch, a single
row and any number of threads agree to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis.common.deferred import Deferred

from include.ratchet.errors import SpecError
from include.ratchet.features.requests import On, Request, pick, read_pairs, require_time, resolve
from include.ratchet.spec import parse_duration


@dataclass(frozen=True)
class Window:
    """A rolling sum: of a whole-number measure (an Ibis operation over the history), over a length of time."""

    measure: Any
    over: timedelta


class Rolling:
    """Rows that became known in `[prediction time - over, prediction time)`, by some key."""

    def __init__(self, table: ir.Table, by: On, over: str | timedelta) -> None:
        require_time(table, "rolling")
        self._table = table
        self._request = Request("rolling", table, read_pairs(by))
        try:
            self._over = parse_duration(over)
        except ValueError as error:
            message = f"features.py: rolling: over: found {over!r}; {error}"
            raise SpecError(message) from error

    def count(self, value: str | Deferred | None = None) -> Deferred:
        """How many rows, or how many with a value; 0 where there is none. int64."""
        if value is None:
            return self._sum(ibis.literal(1, "int64"))
        return self._sum(self._resolve(value).notnull().cast("int64"))

    def sum(self, value: str | Deferred, *, digits: int = 6) -> Deferred:
        """The sum of a column or expression; null without a value. float64, exact to `digits` decimals a term."""
        measure, scale = self._measure(value, digits)
        total = self._sum(measure).cast("float64") / float(scale)
        return ibis.ifelse(self.count(value) > 0, total, ibis.null("float64"))

    def mean(self, value: str | Deferred, *, digits: int = 6) -> Deferred:
        """The mean of a column or expression, of a boolean its share; null without a value. float64.

        Args:
            value: a boolean, whole or floating number; nulls, NaN and infinities do not count.
            digits: decimals that are kept of each float. Fewer leave room for larger numbers: the sum of a key's
                whole history, in units of the last decimal, must stay below 9.2e18.
        """
        measure, scale = self._measure(value, digits)
        count = self.count(value).nullif(0).cast("float64")
        # One division of whole numbers that are exact as floats: by the scale first, it would round twice.
        return self._sum(measure).cast("float64") / (count * float(scale) if scale != 1 else count)

    def _sum(self, measure: ir.Value) -> Deferred:
        return pick(self._request, Window(measure.op(), self._over))

    def _measure(self, value: str | Deferred, digits: int) -> tuple[ir.Value, int]:
        column = self._resolve(value)
        if column.type().is_floating():
            scale = 10**digits
            return (column * float(scale)).round().cast("int64"), scale
        return column.cast("int64"), 1

    def _resolve(self, value: str | Deferred) -> ir.Value:
        column = resolve(value, self._table, "features.py: rolling")
        kind = column.type()
        if kind.is_floating():
            return ibis.ifelse(column.isnan() | column.isinf(), ibis.null("float64"), column.cast("float64"))
        if not (kind.is_boolean() or kind.is_integer()):
            message = f"features.py: rolling: {value!r} is {kind}; expected a boolean or a number"
            raise SpecError(message)
        return column


def rolling(table: ir.Table, by: On, over: str | timedelta) -> Rolling:
    """Counts, sums and means over the rows of a table that became known in a window before the prediction time.

    Args:
        table: one of the model's tables with a history, whole, filtered or with columns computed.
        by: which rows belong to an entity row, as `on` of `latest`.
        over: length of the window, such as `7d`. It counts by available time: a flight counts from its landing on.

    Raises:
        SpecError: the table has no history, or the length cannot be read.
    """
    return Rolling(table, by, over)
