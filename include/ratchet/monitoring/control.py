"""False alarms of a fleet: what one key's chance explains among so many does not count.

A key's own tests hold its own false alarms down; a thousand keys have a thousand times as many. So that a fleet raises
as few as one model, the keys that fired are families of tests, of which those are kept that stand out among all keys
looked at (Benjamini and Hochberg 1995 over each family's smallest p, as in Benjamini and Bogomolov 2014, Selective
inference on multiple families of hypotheses). First at the level of one model: a lone key has to be as unlikely as one
in all keys' looks. Where some key stands out so, others are found beside it at three times the level, so that a change
that a third of the keys share is found in each of them at its own level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from include.ratchet.monitoring.drift import discoveries
from include.ratchet.monitoring.signals import Look, Signal
from include.ratchet.spec.monitoring import MonitoringSpec, SignalKind

_BESIDE = 3
"""Times the level at which keys are found once one stands out: the rate of false ones among what is found then."""
_NOT_COUNTED = "; not counted: "


def control(spec: MonitoringSpec, looks: Sequence[Look]) -> tuple[Look, ...]:
    """The looks of all model keys at one partition, with the signals that chance explains no longer fired.

    Of a kind, each key counts with the smallest p of its fired signals, and with 1 if none fired. Signals without a p
    are limits and stay. Controlling what is controlled changes nothing; a single key stays as it is.

    Args:
        spec: the levels.
        looks: one of each key.
    """
    if len(looks) < 2:
        return tuple(looks)
    own = [tuple(_restore(signal) for signal in look.signals) for look in looks]
    kinds = {signal.kind for signals in own for signal in signals if _is_tested(signal)}
    chance: dict[SignalKind, set[int]] = {kind: _find_chance(spec, looks, own, kind) for kind in kinds}
    return tuple(
        replace(look, signals=tuple(
            _silence(signal, len(looks)) if _is_tested(signal) and at in chance[signal.kind] else signal
            for signal in signals
        ))
        for at, (look, signals) in enumerate(zip(looks, own, strict=True))
    )  # fmt: skip


def _find_chance(
    spec: MonitoringSpec, looks: Sequence[Look], own: Sequence[Sequence[Signal]], kind: SignalKind
) -> set[int]:
    """Positions of the looks whose fired signals of a kind do not stand out."""
    judged = [at for at, look in enumerate(looks) if kind in look.judged]
    smallest = [
        min((signal.p for signal in own[at] if signal.kind == kind and _is_tested(signal) and signal.p is not None),
            default=1.0)
        for at in judged
    ]  # fmt: skip
    p, level = np.array(smallest), spec.drift_alpha if kind == "drift" else spec.alpha
    stands_out = discoveries(p, level)
    if stands_out.any():
        stands_out = discoveries(p, _BESIDE * level)
    return {at for at, is_out in zip(judged, stands_out, strict=True) if not is_out}


def _is_tested(signal: Signal) -> bool:
    return signal.is_fired and signal.p is not None


def _restore(signal: Signal) -> Signal:
    """The signal as the key's own tests left it."""
    if not signal.is_chance:
        return signal
    return replace(signal, is_fired=True, is_chance=False, words=signal.words.partition(_NOT_COUNTED)[0])


def _silence(signal: Signal, keys: int) -> Signal:
    words = f"{signal.words}{_NOT_COUNTED}chance gives as much to one of {keys} keys"
    return replace(signal, is_fired=False, is_chance=True, words=words)
