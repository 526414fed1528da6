"""What a model's owner says of costs and of people's part in the data. It is told on the card and decides no model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from include.ratchet.spec.base import Spec


class CostsSpec(Spec):
    """What wrong decisions of a binary model cost, in any unit that both share."""

    false_positive: float = Field(default=1.0, ge=0)
    false_negative: float = Field(default=1.0, ge=0)


class BiasSpec(Spec):
    """What only its owner knows of how the data came about. What is left out is shown as open on the card."""

    label_source: Literal["measured", "human", "process"] | None = None
    """An instrument or a fact; people's judgement; or what a process did, such as whom it checked."""
    selection: str | None = Field(default=None, min_length=3)
    """How the cases were chosen that there is data of, and who is missing."""
    feedback: str | None = Field(default=None, min_length=3)
    """Whether answers of the model change which labels come, or what they are."""
    notes: str | None = Field(default=None, min_length=3)
    """What else a reader should know."""
