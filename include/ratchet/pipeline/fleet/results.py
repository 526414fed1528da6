"""What a fleet's training came to, key by key: the run's table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal[
    "promoted", "started", "waiting", "kept", "refused", "returned", "pooled", "unchanged", "retired", "failed"
]
WORDS: dict[Outcome, str] = {
    "promoted": "new champion",
    "started": "hand-over begun",
    "waiting": "passed, waits for the others or for a person",
    "kept": "production stays as it is",
    "refused": "refused by its gates",
    "returned": "back to the pooled model",
    "pooled": "too few rows for a model of its own",
    "unchanged": "same data, code and settings as before",
    "retired": "no rows for long",
    "failed": "could not be trained",
}


TOLD = ("failed", "promoted", "started", "returned", "waiting")
"""Outcomes that people hear of; that a gate keeps the pooled model in its place is the usual."""


@dataclass(frozen=True)
class KeyResult:
    """What became of one segment.

    Attributes:
        segment: its name.
        outcome: of its training.
        reason: the same in a sentence.
        rows: of the snapshot.
        version: that was registered, if one was.
        metric: the decisive one on the test rows.
        rival: what the gain is over: the pooled model, or the segment's own champion.
        gain: over that, with the interval's ends (value, low, high).
        seconds: that it took.
    """

    segment: str
    outcome: Outcome
    reason: str
    rows: int
    version: int | None = None
    metric: float | None = None
    rival: str | None = None
    gain: tuple[float, float, float] | None = None
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> KeyResult:
        """The result back from its JSON form."""
        return cls(**{**content, "gain": tuple(content["gain"]) if content["gain"] else None})


def count(results: Sequence[KeyResult]) -> dict[str, int]:
    """Segments by outcome, the most telling first."""
    found = Counter(one.outcome for one in results)
    return {name: found[name] for name in WORDS if found[name]}


def table(results: Sequence[KeyResult], limit: int = 200) -> str:
    """The results as text in columns, for a log; of more than `limit` keys those first that need a look."""
    order = {name: place for place, name in enumerate(reversed(WORDS))}
    shown = sorted(results, key=lambda one: (order[one.outcome], one.segment))[:limit]
    rows = [("segment", "outcome", "rows", "version", "metric", "gain", "")]
    rows += [
        (
            one.segment[:60], one.outcome, f"{one.rows:,}", str(one.version or ""),
            "" if one.metric is None else f"{one.metric:.4f}", _gain(one), one.reason[:160],
        )
        for one in shown
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(results) > limit:
        lines.append(f"... and {len(results) - limit:,} more")
    return "\n".join(lines)


def _gain(one: KeyResult) -> str:
    if one.gain is None:
        return ""
    value, low, high = one.gain
    return f"{value:+.4f} [{low:.4f}, {high:.4f}] over {one.rival}"
