"""Who or what asks for something, when and why: the same for every hand on a model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Order:
    """Who or what asks for a step, and why.

    Attributes:
        actor: kept in the ledger.
        reason: kept in the ledger; a look gives its own.
        recorded_at: the wall clock, only for the record.
        once: names the order, such as a run and its task: a second try finds its own work done.
    """

    actor: str
    reason: str
    recorded_at: datetime
    once: str | None = None
