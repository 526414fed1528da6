"""Everything that is said of what a snapshot depends on: a version keeps it, its card shows it, gates read of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from include.ratchet.dependencies.changes import Change
from include.ratchet.dependencies.feedback import Feedback
from include.ratchet.dependencies.necessity import Necessity
from include.ratchet.dependencies.reliability import Reliability
from include.ratchet.dependencies.ties import Ties
from include.ratchet.dependencies.usage import Unused
from include.ratchet.evaluation.dependencies import DependencyFacts

DEPENDENCIES = "dependencies.json"
"""The file that a version keeps the report in."""


@dataclass(frozen=True)
class DependencyReport:
    """What a training set depends on.

    Attributes:
        start: of the window.
        as_of: its end.
        sources: how reliable each table with a history was.
        changes: of columns' meaning, in the order of days.
        schema: columns of the training set that came, went or changed type since the champion's, in words.
        ties: of features.
        unused: what is no longer needed.
        necessity: what could go; None where nobody asked.
        feedback: what acting on answers does to outcomes; None without a hold-out.
    """

    start: datetime
    as_of: datetime
    sources: tuple[Reliability, ...]
    changes: tuple[Change, ...]
    schema: tuple[str, ...]
    ties: Ties
    unused: Unused
    necessity: Necessity | None = None
    feedback: Feedback | None = None

    @property
    def facts(self) -> DependencyFacts:
        """What gates read of it: only what was judged, and only columns that the model reads."""
        return DependencyFacts(
            {one.table: max(one.late.share.value, one.missing.share.value) for one in self.sources},
            {one.table: one.broken.share.value for one in self.sources},
            tuple(change.name for change in self.changes if change.is_read),
        )

    def with_more(self, necessity: Necessity | None, feedback: Feedback | None) -> DependencyReport:
        """The same with what was asked for beside it."""
        return replace(self, necessity=necessity or self.necessity, feedback=feedback or self.feedback)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        found: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return found

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> DependencyReport:
        """The report back from its JSON form."""
        found: DependencyReport = _adapter().validate_python(content)
        return found


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(DependencyReport)


def compare_schemas(before: tuple[tuple[str, str], ...] | None, after: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """What became of the columns of one training set in the next, in words.

    Args:
        before: name and type of each column; None without one.
        after: likewise.
    """
    if before is None:
        return ()
    old, new = dict(before), dict(after)
    found = [f"{name} ({old[name]}) is no longer there" for name in old if name not in new]
    found += [f"{name} ({new[name]}) is new" for name in new if name not in old]
    found += [f"{name} was {old[name]}, is {new[name]}" for name in new if old.get(name, new[name]) != new[name]]
    return tuple(found)
