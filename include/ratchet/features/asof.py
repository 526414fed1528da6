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
        # Rows of one instant may come in any order: a search never ends between them.
        self.order = np.argsort(instants)
        self.instants = instants[self.order]

    def count(self, instants: Integers) -> Integers:
        """How many rows were known strictly before each instant."""
        return np.searchsorted(self.instants, instants, "left")


class Values:
    """The values of one key column, numbered; null and unknown values get -1."""

    def __init__(self, column: pa.Array) -> None:
        self._values = pc.unique(column.drop_null())
        self._places: dict[Any, int] | None = None
        self.codes = self.encode(column)

    def __len__(self) -> int:
        return len(self._values)

    def encode(self, column: pa.Array) -> Integers:
        """The numbers of another column's values."""
        if len(column) > _FEW:
            return to_integers(pc.index_in(column, value_set=self._values, skip_nulls=True), -1)
        if self._places is None:
            # Arrow would lay out its table of the values anew at every call.
            self._places = {value: i for i, value in enumerate(self._values.to_pylist())}
        places = self._places
        return np.array([places.get(value, -1) for value in column.to_pylist()], np.int64)


class Codes:
    """Whole numbers for combinations of key values; those that cannot occur get -1.

    Args:
        keys: the key columns' values.
        is_dense: whether the numbers must run from 0 without gaps.
    """

    def __init__(self, keys: Sequence[Values], *, is_dense: bool = False) -> None:
        self.keys = keys
        self._compact: list[Integers | None] = []
        total, size = keys[0].codes, len(keys[0])
        for key in keys[1:]:
            # The numbers of several keys multiply; beside a row number they must fit in 64 bits.
            is_large = size * len(key) * (len(total) + 1) >= 2**62
            self._compact.append(np.unique(total[total >= 0]) if is_large else None)
            size = len(self._compact[-1]) if self._compact[-1] is not None else size
            total, size = _append(_squeeze(total, self._compact[-1]), key.codes, len(key)), size * len(key)
        self._compact.append(np.unique(total[total >= 0]) if is_dense and len(keys) > 1 else None)
        self.codes = _squeeze(total, self._compact[-1])

    def combine(self, codes: Sequence[Integers]) -> Integers:
        """The numbers of other rows, from those of their keys."""
        total = codes[0]
        for key, code, compact in zip(self.keys[1:], codes[1:], self._compact, strict=False):
            total = _append(_squeeze(total, compact), code, len(key))
        return _squeeze(total, self._compact[-1])


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


def _append(total: Integers, code: Integers, size: int) -> Integers:
    return np.where((total >= 0) & (code >= 0), total * size + code, -1)


def _squeeze(total: Integers, compact: Integers | None) -> Integers:
    if compact is None:
        return total
    if not len(compact):
        return np.full(len(total), -1)
    places = np.minimum(np.searchsorted(compact, total), len(compact) - 1)
    return np.where(compact[places] == total, places, -1)


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
