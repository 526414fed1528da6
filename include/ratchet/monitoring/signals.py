"""Signals: what a look at a window found, with the numbers that decided it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from include.ratchet.spec import ModelKey
from include.ratchet.spec.monitoring import SignalKind


@dataclass(frozen=True)
class Signal:
    """One finding about one window.

    Attributes:
        kind: of the monitor.
        subject: the column, metric, slice or number that it is about.
        statistic: what was measured.
        value: of the statistic.
        threshold: from which on it counts.
        p: chance of such a value while nothing changes, for as many columns or slices as were tested: the smallest
            level at which it counts. None where none was tested.
        partitions: of the window.
        is_fired: whether it counts.
        words: the same in a sentence.
        is_chance: whether it would count of one model, and does not of one of so many (`control`).
    """

    kind: SignalKind
    subject: str
    statistic: str
    value: float
    threshold: float
    p: float | None
    partitions: int
    is_fired: bool
    words: str
    is_chance: bool = False

    @property
    def strength(self) -> float:
        """Its value in thresholds."""
        return abs(self.value) / (abs(self.threshold) or 1.0)


@dataclass(frozen=True)
class Look:
    """What one look at one partition of a model key came to.

    Attributes:
        key: whose.
        partition: its key.
        start: of the partition.
        end: of the partition.
        as_of: what became known later is not in it.
        version: the champion that it is about; None if there was none.
        rows: records of the partition.
        maturity: share of its labels that had come.
        judged: kinds of signals for which there was enough to judge.
        signals: those that fired, and the strongest of the others.
        numbers: what is drawn over time, such as the metric and its interval.
    """

    key: ModelKey
    partition: str
    start: datetime
    end: datetime
    as_of: datetime
    version: int | None
    rows: int
    maturity: float
    judged: frozenset[SignalKind]
    signals: tuple[Signal, ...]
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fired(self) -> tuple[Signal, ...]:
        """The signals that count."""
        return tuple(signal for signal in self.signals if signal.is_fired)

    @property
    def kinds(self) -> frozenset[SignalKind]:
        """The kinds of which one fired."""
        return frozenset(signal.kind for signal in self.fired)

    def summarise(self) -> dict[str, Any]:
        """The little that a list of many looks shows: the metric as it is now, and the strongest signal."""
        kinds = (("actual", "metric"), ("estimated", "estimate"))
        measures = [
            {"kind": kind, "value": self.numbers[f"{name}_window"],
             **{end: self.numbers.get(f"{name}_{end}") for end in ("expected", "low", "high")}}
            for kind, name in kinds if f"{name}_window" in self.numbers
        ]  # fmt: skip
        top = max(self.signals, key=lambda one: (one.is_fired, one.strength), default=None)
        signal = top and {"kind": top.kind, "subject": top.subject, "words": top.words, "strength": top.strength,
                          "is_fired": top.is_fired}  # fmt: skip
        return {"measure": next(iter(measures), None), "signal": signal}

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        # `asdict` copies every number, which of a thousand looks takes seconds.
        return {
            **vars(self), "key": list(self.key), "judged": sorted(self.judged), "numbers": dict(self.numbers),
            "signals": [dict(vars(signal)) for signal in self.signals],
            "start": self.start.isoformat(), "end": self.end.isoformat(), "as_of": self.as_of.isoformat(),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Look:
        """The look back from its JSON form."""
        return cls(**{
            **content, "key": ModelKey(*content["key"]), "judged": frozenset(content["judged"]),
            "signals": tuple(Signal(**one) for one in content["signals"]),
            **{name: datetime.fromisoformat(content[name]) for name in ("start", "end", "as_of")},
        })  # fmt: skip


def strongest(signals: Sequence[Signal], quiet: int = 5) -> tuple[Signal, ...]:
    """All signals that fired, and of the others those nearest to their threshold; numbers as JSON can hold them."""
    known = [_plain(signal) for signal in signals if math.isfinite(signal.value) and math.isfinite(signal.threshold)]
    fired = [signal for signal in known if signal.is_fired]
    others = sorted((signal for signal in known if not signal.is_fired), key=lambda signal: -signal.strength)
    return (*fired, *others[:quiet])


def _plain(signal: Signal) -> Signal:
    p = None if signal.p is None or not math.isfinite(signal.p) else float(signal.p)
    return replace(
        signal, value=float(signal.value), threshold=float(signal.threshold), p=p, is_fired=bool(signal.is_fired)
    )
