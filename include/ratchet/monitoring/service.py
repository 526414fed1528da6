"""Signals of the service and of its traffic: silence, volume, errors, latency, stale features, complaints, payloads.

They are held against the spec's limits and against the partitions before, which know the service better than training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np

from include.ratchet.monitoring.scrape import SHED, UP, shed_share
from include.ratchet.monitoring.signals import Look, Signal
from include.ratchet.spec import ModelSpec, format_duration
from include.ratchet.spec.monitoring import SignalKind

USUAL = 28
"""Partitions before, whose median is the usual."""
_FEW = 3
_TIMES = 3.0
"""More than so many times the usual, or less than one such part of it."""
_COMPLAINTS = 0.05
_SHED = 0.01


def find_service(spec: ModelSpec, looks: Sequence[Look], expected_rows: float) -> list[Signal]:
    """What the newest look says of the service.

    Args:
        spec: the limits.
        looks: oldest first; the newest is judged by those before it.
        expected_rows: of such a partition, as the reference has them; nan if that is not known.
    """
    newest, before = looks[-1], looks[:-1][-USUAL:]
    usual = _usual(before)
    limits: list[tuple[SignalKind, str, float, str]] = [
        ("service", "error_share", spec.monitoring.max_error_share, "of the rows ended in an error"),
        ("service", "stale_share", max(2 * usual.get("stale_share", 0.0), 0.1),
         "of the rows had stale online features"),
        ("service", "unhelpful_share", max(2 * usual.get("unhelpful_share", 0.0), _COMPLAINTS),
         "of the answers were said not to help"),
    ]  # fmt: skip
    signals = [
        _signal(kind, name, newest.numbers[name], limit, f"{newest.numbers[name]:.1%} {words}")
        for kind, name, limit, words in limits if name in newest.numbers
    ]  # fmt: skip
    latency, p99 = spec.monitoring.max_latency_ms, newest.numbers.get("latency_p99_ms")
    bound = spec.scope.constraints.latency_ms if spec.scope else None
    limit = latency or bound or _TIMES * usual.get("latency_p99_ms", np.inf)
    if p99 is not None and np.isfinite(limit):
        words = f"the 99th percentile of latency is {p99:.0f} ms, {usual.get('latency_p99_ms', np.nan):.0f} ms before"
        signals.append(_signal("service", "latency_p99_ms", p99, limit, words))
    signals += _refusals(looks)
    return [*signals, *_volume(spec, newest, before, expected_rows), *_payload(spec, newest, usual)]


def find_age(spec: ModelSpec, known_until: datetime, newest: Look) -> list[Signal]:
    """Whether the champion knows less than the scope's freshness lets it.

    Args:
        spec: the limit, if there is one.
        known_until: the end of the last day whose rows the champion was judged on.
        newest: the look.
    """
    limit = spec.scope.constraints.freshness if spec.scope else None
    if limit is None:
        return []
    age = newest.end - known_until
    words = f"the champion knows nothing of the last {format_duration(age)}, at most {format_duration(limit)} allowed"
    day = timedelta(days=1)
    return [Signal("quality", "champion", "age in days", age / day, limit / day, None, 1, age > limit, words)]


def _refusals(looks: Sequence[Look]) -> list[Signal]:
    """A service that does not answer, and load that it refused since the look before."""
    numbers = looks[-1].numbers
    if UP not in numbers:
        return []
    is_down = numbers[UP] == 0
    words = "the prediction service does not answer"
    found = [Signal("service", "availability", "answers", numbers[UP], 1.0, None, 1, is_down, words)]
    before = next((look.numbers for look in reversed(looks[:-1]) if SHED in look.numbers), {})
    share = shed_share(dict(numbers), dict(before))
    if share is not None:
        words = f"{share:.1%} of the requests were refused, as too much was waiting"
        found.append(_signal("service", "shed_share", share, _SHED, words))
    return found


def _volume(spec: ModelSpec, newest: Look, before: Sequence[Look], expected: float) -> list[Signal]:
    """Silence, and traffic of another size than the reference's or, where that is unknown, than before."""
    rows = float(newest.rows)
    # The reference is of what happened; traffic may always have been less than that.
    seen = [float(look.rows) for look in before if look.rows]
    usual = float(np.median(seen)) if len(seen) >= _FEW else expected if not seen else float("nan")
    if not np.isfinite(usual) or usual < spec.monitoring.min_rows:
        return []
    if rows == 0:
        words = f"no records at all in {newest.partition}; about {usual:.0f} were to be expected"
        return [Signal("service", "volume", "rows", 0.0, 1.0, None, 1, True, words)]
    ratio = rows / usual
    words = f"{rows:.0f} rows, {usual:.0f} usually"
    return [Signal("service", "volume", "ratio", ratio, _TIMES, None, 1, not 1 / _TIMES <= ratio <= _TIMES, words)]


def _payload(spec: ModelSpec, newest: Look, usual: Mapping[str, float]) -> list[Signal]:
    signals = []
    for name, value in newest.numbers.items():
        if name.startswith(("payload.type.", "payload.range.")):
            _, what, column = name.split(".", 2)
            limit = usual.get(name, 0.0) + spec.monitoring.max_null_rise
            words = f"{column}: {value:.0%} of the rows {'of another type' if what == 'type' else 'out of bounds'}"
            signals.append(_signal("quality", column, value, limit, words))
    columns, before = newest.numbers.get("payload.columns"), usual.get("payload.columns")
    if columns is not None and before is not None:
        words = f"rows come with {columns:.0f} columns, {before:.0f} before"
        signals.append(Signal("quality", "payload", "columns", columns, before, None, 1, columns != before, words))
    return signals


def _usual(before: Sequence[Look]) -> dict[str, float]:
    """The median of each number of the looks before, where there are a few; shares that were never above 0 are 0."""
    seen = [look.numbers for look in before if look.rows]
    if len(seen) < _FEW:
        return {}
    names = {name for numbers in seen for name, value in numbers.items() if isinstance(value, float)}
    return {name: float(np.median([numbers.get(name, 0.0) for numbers in seen])) for name in names}


def _signal(kind: SignalKind, subject: str, value: float, limit: float, words: str) -> Signal:
    return Signal(kind, subject, "share" if value <= 1 else "value", value, limit, None, 1, value > limit, words)
