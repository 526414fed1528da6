"""How many rows partitions of the trailing weeks had, and how many the next may therefore have."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from include.ratchet.spec import Model, Partition, partition_of

_MIN_HISTORY = 7
"""Below a week of days the range says little: a Monday is no Sunday."""


class RowRange(NamedTuple):
    """The fewest and most rows a partition may have; no upper bound without history."""

    low: int
    high: int | None


class RowHistory:
    """The row counts of a table's partitions, in order of time."""

    def __init__(self, model: Model, table: str, counts: Mapping[str, int]) -> None:
        """Take the rows of each partition, by its key."""
        spec = model.spec.table(table)
        self._quality = spec.quality
        self._is_static = spec.is_static
        dated = [] if spec.is_static else sorted((partition_of(model.spec, key).start, n) for key, n in counts.items())
        self._starts = [start for start, _ in dated]
        self._rows = [rows for _, rows in dated]

    def find_range(self, partition: Partition) -> RowRange:
        """The range of the trailing weeks' row counts, widened by the spec's tolerance; at least one row."""
        first = partition.start - timedelta(weeks=self._quality.row_count_weeks) if not self._is_static else None
        begin = bisect.bisect_left(self._starts, first) if first is not None else 0
        trailing = self._rows[begin : bisect.bisect_left(self._starts, partition.start)]
        if len(trailing) < _MIN_HISTORY:
            return RowRange(1, None)
        tolerance = self._quality.row_count_tolerance
        low = math.floor(min(trailing) * (1 - tolerance)) if tolerance < 1 else 1
        return RowRange(max(1, low), math.ceil(max(trailing) * (1 + tolerance)))
