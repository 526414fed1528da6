"""How a fleet's keys are cut into tasks: by the work that they are expected to be."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

START_UP_S = 2.0
"""What starting one more task and reading its rows costs."""
MAX_START_UP = 0.1
"""The share of its work that a task's start-up may be."""
PER_WORKER = 4
"""Batches for each worker: the last one to end makes the others wait for a quarter of its share at most."""
MAX_ROWS = 500_000
"""Of a batch, which holds them in memory: however large the fleet is, a task is not."""


@dataclass(frozen=True)
class Costs:
    """What training one key takes, as it was measured: seconds for each, and for each of its rows."""

    per_key_s: float
    per_row_s: float

    def of(self, rows: int) -> float:
        """Seconds of a key with so many rows."""
        return self.per_key_s + self.per_row_s * rows

    def to_dict(self) -> dict[str, float]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def learn(cls, rows: Sequence[int], seconds: Sequence[float]) -> Costs | None:
        """The line through what some keys took, neither part below 0; None of no key."""
        if not rows:
            return None
        sizes, took = np.asarray(rows, float), np.asarray(seconds, float)
        slope = float(np.polyfit(sizes, took, 1)[0]) if len(set(rows)) > 1 else 0.0
        slope = min(max(slope, 0.0), float(took.mean() / sizes.mean()))
        return cls(float(took.mean() - slope * sizes.mean()), slope)


def cut(rows: Mapping[str, int], costs: Costs, workers: int) -> tuple[tuple[str, ...], ...]:
    """Segments as tasks take them, the largest batch first.

    So many that no worker is left with a long tail, and so few that start-up is at most a tenth of each: the longest
    key first, each to the batch that has the least (Graham 1969).

    Args:
        rows: of each segment.
        costs: of a key.
        workers: tasks that run at a time.
    """
    work = {segment: costs.of(count) for segment, count in rows.items()}
    total = sum(work.values())
    most = int(total * MAX_START_UP / START_UP_S)
    fewest = math.ceil(sum(rows.values()) / MAX_ROWS)
    count = min(len(work), max(1, min(workers * PER_WORKER, most), fewest))
    heap: list[tuple[float, int]] = [(0.0, number) for number in range(count)]
    batches: list[list[str]] = [[] for _ in heap]
    for segment in sorted(work, key=lambda one: (-work[one], one)):
        load, number = heapq.heappop(heap)
        batches[number].append(segment)
        heapq.heappush(heap, (load + work[segment], number))
    full = [batch for batch in batches if batch]
    return tuple(tuple(batch) for batch in sorted(full, key=lambda batch: -sum(work[one] for one in batch)))
