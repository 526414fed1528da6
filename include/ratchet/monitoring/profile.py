"""Profiles: one mergeable summary of each column, partition and segment, so that a row is read once.

Days are added to weeks without reading rows again: counts and moments add up, extremes and the smallest hashes are
taken of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from include.ratchet.data.tables import PARTITION_COLUMN, Table, read_partitions, retry_commits
from include.ratchet.monitoring.binning import Bins, Counts, is_text, to_numbers
from include.ratchet.settings import Settings

Floats = npt.NDArray[np.float64]
HASHES = 64
"""Kept of each column: 64 give the number of distinct values within an eighth, about (Bar-Yossef et al. 2002)."""
_SCHEMA = pa.schema([
    ("segment", pa.string()), ("column", pa.string()), ("bins", pa.string()), ("rows", pa.int64()),
    ("infinite", pa.int64()), ("minimum", pa.float64()), ("maximum", pa.float64()), ("mean", pa.float64()),
    ("squares", pa.float64()), ("hashes", pa.list_(pa.int64())), ("counts", pa.list_(pa.int64())),
    (PARTITION_COLUMN, pa.string()),
])  # fmt: skip


@dataclass(frozen=True)
class ColumnProfile:
    """One column of some rows.

    Attributes:
        bins: id of the bins that it is counted in.
        counts: (n_bins,) rows in each; the last one's are nulls.
        infinite: numbers that are not finite.
        minimum: of the finite numbers; nan if there are none, as of text.
        maximum: the same.
        mean: the same.
        squares: sum of squared distances from the mean.
        hashes: the smallest hashes of its values, ascending, at most `HASHES`.
    """

    bins: str
    counts: Counts
    infinite: int
    minimum: float
    maximum: float
    mean: float
    squares: float
    hashes: npt.NDArray[np.int64]

    @property
    def rows(self) -> int:
        """All of them, nulls included."""
        return int(self.counts.sum())

    @property
    def nulls(self) -> int:
        """Rows without a value."""
        return int(self.counts[-1])

    @property
    def variance(self) -> float:
        """Of the finite numbers, over their count; nan if there are none."""
        finite = self.rows - self.nulls - self.infinite
        return self.squares / finite if finite and self.mean == self.mean else float("nan")

    @property
    def distinct(self) -> int:
        """Different values: exact below `HASHES`, estimated above."""
        if len(self.hashes) < HASHES:
            return len(self.hashes)
        return round((HASHES - 1) / ((float(self.hashes[-1]) + 2.0**63) / 2.0**64))

    def quantile(self, share: float, bins: Bins) -> float:
        """A quantile as far as the bins tell it: linear within a bin, whose ends are its edges or the extremes."""
        values = self.counts[:-1]
        ends = np.r_[self.minimum, np.clip(bins.edges, self.minimum, self.maximum), self.maximum]
        below = np.r_[0, np.cumsum(values)]
        return float(np.interp(share * below[-1], below, ends)) if below[-1] else float("nan")

    def merge(self, other: ColumnProfile) -> ColumnProfile:
        """Both together.

        Raises:
            ValueError: they are counted in different bins.
        """
        if self.bins != other.bins:
            message = f"profiles of bins {self.bins} and {other.bins} cannot be added; profile the rows again"
            raise ValueError(message)
        mine, others = (one.rows - one.nulls - one.infinite for one in (self, other))
        both = mine + others
        with np.errstate(invalid="ignore"):
            means, weights = np.array([self.mean, other.mean]), np.array([mine, others], np.float64)
            mean = float(np.nansum(means * weights) / both) if both and np.isfinite(means).any() else float("nan")
            apart = np.nansum(weights * (means - mean) ** 2)
        return ColumnProfile(
            self.bins, self.counts + other.counts, self.infinite + other.infinite,
            float(np.fmin(self.minimum, other.minimum)), float(np.fmax(self.maximum, other.maximum)), mean,
            float(self.squares + other.squares + apart), np.union1d(self.hashes, other.hashes)[:HASHES],
        )  # fmt: skip


def profile_column(bins: Bins, column: Any) -> ColumnProfile:
    """Read a column once.

    Args:
        bins: to count it in; a column of another kind than theirs counts as null.
        column: an Arrow array.
    """
    wants_text = bins.kind == "category"
    if wants_text != is_text(column.type):
        column = pa.nulls(len(column), pa.string() if wants_text else pa.float64())
    counts = bins.count(column)
    nan = float("nan")
    if wants_text:
        return ColumnProfile(bins.id, counts, 0, nan, nan, nan, 0.0, _smallest(_hash_text(column)))
    values = to_numbers(column)
    finite = values[np.isfinite(values)]
    hashes = _smallest(_hash_numbers(finite))
    infinite = len(values) - len(finite) - int(counts[-1])
    if not len(finite):
        return ColumnProfile(bins.id, counts, infinite, nan, nan, nan, 0.0, hashes)
    mean = float(finite.mean())
    return ColumnProfile(
        bins.id, counts, infinite, float(finite.min()), float(finite.max()), mean,
        float(np.square(finite - mean).sum()), hashes,
    )  # fmt: skip


class ProfileTable(Table):
    """A model's profiles: one row for each partition, segment and column."""

    def __init__(self, settings: Settings, model_name: str) -> None:
        super().__init__(settings, model_name, "profiles")
        self.location = f"{settings.store}/profiles/{model_name}"

    def write(self, profiles: Mapping[tuple[str, str], Mapping[str, ColumnProfile]], keys: Sequence[str]) -> None:
        """Replace the profiles of some segments on some partitions; those of other segments stay.

        Args:
            profiles: by segment and partition, by column.
            keys: of the partitions, also of those that nothing was found of.
        """
        rows = _to_table(profiles)
        segments = pa.array(sorted({segment for segment, _ in profiles}), pa.string())

        def attempt() -> None:
            delta = self.open()
            own = [(PARTITION_COLUMN, "in", list(keys))]
            is_there = delta is not None and delta.file_uris(file_pruning_predicate=own)
            kept = read_partitions(delta, keys) if is_there else None
            if kept is not None:
                kept = kept.filter(pc.invert(pc.is_in(kept["segment"], segments))).select(rows.column_names)
            self.commit(delta, pa.concat_tables([rows, kept.cast(rows.schema)]) if kept is not None else rows, keys,
                        {}, {})  # fmt: skip

        if rows.num_rows:
            retry_commits(attempt, self.name)

    def counts(self, bins: Mapping[str, Mapping[str, Bins]], partitions: Sequence[str]) -> dict[str, Counted]:
        """Counts of some segments' columns on some partitions, read once.

        Args:
            bins: by segment, of each column; what was counted in others is left out.
            partitions: keys, in order.
        """
        delta = self.open()
        found = {segment: _nothing(len(partitions), columns) for segment, columns in bins.items()}
        if delta is None or not partitions or not bins:
            return found
        rows = read_partitions(
            delta,
            partitions,
            [*_PLACE, "counts", "hashes"],
            pads.field("segment").isin(pa.array(list(bins), pa.string())),
        )
        place = {
            (segment, name, one.id): position
            for segment, columns in bins.items() for position, (name, one) in enumerate(columns.items())
        }  # fmt: skip
        day = {key: position for position, key in enumerate(partitions)}
        distinct = pc.list_value_length(rows["hashes"]).to_pylist()
        for row in zip(*(rows[name].to_pylist() for name in _PLACE), rows["counts"].to_pylist(), distinct, strict=True):
            segment, column, counted, partition, counts, values = row
            position = place.get((segment, column, counted))
            if position is not None:
                found[segment][0][day[partition], position, : len(counts)] = counts
                found[segment][1][day[partition], position] = values == 1
        return found

    def columns(self, segment: str, partition: str) -> dict[str, ColumnProfile]:
        """The profiles of a segment's columns on one partition."""
        delta = self.open()
        rows = [] if delta is None else read_partitions(delta, [partition]).to_pylist()
        return {row["column"]: _from_row(row) for row in rows if row["segment"] == segment}


