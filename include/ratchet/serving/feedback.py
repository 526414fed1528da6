"""What callers say of predictions afterwards: labels, people's answers, and that one did not help."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from include.ratchet.data.records import to_table
from include.ratchet.serving.payload import RowReader
from include.ratchet.spec import ModelSpec


class Feedback(BaseModel):
    """One thing said of one prediction."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request_id: str | None = Field(default=None, max_length=200)
    row: int = Field(default=0, ge=0, le=2**31 - 1)
    key: dict[str, Any] | None = None
    """Values of the model's keys, instead of a request id."""
    kind: Literal["label", "human", "unhelpful"] = "label"
    """label: how it turned out. human: a person's answer to a deferred request. unhelpful: the answer did not help."""
    value: bool | int | float | str | None = None
    """The label or answer."""
    available_time: AwareDatetime | None = None
    """When it became known; absent: now."""

    @model_validator(mode="after")
    def _check(self) -> Feedback:
        if (self.request_id is None) == (self.key is None):
            message = "expected either request_id or key"
            raise ValueError(message)
        if self.kind != "unhelpful" and self.value is None:
            message = f"a {self.kind} needs a value"
            raise ValueError(message)
        return self


def feedback_table(
    spec: ModelSpec, reader: RowReader, said: Sequence[Feedback], received_at: datetime, caller: str
) -> pa.Table:
    """Feedback in the columns of its table, with the technical one.

    Raises:
        ValueError: a key does not name the model's keys.
    """
    rows = [
        {"feedback_id": uuid.uuid4().hex, "request_id": one.request_id, "row": one.row, "kind": one.kind,
         "key": None if one.key is None else reader.read_key(one.key), "value": json.dumps(one.value),
         "available_time": one.available_time or received_at, "received_at": received_at, "caller": caller}
        for one in said
    ]  # fmt: skip
    return to_table(spec, "feedback", rows)
