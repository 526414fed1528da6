"""The fleet's half of a spec: one model for each value of some columns, and what they are called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field

from include.ratchet.spec.base import ColumnName, Spec
from include.ratchet.spec.durations import Duration

WHOLE = "all"
"""The segment of a model that is not divided, and of the pooled model of one that is."""
MAX_NAME = 300
_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ModelKey(NamedTuple):
    """What everything is keyed by: a model and one of its segments."""

    model: str
    segment: str = WHOLE

    @classmethod
    def parse(cls, text: str) -> ModelKey:
        """The key back from how people write it: `flight_delay`, `flight_delay/UA`."""
        model, _, segment = text.partition("/")
        return cls(model, segment or WHOLE)

    @property
    def pool(self) -> ModelKey:
        """The key of the pooled model, which stands in for a segment that has none of its own."""
        return ModelKey(self.model)

    @property
    def is_pool(self) -> bool:
        """Whether it is the whole model's, or the pooled one's."""
        return self.segment == WHOLE

    @property
    def slug(self) -> str:
        """A name for registries, paths and addresses, of its own for every key: `flight_delay`, `flight_delay.UA`.

        Of a segment with other characters it holds those that are safe, and a hash: `routes.EWR-IAH.3f2a9c1d04b7`.
        """
        if self.is_pool:
            return self.model
        if _SAFE.fullmatch(self.segment):
            return f"{self.model}.{self.segment}"
        readable = re.sub(r"[^A-Za-z0-9_]+", "-", self.segment).strip("-")[:40] or "segment"
        return f"{self.model}.{readable}.{hashlib.sha256(self.segment.encode()).hexdigest()[:12]}"

    def __str__(self) -> str:
        """The key as people read it."""
        return self.model if self.is_pool else f"{self.model}/{self.segment}"


def segment_name(values: Sequence[Any]) -> str:
    """The name of the segment that holds some values, one for each column of `by`; WHOLE if one of them is missing.

    Values are joined by `/`, and escaped as in a JSON pointer (RFC 6901), so that no two segments share a name:
    `UA`, `EWR/IAH`, `a~1b` for `a/b`, `~z` for the character that no database takes. A value that would read `all`
    becomes `~all`, an empty one `~`, and a name of more than 300 characters ends with a hash.
    """
    if any(value is None or value != value for value in values):
        return WHOLE
    parts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    name = "/".join(part.replace("~", "~0").replace("/", "~1").replace("\0", "~z") for part in parts)
    if name in ("", WHOLE):
        return f"~{name}"
    if len(name) > MAX_NAME:
        return f"{name[: MAX_NAME - 34]}~#{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return name


class FleetGuardSpec(Spec):
    """What stops every hand-over of a model at once: too many segments that had to go back."""

    max_reverted: float = Field(default=0.2, gt=0, le=1)
    """Share of the hand-overs of the last 28 days that may end by going back."""
    min_handovers: int = Field(default=5, ge=1)
    """Fewer that have ended are no evidence."""


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class SegmentsSpec(Spec):
    """One model for each value of a column, or of several together, beside a pooled one."""

    by: Annotated[tuple[ColumnName, ...], BeforeValidator(_listed), Field(min_length=1, max_length=4)]
    """Columns that callers send with each row, such as `carrier` or `[origin, destination]`. Rows without a value
    are the pooled model's."""
    min_rows: int = Field(default=2000, ge=10)
    """Labelled rows of a training that a segment needs for a model of its own."""
    pool: bool = True
    """A model of all rows answers for segments that have none of their own, and theirs must beat it. false: there is
    none, and such a segment is not answered."""
    together: bool = False
    """The pooled model and all segments of a training become champions in one transaction, or none does."""
    retire_after: Duration = Field(default="90d", validate_default=True)
    """A segment without rows for so long is retired: its rows, should they come back, are the pooled model's."""
    budget: int = Field(default=50, ge=1)
    """Retrainings of all segments together that monitors may ask for in a day, those with the best gain a second."""
    guard: FleetGuardSpec = FleetGuardSpec()
