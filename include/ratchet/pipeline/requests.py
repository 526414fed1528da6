"""What a training is asked to do, in the words of the trigger form and the command line."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from include.ratchet.registry.ledger import Entry
from include.ratchet.spec import ModelKey, ModelSpec, format_duration, parse_duration, partition_of
from include.ratchet.spec.training import Strategy


@dataclass(frozen=True)
class TrainingRequest:
    """One training of one model key.

    Attributes:
        key: what to train.
        training_id: names the training; the same id is the same training.
        as_of: it sees only what was available then.
        window: length of a sliding window instead of the spec's.
        strategy: of the search, instead of the spec's.
        trials: of the search, instead of the spec's.
        force: train even if the same data, code and settings already gave a version.
        reason: why, in a sentence.
        actor: who or what asked.
        cause: event times [from, to) that asked for a retraining.
        is_backfill: whether history is replayed, which never moves production.
        answers: idempotency keys of the ledger's requests that this training answers.
        segment_answers: likewise, of requests for single segments of the model.
        segments: those of its model's segments that are to be trained, the pooled model's `all` among them; None: all.
        base: version that learns on from rows that have come since, instead of a search and a fit from nothing.
    """

    key: ModelKey
    training_id: str
    as_of: datetime
    window: timedelta | None = None
    strategy: Strategy | None = None
    trials: int | None = None
    force: bool = False
    reason: str = "requested"
    actor: str = "command line"
    cause: tuple[datetime, datetime] | None = None
    is_backfill: bool = False
    answers: tuple[str, ...] = ()
    segment_answers: tuple[str, ...] = ()
    segments: tuple[str, ...] | None = None
    base: int | None = None

    def wants(self, segment: str) -> bool:
        """Whether a segment is to be trained."""
        return self.segments is None or segment in self.segments

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            **asdict(self),
            "key": list(self.key),
            "as_of": self.as_of.isoformat(),
            "window": format_duration(self.window) if self.window else None,
            "cause": [moment.isoformat() for moment in self.cause] if self.cause else None,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TrainingRequest:
        """The request back from its JSON form."""
        window, cause = content["window"], content["cause"]
        return cls(**{
            **content,
            "key": ModelKey(*content["key"]),
            "as_of": datetime.fromisoformat(content["as_of"]),
            "window": parse_duration(window) if window else None,
            "cause": tuple(datetime.fromisoformat(moment) for moment in cause) if cause else None,
            "answers": tuple(content["answers"]),
            "segment_answers": tuple(content.get("segment_answers", ())),
            "segments": tuple(content["segments"]) if content.get("segments") is not None else None,
        })  # fmt: skip

    @property
    def study(self) -> str:
        """Name of the search's study. A training that is run again after it was cut off finds it."""
        digest = hashlib.sha256(self.training_id.encode()).hexdigest()[:16]
        return f"{self.key.slug}:{self.as_of:%Y%m%dT%H%M}:{digest}"

    def window_start(self, spec: ModelSpec) -> datetime:
        """The first instant of event time that the training may see."""
        window = spec.training.window
        if self.window is None and window.kind == "expanding":
            return partition_of(spec, spec.start).start if spec.start else datetime(1970, 1, 1, tzinfo=UTC)
        return self.as_of - (self.window or window.length)


def read_instant(spec: ModelSpec, text: str) -> datetime:
    """An instant from a form: a date or hour means its beginning in the spec's time zone.

    Raises:
        ValueError: the text is neither a date, an hour nor an ISO 8601 instant.
    """
    if len(text) in {10, 13}:
        return partition_of(spec, text).start
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"as_of: found {text!r}; expected a date (2013-12-31) or an ISO 8601 instant (2013-12-31T06:00+00:00)"
        raise ValueError(message) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=spec.zone).astimezone(UTC)


def newest_cause(requests: Sequence[Entry]) -> tuple[datetime, datetime] | None:
    """The window of event time that the newest request names, if any does."""
    windows = [entry.details["window"] for entry in requests if entry.details.get("window")]
    if not windows:
        return None
    start, end = (datetime.fromisoformat(moment) for moment in windows[-1])
    return start, end
