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
    """Whole numbers for the values of some key columns; null keys and unknown values get -1."""

    def __init__(self, columns: Sequence[pa.Array]) -> None:
        self._values = [pc.unique(column.drop_null()) for column in columns]
        self._places: dict[int, dict[Any, int]] = {}
        self._compact: Integers | None = None
        raw = self._combine(columns)
        if len(columns) > 1:
            # Products of many values would not fit beside a row number in 64 bits.
            self._compact = np.unique(raw[raw >= 0])
        self.codes = self._compress(raw)

    def encode(self, columns: Sequence[pa.Array]) -> Integers:
        """The codes of other rows."""
        return self._compress(self._combine(columns))

    def _combine(self, columns: Sequence[pa.Array]) -> Integers:
        total = np.zeros(len(columns[0]), np.int64)
        is_known = np.ones(len(columns[0]), bool)
        for number, (values, column) in enumerate(zip(self._values, columns, strict=True)):
            if len(column) <= _FEW:
                places = self._place_of(number)
                found = np.array([places.get(value, -1) for value in column.to_pylist()], np.int64)
            else:
                found = to_integers(pc.index_in(column, value_set=values, skip_nulls=True), -1)
            is_known &= found >= 0
            total = total * max(len(values), 1) + found
        return np.where(is_known, total, -1)

    def _place_of(self, number: int) -> dict[Any, int]:
        """A key column's values by value: Arrow would lay out its table of them anew at every call."""
        if number not in self._places:
            self._places[number] = {value: i for i, value in enumerate(self._values[number].to_pylist())}
        return self._places[number]

    def _compress(self, raw: Integers) -> Integers:
        if self._compact is None:
            return raw
        if not len(self._compact):
            return np.full(len(raw), -1)
        places = np.minimum(np.searchsorted(self._compact, raw), len(self._compact) - 1)
        return np.where(self._compact[places] == raw, places, -1)


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

    def find(self, codes: Integers, counts: Integers) -> Integers:
        """The place behind the last row of each key among the first so many rows in time; 0 for an unknown key.

        Fastest with keys in ascending order.
        """
        wanted = np.where(codes < 0, -2, codes) * self._stride + counts  # null keys of the table stand at -1
        return np.searchsorted(self._places, wanted, "left")

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
