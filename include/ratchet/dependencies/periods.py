"""A column over time: what its values were like in each short period, and by which day a period is named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.tables import PARTITION_COLUMN

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
MIN_ROWS = 50
"""A period has at least that many rows: days with fewer are taken together."""
_MOST_VALUES = 200
"""Texts of more different values are told by their shape: letters and digits, not which."""
_FEW_VALUES = 20
"""Whole numbers of no more different values are codes as well."""
_MOST_ROWS = 100_000
"""An even sample of a larger table is as telling."""
MIN_KNOWN = 20
"""Numbers of a period, below which nothing is said of them."""
QUANTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class ColumnPeriods:
    """One column of one table, period after period.

    Attributes:
        name: of the column.
        days: (n_periods,) first day of each.
        missing: (n_periods,) share of rows without a value.
        quantiles: (n_periods, 3) quartiles of the numbers other than 0; nan where there are too few.
        extremes: (n_periods, 2) lowest and highest number.
        at_extremes: (n_periods, 2) share of the numbers that are the lowest, the highest.
        distinct: (n_periods,) different values.
        counts: (n_periods, n_values) rows of each text or code; no column of numbers that are none.
    """

    name: str
    days: tuple[str, ...]
    missing: Floats
    distinct: Floats
    quantiles: Floats | None = field(default=None, repr=False)
    extremes: Floats | None = field(default=None, repr=False)
    at_extremes: Floats | None = field(default=None, repr=False)
    counts: Floats | None = field(default=None, repr=False)

    def until(self, day: str) -> ColumnPeriods:
        """The same without the periods that begin after a day."""
        kept = sum(one <= day for one in self.days)
        parts = (self.quantiles, self.extremes, self.at_extremes, self.counts)
        return ColumnPeriods(self.name, self.days[:kept], self.missing[:kept], self.distinct[:kept],
                             *(None if part is None else part[:kept] for part in parts))  # fmt: skip


def profile_periods(rows: pa.Table, event_time: str) -> Iterator[ColumnPeriods]:
    """Each column of a table by period.

    Times are told by their minutes after the event, and the event's own by the hour of the day, so that a clock that
    was moved shows.

    Args:
        rows: of a landed table, with the technical column.
        event_time: column of it.
    """
    places = np.linspace(0, rows.num_rows - 1, min(rows.num_rows, _MOST_ROWS)).astype(np.int64)
    rows = rows.take(pc.sort_indices(rows[PARTITION_COLUMN]).take(pa.array(places)))
    keys = pc.dictionary_encode(pc.utf8_slice_codeunits(rows[PARTITION_COLUMN].combine_chunks(), 0, 10))
    counted = np.bincount(keys.indices.to_numpy(zero_copy_only=False), minlength=len(keys.dictionary))
    days, starts = cut_periods(dict(zip(keys.dictionary.to_pylist(), counted.tolist(), strict=True)))
    if not days:
        return
    for name in rows.column_names:
        if name != PARTITION_COLUMN:
            yield _profile(name, *_plain(rows, name, event_time), days, starts)


def cut_periods(rows: Mapping[str, int]) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """The first day of each period, and where its rows begin: whole days, until there are enough rows.

    Args:
        rows: of each day, in their order.
    """
    names: list[str] = []
    cuts: list[int] = []
    start = 0
    for day, count in rows.items():
        if not cuts or start - cuts[-1] >= MIN_ROWS:
            names.append(day)
            cuts.append(start)
        start += count
    if len(cuts) > 1 and start - cuts[-1] < MIN_ROWS:
        del names[-1], cuts[-1]
    return tuple(names), np.array(cuts, np.int64)


def _plain(rows: pa.Table, name: str, event_time: str) -> tuple[Floats | None, Codes | None]:
    """A column as numbers (nan where it is missing), as codes of its values (-1 where it is missing), or as both."""
    column = rows[name].combine_chunks()
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        instants = _instants(column)
        if name == event_time:
            hours = instants.astype("datetime64[h]").astype(np.int64) % 24
            return None, np.where(np.isnat(instants), -1, hours)
        apart = (instants - _instants(rows[event_time].combine_chunks())).astype(np.float64) / 60e6
        return np.where(np.isnat(instants), np.nan, apart), None
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        numbers = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
        is_code = pa.types.is_integer(column.type) and pc.count_distinct(column).as_py() <= _FEW_VALUES
        return np.where(np.isfinite(numbers), numbers, np.nan), _encode(column) if is_code else None
    return None, _encode(column if pa.types.is_boolean(column.type) else pc.cast(column, pa.string()))


def _encode(column: pa.Array) -> Codes:
    """A number for each value; of texts of too many values, for each shape."""
    encoded = pc.dictionary_encode(column)
    codes = np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), np.int64)
    values = encoded.dictionary.to_pylist()
    if len(values) <= _MOST_VALUES or not isinstance(values[0], str):
        return codes
    shapes = np.unique([_shape(one) for one in values], return_inverse=True)[1]
    return np.where(codes >= 0, shapes[codes], -1)


def _instants(column: pa.Array) -> npt.NDArray[np.datetime64]:
    return np.asarray(column.to_numpy(zero_copy_only=False)).astype("datetime64[us]")


def _shape(text: str) -> str:
    """`N14228` and `N3ALAA` as `A9` and `A9A`: which kinds of characters follow each other."""
    return _RUNS.sub(r"\1", _LETTERS.sub("A", _DIGITS.sub("9", text[:80])))


_DIGITS, _LETTERS, _RUNS = re.compile(r"\d"), re.compile(r"[^\W\d_]"), re.compile(r"(.)\1+")


def _profile(
    name: str, numbers: Floats | None, codes: Codes | None, days: tuple[str, ...], starts: npt.NDArray[np.int64]
) -> ColumnPeriods:
    counts = None if codes is None else _count(codes, starts)
    if numbers is None:
        counts = np.zeros((len(days), 1)) if counts is None else counts
        sizes = np.diff(np.append(starts, 0 if codes is None else len(codes)))
        distinct = (counts > 0).sum(axis=1).astype(np.float64)
        return ColumnPeriods(name, days, 1 - counts.sum(axis=1) / sizes, distinct, counts=counts)
    missing, distinct = np.ones(len(days)), np.zeros(len(days))
    quantiles, extremes, at = (np.full((len(days), width), np.nan) for width in (3, 2, 2))
    for place, part in enumerate(np.split(numbers, starts[1:])):
        known = np.sort(part[~np.isnan(part)])
        missing[place] = 1 - len(known) / max(len(part), 1)
        if len(known) < MIN_KNOWN:
            continue
        distinct[place] = 1 + np.count_nonzero(np.diff(known))
        extremes[place] = known[0], known[-1]
        at[place] = (known == known[0]).mean(), (known == known[-1]).mean()
        other = known[known != 0]
        if len(other) >= MIN_KNOWN:
            quantiles[place] = np.quantile(other, QUANTILES)
    return ColumnPeriods(name, days, missing, distinct, quantiles, extremes, at, counts)


def _count(codes: Codes, starts: npt.NDArray[np.int64]) -> Floats:
    """(n_periods, n_values) rows of each value."""
    width = int(codes.max(initial=0)) + 1
    periods = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(codes))))
    known = codes >= 0
    cells = np.bincount(periods[known] * width + codes[known], minlength=len(starts) * width)
    return cells.reshape(len(starts), width).astype(np.float64)