Counted = tuple[Floats, npt.NDArray[np.bool_]]
"""(n_partitions, n_columns, n_bins) counts, 0 where a partition has none, and (n_partitions, n_columns) whether all
values of a column are the same."""
_PLACE = ("segment", "column", "bins", PARTITION_COLUMN)


def _nothing(partitions: int, columns: Mapping[str, Bins]) -> Counted:
    width = max((len(one) for one in columns.values()), default=1)
    return np.zeros((partitions, len(columns), width)), np.zeros((partitions, len(columns)), bool)


def _to_table(profiles: Mapping[tuple[str, str], Mapping[str, ColumnProfile]]) -> pa.Table:
    flat = [
        (segment, partition, name, one)
        for (segment, partition), columns in profiles.items()
        for name, one in columns.items()
    ]
    ones = [one for *_, one in flat]
    columns = [
        [segment for segment, *_ in flat], [name for _, _, name, _ in flat], [one.bins for one in ones],
        [one.rows for one in ones], [one.infinite for one in ones], [one.minimum for one in ones],
        [one.maximum for one in ones], [one.mean for one in ones], [one.squares for one in ones],
        [one.hashes for one in ones], [one.counts for one in ones], [partition for _, partition, *_ in flat],
    ]  # fmt: skip
    return pa.table([pa.array(values, kind.type) for values, kind in zip(columns, _SCHEMA, strict=True)], _SCHEMA)


def _from_row(row: Mapping[str, Any]) -> ColumnProfile:
    minimum, maximum, mean = (
        float("nan") if row[name] is None else row[name] for name in ("minimum", "maximum", "mean")
    )
    return ColumnProfile(
        row["bins"], np.array(row["counts"], np.int64), row["infinite"], minimum, maximum, mean, row["squares"],
        np.array(row["hashes"], np.int64),
    )  # fmt: skip


def _smallest(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """The smallest distinct hashes, as signed numbers in the same order, which tables can hold."""
    # They are spread evenly: this share of the range holds so many of them, if they are all distinct.
    wanted = 4 * HASHES
    while wanted < len(hashes):
        nearest = np.unique(hashes[hashes < np.uint64(2**64 * wanted // len(hashes))])
        if len(nearest) >= HASHES:
            break
        wanted *= 8
    else:
        nearest = np.unique(hashes)
    return (nearest[:HASHES] ^ np.uint64(1 << 63)).view(np.int64)


def _hash_numbers(values: Floats) -> npt.NDArray[np.uint64]:
    """Bits of float64, mixed (SplitMix64, Steele et al. 2014); -0 is 0."""
    mixed = (values + 0.0).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _hash_text(column: Any) -> npt.NDArray[np.uint64]:
    from pandas.util import hash_array

    values = pc.unique(pc.drop_null(pc.cast(column, pa.string()))).to_numpy(zero_copy_only=False)
    return hash_array(values.astype(object), categorize=False)
