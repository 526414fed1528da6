"""The serving half of a spec: online features, request records, and how traffic is handed over."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from include.ratchet.spec.base import ColumnName, Spec
from include.ratchet.spec.dependencies import HoldoutSpec
from include.ratchet.spec.durations import Duration
from include.ratchet.spec.training import ApprovalSpec

Strategy = Literal["direct", "shadow", "canary", "ab", "blue_green", "defer"]


class OnlineSpec(Spec):
    """Features from history, as ingestion puts them where the service finds them."""

    max_age: Duration = Field(default="36h", validate_default=True)
    """They are stale when the prediction time is this much after what they know."""
    when_stale: Literal["answer", "refuse"] = "answer"
    """answer: with the old values, said in the answer and the record. refuse: 503."""
    reach: Duration = Field(default="2d", validate_default=True)
    """How far before what they know a prediction time may lie."""


class RecordsSpec(Spec):
    """What is kept of each prediction."""

    durability: Literal["durable", "best_effort"] = "durable"
    """durable: on the disk before it is answered, or refused. best_effort: answered even if it cannot be recorded."""
    retention: Duration = Field(default="365d", validate_default=True)
    """So long after it was made, a record is removed."""
    mask: tuple[ColumnName, ...] = ()
    """Columns of the payload, none of them a key, that are kept there only as a keyed hash. Features are kept as they
    are, as replay needs them: one that repeats a masked column repeats it in the record."""


class ServingSpec(Spec):
    """How the model answers online."""

    online: OnlineSpec = OnlineSpec()
    records: RecordsSpec = RecordsSpec()
    max_rows: int = Field(default=1000, ge=1, le=100_000)
    """Of one request."""
    holdout: HoldoutSpec | None = None
    """Absent: every answer may be acted on, and what acting does to outcomes cannot be told."""


class GuardsSpec(Spec):
    """What ends a hand-over at once, before any label has come."""

    max_error_share: float = Field(default=0.01, ge=0, le=1)
    max_null_share: float = Field(default=0.0, ge=0, le=1)
    max_latency_ms: float = Field(default=500, gt=0)
    """99th percentile of the challenger's."""
    max_shift: float = Field(default=0.3, gt=0, le=1)
    """Largest distance of the two versions' distributions of scores (Kolmogorov-Smirnov)."""
    min_rows: int = Field(default=200, ge=1)
    """Of the challenger, before a guard may speak."""


class RolloutSpec(Spec):
    """How production passes from one version to the next."""

    strategy: Strategy = "direct"
    """direct: the verdict moves the champion. The others start a hand-over that the evidence moves on or back."""
    shadow_first: bool = True
    """A canary begins with a stage in which the challenger is recorded and never answers."""
    steps: tuple[float, ...] = (5, 25, 50, 100)
    """Canary: percent of the keys that the challenger answers, stage after stage."""
    split: float = Field(default=50, gt=0, lt=100)
    """A/B: percent of the keys that the challenger answers, to the end."""
    answered: float = Field(default=5, gt=0, le=100)
    """Defer: percent of the keys that the model answers; a person does the others."""
    min_rows: int = Field(default=500, ge=2)
    """Labelled rows of the challenger that a stage needs before it may end well."""
    min_time: Duration = Field(default="1d", validate_default=True)
    """A stage lasts at least this long, in the records' own time."""
    max_time: Duration = Field(default="30d", validate_default=True)
    """A stage without a decision by then goes back."""
    margin: float = Field(default=0.01, ge=0)
    """How much more a row may lose (log loss, squared error) with the challenger than with the champion."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Chance of a wrong decision of a whole hand-over, however often it is looked at."""
    guards: GuardsSpec = GuardsSpec()
    approval: ApprovalSpec = ApprovalSpec()

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        rising = all(a < b for a, b in zip(self.steps, self.steps[1:], strict=False))
        if not self.steps or not rising or self.steps[0] <= 0 or self.steps[-1] != 100:
            message = f"steps: found {list(self.steps)}; expected rising percentages above 0 that end with 100"
            raise ValueError(message)
        return self
