"""What a spec says of the data that a model depends on: what it costs, what is asked of it, what a gate refuses."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from include.ratchet.spec.base import Name, Spec
from include.ratchet.spec.durations import Duration

Cost = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)? \S.{0,60}$")]
Source = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}(\.[A-Za-z][A-Za-z0-9_]{0,62})?$")]
AcceptedChange = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}\.[A-Za-z][A-Za-z0-9_]{0,62}@\d{4}-\d{2}-\d{2}$")
]


class DependenciesSpec(Spec):
    """What is looked into of a model's data, beside what every training looks at."""

    costs: dict[Source, Cost] = Field(default_factory=dict)
    """What a table, or a column of one as `table.column`, costs: a number with its unit in words, `40 EUR a month`."""
    late_after: Duration = Field(default="1d", validate_default=True)
    """A partition that lands later than this after its end is late."""
    necessity: bool = False
    """Whether each training fits again without groups of features, to say which could go."""
    tolerance: float = Field(default=0.002, ge=0)
    """A group could go if the metric surely loses no more than this without it."""
    refits: int = Field(default=15, ge=1, le=500)
    """At most so many groups are left out one at a time, the least important first."""
    max_rows: int = Field(default=20_000, ge=100)
    """Refits learn from, and are measured on, at most that many rows each."""


class DependencyGateSpec(Spec):
    """What a snapshot's dependencies may be like. What is absent is not asked."""

    max_late_share: float | None = Field(default=None, ge=0, le=1)
    """Of a table's partitions in the window: missing, or landed late."""
    max_broken_share: float | None = Field(default=None, ge=0, le=1)
    """Of a table's partitions in the window: too many rows quarantined, or an expectation failed."""
    no_semantic_change: bool = False
    """No column that features read may have changed its meaning within the window."""
    accepted: tuple[AcceptedChange, ...] = ()
    """Changes that somebody has looked at: `table.column@day`, as the report names them."""


class HoldoutSpec(Spec):
    """A random share of the keys whose answers are withheld, so that outcomes without the model's action are known."""

    share: float = Field(gt=0, le=0.5)
    """Of the keys, from 0 to 1. A key stays held out for as long as it is."""
    answer: bool | str | float | None = None
    """The decision that a caller is told instead: a class, or a number. Absent: none, and the caller does as before."""
    salt: Name = "holdout"
    """Another one draws other keys."""

    def check_task(self, task: str) -> None:
        """Stop if the decision is none of the task.

        Raises:
            ValueError: it is of another type.
        """
        kinds: dict[str, Any] = {"binary": bool, "multiclass": str, "regression": float}
        if self.answer is None or isinstance(self.answer, kinds[task]):
            return
        expected = {"binary": "true or false", "multiclass": "a class", "regression": "a number"}[task]
        message = f"serving.holdout.answer: found {self.answer!r} of a {task} task; expected {expected}"
        raise ValueError(message)
