"""The review queue: rows whose label a person should look at, and what came of it. One row of a table for each key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa

from include.ratchet.data.casting import TIMESTAMP
from include.ratchet.data.tables import Table, retry_commits
from include.ratchet.settings import Settings

State = Literal["open", "confirmed", "corrected"]
Reason = Literal["likely error", "conflict"]
NAME = "_reviews"
"""Of the table; no table of a spec can have it."""
SCHEMA = pa.schema([
    ("key", pa.string()),
    ("reason", pa.string()),
    ("given", pa.string()),  # JSON, as are the other two labels
    ("suggested", pa.string()),
    ("score", pa.float64()),  # of a likely error: the less the worse
    ("found_at", TIMESTAMP),
    ("state", pa.string()),
    ("decided", pa.string()),
    ("decided_by", pa.string()),
    ("decided_at", TIMESTAMP),
])  # fmt: skip


@dataclass(frozen=True)
class Review:
    """One row of the queue.

    Attributes:
        key: the row's, see `records.record_key`.
        reason: why it is there.
        given: the label that it had; None in a conflict.
        suggested: the label that a model holds to be true; None in a conflict.
        score: of a likely error, the less the worse; 0 of a conflict.
        found_at: as of when it was put there.
        state: whether somebody has decided, and how.
        decided: the label that was decided on.
        decided_by: who.
        decided_at: when.
    """

    key: str
    reason: Reason
    given: Any
    suggested: Any
    score: float
    found_at: datetime
    state: State = "open"
    decided: Any = None
    decided_by: str | None = None
    decided_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


class ReviewQueue(Table):
    """The review queue of one model."""

    def __init__(self, settings: Settings, model_name: str) -> None:
        super().__init__(settings, model_name, NAME)

    def all(self, state: State | None = None) -> list[Review]:
        """Its rows: conflicts first, then likely errors, the likeliest first."""
        delta = self.open()
        rows = [] if delta is None else delta.to_pyarrow_table().select(SCHEMA.names).to_pylist()
        found = [Review(**{**row, **{name: _load(row[name]) for name in ("given", "suggested", "decided")}})
                 for row in rows if state is None or row["state"] == state]  # fmt: skip
        return sorted(found, key=lambda one: (one.reason != "conflict", one.score, one.key))

    def put(self, reviews: Sequence[Review]) -> int:
        """Put rows into the queue; returns how many were not there.

        One that is open keeps its first time and gets the new score. What a person has decided on comes back only if
        the label is no longer the one that was decided on.
        """
        return retry_commits(lambda: self._put(reviews), self.name)

    def decide(self, labels: Iterable[tuple[str, Any, str, datetime]]) -> list[Review]:
        """Note what was decided on open rows, as (key, label, who, when); other keys are left alone."""
        return retry_commits(lambda: self._decide(list(labels)), self.name)

    def _put(self, reviews: Sequence[Review]) -> int:
        known = {one.key: one for one in self.all()}
        kept, added = [], 0
        for one in reviews:
            before = known.get(one.key)
            if before is not None and before.state == "open":
                kept.append(replace(one, found_at=before.found_at))
            elif before is None or (one.reason == "likely error" and before.decided != one.given):
                kept.append(one)
                added += 1
        self._write([one for one in kept if one != known.get(one.key)])
        return added

    def _decide(self, labels: Sequence[tuple[str, Any, str, datetime]]) -> list[Review]:
        waiting = {one.key: one for one in self.all("open")}
        decided = [
            replace(
                waiting[key], state="confirmed" if label == waiting[key].given else "corrected",
                decided=label, decided_by=who, decided_at=when,
            )
            for key, label, who, when in labels if key in waiting
        ]  # fmt: skip
        self._write(decided)
        return decided

    def _write(self, reviews: Sequence[Review]) -> None:
        if reviews:
            rows = [{**asdict(one), **{name: _dump(getattr(one, name)) for name in ("given", "suggested", "decided")}}
                    for one in reviews]  # fmt: skip
            self.merge(pa.Table.from_pylist(rows, SCHEMA), ["key"], updates=True)


def _load(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _dump(value: Any) -> str | None:
    return None if value is None else json.dumps(value)
