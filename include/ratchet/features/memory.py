"""Joins run in memory, over whole columns: the way for every history that fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Lock
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from include.ratchet.errors import RowCountError
from include.ratchet.features.asof import Codes, Integers, Layout, Timeline, Values, stable_order, to_integers
from include.ratchet.features.joins import Join
from include.ratchet.features.schema import PREDICTION

_MICROSECOND = timedelta(microseconds=1)
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Sought(Protocol):
    """What the search has to know of a join."""

    @property
    def name(self) -> str:
        """Unique in a plan."""

    @property
    def keys(self) -> Mapping[str, Any]:
        """The history's key columns."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What is taken of a row."""

    @property
    def order(self) -> tuple[str, ...]:
        """Whether the newest row is the one placed last, and not the one known last."""

    @property
    def windows(self) -> Mapping[str, tuple[str, timedelta]]:
        """Column -> (measure, length) of a rolling join."""


class Probe:
    """Entity rows as joins look at them: their keys, and how much was known at their prediction times.

    Args:
        rows: prediction time and the columns that are keys.
        keys: `<join>_<key>` -> the column of `rows`.
    """

    def __init__(self, rows: pa.Table, keys: Mapping[str, str]) -> None:
        self._rows, self._keys = rows, keys
        self._instants = to_integers(one_chunk(rows, PREDICTION), -(2**61))
        self._kept: dict[tuple[int, timedelta | str], Integers] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def encode(self, join: Sought, codes: Codes) -> Integers:
        """The numbers of a join's keys."""
        columns = [self._keys[f"{join.name}_{key}"] for key in join.keys]
        return codes.combine([self._encode(values, column) for values, column in zip(codes.keys, columns, strict=True)])

    def count(self, timeline: Timeline, before: timedelta) -> Integers:
        """How many rows of a table were known some time before each prediction time."""
        return self._keep((id(timeline), before), lambda: timeline.count(self._instants - before // _MICROSECOND))

    def _encode(self, values: Values, column: str) -> Integers:
        return self._keep((id(values), column), lambda: values.encode(one_chunk(self._rows, column)))

    def _keep(self, key: tuple[int, timedelta | str], work: Callable[[], Integers]) -> Integers:
        """Several joins look at the same columns and instants of the same table: once is enough."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = work()
            return self._kept[key]


class RollingJoin:
    """Sums over windows, as differences of running totals.

    Args:
        join: what is asked for.
        timeline: of the history.
        keys: the history's key columns.
        terms: the history's measures; one array may stand under several names.
    """

    def __init__(self, join: Sought, timeline: Timeline, keys: Sequence[Values], terms: Mapping[str, Integers]) -> None:
        self._timeline, self._codes, self._join = timeline, Codes(keys), join
        self._layout = Layout(timeline, self._codes.codes)
        self._windows = {alias: (id(terms[measure]), length) for alias, (measure, length) in join.windows.items()}
        # Over all keys together: only differences within a key are taken, and those hold even if the sum wraps.
        self._totals = {
            id(term): np.concatenate([np.zeros(1, np.int64), np.cumsum(term[self._layout.rows])])
            for term in terms.values()
        }

    def attach(self, probe: Probe) -> dict[str, pa.Array]:
        """The join's columns, in the order of the entity rows."""
        codes = probe.encode(self._join, self._codes)
        order = stable_order(codes)
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        starts = self._layout.starts(codes[order])
        places = {
            length: self._layout.find(starts, probe.count(self._timeline, length)[order])
            for length in {timedelta(0), *(length for _, length in self._windows.values())}
        }
        now = {measure: totals.take(places[timedelta(0)]) for measure, totals in self._totals.items()}
        sums = {
            (measure, length): pa.array((now[measure] - self._totals[measure].take(places[length])).take(back))
            for measure, length in set(self._windows.values())
        }
        return {alias: sums[window] for alias, window in self._windows.items()}


class LatestJoin:
    """The newest row known."""

    def __init__(self, join: Sought, timeline: Timeline, history: pa.Table) -> None:
        self._join, self._timeline, self._history = join, timeline, history.combine_chunks()
        self._codes = Codes([Values(one_chunk(history, key)) for key in join.keys])
        self._layout = Layout(timeline, self._codes.codes)
        self._rows = self._layout.newest() if join.order else self._layout.rows

    def attach(self, probe: Probe) -> dict[str, pa.Array]:
        """The join's columns, in the order of the entity rows; null where nothing was known."""
        codes = probe.encode(self._join, self._codes)
        order = stable_order(codes)
        starts = self._layout.starts(codes[order])
        places = np.empty(len(order), np.int64)
        places[order] = self._layout.find(starts, probe.count(self._timeline, timedelta(0))[order]) - 1
        is_found = (codes >= 0) & (places >= 0)
        is_found[is_found] = self._layout.codes[places[is_found]] == codes[is_found]
        rows = np.zeros(len(order), np.int64)
        rows[is_found] = self._rows[places[is_found]]
        chosen = pa.array(rows, mask=~is_found)
        return {name: one_chunk(self._history, name).take(chosen) for name in self._join.columns}


class LookupJoin:
    """The row of a static table."""

    def __init__(self, join: Join, history: pa.Table) -> None:
        self._join, self._history = join, history.combine_chunks()
        self._codes = Codes([Values(one_chunk(history, key)) for key in join.keys], is_dense=True)
        known = self._codes.codes[self._codes.codes >= 0]
        self._matches = np.bincount(known, minlength=1)
        self._rows = np.zeros(len(self._matches), np.int64)
        self._rows[known] = np.flatnonzero(self._codes.codes >= 0)

    def attach(self, probe: Probe) -> dict[str, pa.Array]:
        """The join's columns, in the order of the entity rows; null without a match.

        Raises:
            RowCountError: a row has several matches.
        """
        codes = probe.encode(self._join, self._codes)
        is_found = codes >= 0
        matches = int(self._matches[codes[is_found]].sum()) + int((~is_found).sum())
        prove_rows(self._join.title, len(probe), matches)
        chosen = pa.array(self._rows[np.where(is_found, codes, 0)], mask=~is_found)
        return {name: one_chunk(self._history, name).take(chosen) for name in self._join.columns}


def prove_rows(join: str, rows_in: int, rows_out: int) -> None:
    """Stop if a join has not given one row for each it was given.

    Raises:
        RowCountError: naming the join and both counts.
    """
    if rows_in != rows_out:
        what = "lost" if rows_out < rows_in else "multiplied"
        message = (
            f"{join}: {what} rows: {rows_in} in, {rows_out} out; expected as many. "
            "Make the keys of the joined table unique for the columns it is joined on, or join on more of them."
        )
        raise RowCountError(message)


def one_chunk(table: pa.Table, name: str) -> pa.Array:
    """A table's column as one array."""
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def side_by_side(work: Callable[[_Item], _Result], items: Sequence[_Item], threads: int) -> list[_Result]:
    """Do the same for several items, in several threads: numpy and Arrow leave each other room."""
    if threads < 2 or len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def merge_equal(columns: Mapping[str, Integers]) -> dict[str, Integers]:
    """The same columns, equal ones as one array: how many labels there are is often how many of another outcome."""
    merged: dict[str, Integers] = {}
    for name, column in columns.items():
        merged[name] = next((known for known in merged.values() if np.array_equal(known, column)), column)
    return merged
