"""What a Python worker does: the search in memory, over a share of the keys.

It is `memory.py`'s, so that no other code decides what was known when. Workers get it along with their work and need
numpy and pyarrow, but nothing of Ratchet's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

from include.ratchet.features import asof, memory
from include.ratchet.features.asof import Timeline, Values, to_integers
from include.ratchet.features.joins import KNOWN, Join
from include.ratchet.features.memory import LatestJoin, Probe, RollingJoin, one_chunk
from include.ratchet.features.schema import ROW


@dataclass(frozen=True)
class Search:
    """A join as a worker knows it: the names of its columns, and no expressions."""

    name: str
    keys: Mapping[str, None]
    columns: tuple[str, ...]
    order: tuple[str, ...]
    windows: Mapping[str, tuple[str, timedelta]]

    @classmethod
    def of(cls, join: Join) -> Search:
        """What has to be searched for a join."""
        return cls(join.name, dict.fromkeys(join.keys), join.columns, join.order, join.windows)

    def find(self, entities: pa.Table, history: pa.Table) -> pa.Table:
        """The join's columns for the entity rows of a share, by row number."""
        probe = Probe(entities, {f"{self.name}_{key}": key for key in self.keys})
        return pa.table({ROW: entities[ROW], **self._prepare(history).attach(probe)})

    def _prepare(self, history: pa.Table) -> LatestJoin | RollingJoin:
        if self.windows:
            keys = [Values(one_chunk(history, key)) for key in self.keys]
            measures = sorted({measure for measure, _ in self.windows.values()})
            terms = {name: to_integers(one_chunk(history, name), 0) for name in measures}
            return RollingJoin(self, Timeline(one_chunk(history, KNOWN)), keys, terms)
        if self.order:
            history = history.sort_by([(name, "ascending") for name in self.order])
        return LatestJoin(self, Timeline(one_chunk(history, KNOWN)), history)


def send_along() -> None:
    """Have the code cross to workers with their work."""
    from pyspark import cloudpickle

    for module in (asof, memory, sys.modules[__name__]):
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
