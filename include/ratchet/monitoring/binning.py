"""Bins: how a column's values are counted, fixed by the reference, so that counts of any days can be added.

The last bin is of nulls. Numbers fall between edges (infinite ones into the outermost bins), text into one bin for each
frequent value and one for all others, which is where unseen values are found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Counts = npt.NDArray[np.int64]
Kind = Literal["number", "category"]
MAX_BINS = 20
"""Of numbers by quantiles; a column with no more distinct values has a bin for each."""
MAX_CATEGORIES = 50
_SAMPLE = 200_000


@dataclass(frozen=True)
class Bins:
    """The bins of one column.

    Attributes:
        kind: of its values.
        edges: (n_edges,) ascending; a number belongs to the bin after the last edge below it. Empty of text.
        categories: of text, the values with a bin of their own. Empty of numbers.
        middles: (n_bins - 1,) mean of the reference's numbers in each bin; empty of text.
    """

    kind: Kind
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    middles: tuple[float, ...] = ()

    def __len__(self) -> int:
        """Number of bins, that of nulls and that of other values included."""
        return (len(self.edges) + 2) if self.kind == "number" else (len(self.categories) + 2)

    @property
    def labels(self) -> tuple[str, ...]:
        """What each bin is called."""
        if self.kind == "category":
            return (*self.categories, "other", "null")
        inner = [f"{low:g} to {high:g}" for low, high in zip(self.edges, self.edges[1:], strict=False)]
        outer = (f"up to {self.edges[0]:g}", f"above {self.edges[-1]:g}") if self.edges else ("any", "")
        return (outer[0], *inner, *([outer[1]] if self.edges else []), "null")

    @cached_property
    def id(self) -> str:
        """Names them by their content; counts with the same id can be added."""
        content = [self.kind, [edge.hex() for edge in self.edges], self.categories]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def count(self, column: Any) -> Counts:
        """Rows in each bin, (n_bins,)."""
        return self._count_numbers(to_numbers(column)) if self.kind == "number" else self._count_text(column)

    def codes(self, column: Any) -> npt.NDArray[np.intp]:
        """The bin of each row, (n_rows,)."""
        if self.kind == "category":
            found = pc.index_in(_to_text(column), value_set=pa.array(self.categories, pa.string()))
            codes = pc.fill_null(found, len(self.categories)).to_numpy(zero_copy_only=False).astype(np.intp)
            codes[pc.is_null(column).to_numpy(zero_copy_only=False)] = len(self) - 1
            return codes  # type: ignore[no-any-return]
        values = to_numbers(column)
        codes = np.searchsorted(self._edges, values, side="left")
        codes[np.isnan(values)] = len(self) - 1
        return codes

    def _count_numbers(self, values: npt.NDArray[np.float64]) -> Counts:
        # A pass for each edge is a quarter of the time of a binary search for each value, which no processor foresees.
        nulls = np.count_nonzero(np.isnan(values))
        above = [np.count_nonzero(values > edge) for edge in self.edges]
        beyond = np.array([len(values) - nulls, *above, 0], np.int64)
        return np.append(beyond[:-1] - beyond[1:], nulls)

    def _count_text(self, column: Any) -> Counts:
        return np.bincount(self.codes(column), minlength=len(self))

    @cached_property
    def _edges(self) -> npt.NDArray[np.float64]:
        return np.asarray(self.edges, np.float64)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Bins:
        """The bins back from their JSON form."""
        return cls(content["kind"], *(tuple(content[name]) for name in ("edges", "categories", "middles")))


def make_bins(column: Any) -> Bins:
    """Bins of a reference's column: equal shares of its numbers, or its frequent texts.

    Args:
        column: an Arrow array of any type that `is_countable` says yes to.
    """
    if is_text(column.type):
        return _of_text(column)
    values = to_numbers(column)
    values = values[np.isfinite(values)]
    if len(values) > _SAMPLE:
        values = values[np.linspace(0, len(values) - 1, _SAMPLE).astype(np.intp)]
    distinct = np.unique(values)
    if len(distinct) <= MAX_BINS:
        edges = (distinct[:-1] + distinct[1:]) / 2
    else:
        edges = np.unique(np.quantile(values, np.arange(1, MAX_BINS) / MAX_BINS))
    return Bins("number", tuple(edges.tolist()), middles=_middles(values, edges))


def is_countable(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type can be counted in bins."""
    return is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def to_numbers(column: Any) -> npt.NDArray[np.float64]:
    """Values as float64, nan where there is none, (n_rows,)."""
    floats = column if pa.types.is_float64(column.type) else pc.cast(column, pa.float64())
    return floats.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _middles(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> tuple[float, ...]:
    codes = np.searchsorted(edges, values, side="left")
    rows = np.bincount(codes, minlength=len(edges) + 1)
    sums = np.bincount(codes, values, minlength=len(edges) + 1)
    ends = np.r_[edges, edges[-1:]] if len(edges) else np.zeros(1)
    # An empty bin stands at its edge, so that the middles ascend.
    return tuple(np.where(rows > 0, sums / np.maximum(rows, 1), ends).tolist())


def _of_text(column: Any) -> Bins:
    counted = pc.value_counts(pc.drop_null(_to_text(column)))
    found = sorted(counted.to_pylist(), key=lambda one: (-one["counts"], one["values"]))
    return Bins("category", categories=tuple(one["values"] for one in found[:MAX_CATEGORIES]))


def _to_text(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, pa.string())
    return column if pa.types.is_string(column.type) else pc.cast(column, pa.string())


def is_text(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type are texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))
