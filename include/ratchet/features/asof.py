"""As-of search in memory: how many rows of a key were known before an instant.

Rows are laid out by key and, within a key, by time; a place in that order is found by binary search over whole
numbers. A probe sorted the same way makes every search but the first walk forward, which is what makes it fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Integers: TypeAlias = npt.NDArray[np.int64]
_FEW = 64
_LONG_AGO = -(2**62)  # far enough from the smallest integer that a window's length can be taken off


class Timeline:
    """The instants at which the rows of a table became known."""

    def __init__(self, known: pa.Array) -> None:
        instants = to_integers(known, _LONG_AGO)
        self.order = stable_order(instants)
        self.instants = instants[self.order]

    def count(self, instants: Integers) -> Integers:
        """How many rows were known strictly before each instant."""
        return np.searchsorted(self.instants, instants, "left")


class Codes:
    """Whole numbers for the values of some key columns; null keys and unknown values get -1.

    Args:
        columns: of the keys.
        is_dense: whether the numbers must run from 0 without gaps.
    """

    def __init__(self, columns: Sequence[pa.Array], *, is_dense: bool = False) -> None:
        self._values = [pc.unique(column.drop_null()) for column in columns]
        self._places: dict[int, dict[Any, int]] = {}
        self._compact: list[Integers | None] = []
        rows = len(columns[0]) + 1
        total, size = self._code(0, columns[0]), len(self._values[0])
        for number in range(1, len(columns)):
            # The numbers of several keys multiply; beside a row number they must fit in 64 bits.
            compact = np.unique(total[total >= 0]) if size * len(self._values[number]) * rows >= 2**62 else None
            self._compact.append(compact)
            total, size = self._squeeze(total, compact), size if compact is None else len(compact)
            total, size = self._append(total, number, columns[number]), size * len(self._values[number])
        self._compact.append(np.unique(total[total >= 0]) if is_dense and len(columns) > 1 else None)
        self.codes = self._squeeze(total, self._compact[-1])

    def encode(self, columns: Sequence[pa.Array]) -> Integers:
        """The codes of other rows."""
        total = self._code(0, columns[0])
        for number in range(1, len(columns)):
            total = self._append(self._squeeze(total, self._compact[number - 1]), number, columns[number])
        return self._squeeze(total, self._compact[-1])

    def _append(self, total: Integers, number: int, column: pa.Array) -> Integers:
        code = self._code(number, column)
        return np.where((total >= 0) & (code >= 0), total * len(self._values[number]) + code, -1)

    def _code(self, number: int, column: pa.Array) -> Integers:
        """A single key's place among its values."""
        if len(column) > _FEW:
            return to_integers(pc.index_in(column, value_set=self._values[number], skip_nulls=True), -1)
        if number not in self._places:
            # Arrow would lay out its table of the values anew at every call.
            self._places[number] = {value: i for i, value in enumerate(self._values[number].to_pylist())}
        places = self._places[number]
        return np.array([places.get(value, -1) for value in column.to_pylist()], np.int64)

    def _squeeze(self, total: Integers, compact: Integers | None) -> Integers:
        if compact is None:
            return total
        if not len(compact):
            return np.full(len(total), -1)
        places = np.minimum(np.searchsorted(compact, total), len(compact) - 1)
        return np.where(compact[places] == total, places, -1)


class Layout:
    """A table's rows by key and time.

    Attributes:
        rows: row number at each place.
        codes: key at each place.
    """

    def __init__(self, timeline: Timeline, codes: Integers) -> None:
        self._timeline = timeline
        self._stride = len(codes) + 1
        by_time = codes[timeline.order]
        order = stable_order(by_time)
        self.rows = timeline.order[order]
        self.codes = by_time[order]
        self._places = self.codes * self._stride + order

    def starts(self, codes: Integers) -> Integers:
        """What to give `find` for some keys."""
        return np.where(codes < 0, -2, codes) * self._stride  # null keys of the table stand at -1

    def find(self, starts: Integers, counts: Integers) -> Integers:
        """The place behind the last row of each key among the first so many rows in time; 0 for an unknown key.

        Fastest with keys in ascending order.
        """
        return np.searchsorted(self._places, starts + counts, "left")

    def newest(self) -> Integers:
        """At each place the row of its key that, of those known by then, has the highest row number."""
        order = self.codes * self._stride + self.rows
        newest: Integers = np.maximum.accumulate(order) - self.codes * self._stride if len(order) else order
        return newest


def stable_order(values: Integers) -> Integers:
    """The permutation that sorts some whole numbers and keeps equals in their order."""
    if not len(values):
        return np.empty(0, np.int64)
    if values.min() >= -1 and values.max() < 2**16 - 1:
        small: Any = (values + 1).astype(np.uint16)  # numpy sorts 16-bit integers by radix
        return np.argsort(small, kind="stable")
    return np.argsort(values, kind="stable")


def to_integers(column: pa.Array, null: int) -> Integers:
    """A whole-number or time column as numpy's int64, with a number for nulls."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us")) if column.type.unit != "us" else column
    filled = column.cast(pa.int64())
    if filled.null_count:
        filled = pc.fill_null(filled, null)
    values: Integers = filled.to_numpy(zero_copy_only=False)
    return values
