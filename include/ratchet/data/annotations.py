"""Annotations: what each labeller said of a row's label, and when. Rows are only added.

A labeller who changes their mind says so at a later time, in a row of its own, and the newest row before an instant is
what they said as of then: what is said later cannot change what a training set of an earlier instant sees.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.casting import TIMESTAMP
from include.ratchet.data.tables import Table, retry_commits
from include.ratchet.errors import AnnotationError
from include.ratchet.settings import Settings
from include.ratchet.spec.labels import ANNOTATIONS

END = datetime(9000, 1, 1, tzinfo=UTC)
"""After everything that anybody has said."""
SCHEMA = pa.schema([
    ("key", pa.string()),  # of the row, see `records.record_key`
    ("labeller", pa.string()),
    ("annotated_at", TIMESTAMP),  # when it was said, and so could first be known
    ("is_review", pa.bool_()),  # said of a row that was under review: stands above the rule
    ("value", pa.string()),  # JSON of the label; null: what this labeller said before is taken back
    ("tool", pa.string()),  # label_studio, doccano or ratchet
    ("imported_at", TIMESTAMP),
])  # fmt: skip
IDENTITY = ("key", "labeller", "annotated_at", "is_review")


@dataclass(frozen=True)
class Annotation:
    """One labeller's word on one row, as `SCHEMA` has it.

    Attributes:
        value: the label in its own type; None takes back what this labeller said before.
    """

    key: str
    labeller: str
    annotated_at: datetime
    value: Any
    tool: str = "ratchet"
    is_review: bool = False
    imported_at: datetime | None = None

    @property
    def identity(self) -> tuple[str, str, datetime, bool]:
        """What no two of them share."""
        return self.key, self.labeller, self.annotated_at, self.is_review


class AnnotationTable(Table):
    """What was said of the labels of one model."""

    def __init__(self, settings: Settings, model_name: str) -> None:
        super().__init__(settings, model_name, ANNOTATIONS)

    def all(self, as_of: datetime = END, version: int | None = None) -> list[Annotation]:
        """Everything that was said before an instant, in the order in which it was said."""
        delta = self.open(version)
        if delta is None:
            return []
        rows = delta.to_pyarrow_table()
        rows = rows.filter(pc.less(rows["annotated_at"], pa.scalar(as_of, TIMESTAMP)))
        rows = rows.sort_by([(name, "ascending") for name in ("annotated_at", "key", "labeller", "is_review")])
        return [
            Annotation(**{**row, "value": None if row["value"] is None else json.loads(row["value"])})
            for row in rows.select(SCHEMA.names).to_pylist()
        ]

    def add(self, annotations: Sequence[Annotation], imported_at: datetime) -> int:
        """Add what is not there yet, all of it in one commit.

        Returns:
            How many were added.

        Raises:
            AnnotationError: something else stands there of the same labeller, row and time.
        """
        return retry_commits(lambda: self._add(annotations, imported_at), self.name)

    def _add(self, annotations: Sequence[Annotation], imported_at: datetime) -> int:
        known = {one.identity: one.value for one in self.all()}
        for one in annotations:
            if one.identity in known and known[one.identity] != one.value:
                message = (
                    f"{self.name}: {one.labeller} said {known[one.identity]!r} of {one.key} at "
                    f"{one.annotated_at.isoformat()}, found {one.value!r} of the same moment; expected the same, as "
                    "what was said is history. Give a change of mind its own, later time."
                )
                raise AnnotationError(message)
        fresh = {one.identity: one for one in annotations if one.identity not in known}
        if fresh:
            self.merge(_to_table(list(fresh.values()), imported_at), IDENTITY)
        return len(fresh)


def _to_table(annotations: Sequence[Annotation], imported_at: datetime) -> pa.Table:
    rows = [
        {
            "key": one.key, "labeller": one.labeller, "annotated_at": one.annotated_at, "is_review": one.is_review,
            "value": None if one.value is None else json.dumps(one.value), "tool": one.tool,
            "imported_at": imported_at,
        }
        for one in annotations
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, SCHEMA)
