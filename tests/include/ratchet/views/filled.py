"""A database of many model keys, made up: what the pages of a large fleet read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from include.ratchet.monitoring import store
from include.ratchet.monitoring.incidents import Incident
from include.ratchet.monitoring.signals import Look, Signal
from include.ratchet.registry.database import aliases, engine_of, ledger, rollouts
from include.ratchet.rollout.state import RolloutState, stages_of
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey
from include.ratchet.spec.serving import RolloutSpec

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
JUDGED = frozenset({"drift", "performance"})


def fill(settings: Settings, keys: Sequence[ModelKey], days: int = 3) -> None:
    """Give every key a champion, a verdict of each day and a look at each, with a metric that falls from key to key."""
    verdicts = [
        {"idempotency_key": f"verdict:{key.slug}:t{day}", "recorded_at": BEGIN + day * DAY, "model": key.model,
         "segment": key.segment, "kind": "verdict", "version": day + 1, "actor": "scheduled run",
         "reason": "promote: passed all 9 gates", "as_of": BEGIN + day * DAY,
         "details": {"gates": [{"name": "beats baseline", "passed": True, "found": "1", "expected": "0"}]}}
        for day in range(days) for key in keys
    ]  # fmt: skip
    with engine_of(settings.database_url).begin() as connection:
        connection.execute(ledger.insert(), verdicts)
        connection.execute(aliases.insert(), [
            {"model": key.model, "segment": key.segment, "alias": "champion", "version": days, "as_of": BEGIN,
             "ledger_id": len(keys) * (days - 1) + place + 1}
            for place, key in enumerate(keys)
        ])  # fmt: skip
    for day in range(days):
        store.write_looks([look(key, day, metric=0.9 - place / 10_000) for place, key in enumerate(keys)], settings)


def look(key: ModelKey, day: int, *, metric: float = 0.8, drift: float = 0.01, fired: bool = False) -> Look:
    """A look with what the real ones have: a window's metric, and the drift of two columns."""
    start = BEGIN + day * DAY
    signals = (
        Signal("drift", "columns", "share of importance", 0.5 if fired else 0.05, 0.2, 1e-9, 1, fired, "price moved"),
        Signal("performance", "roc_auc", "fall", 0.01, 0.05, 0.3, 7, False, "roc_auc is as it was"),
    )
    numbers = {
        "metric": metric, "estimate": metric + 0.01, "metric_window": metric, "metric_expected": 0.8,
        "metric_low": 0.75, "metric_high": 0.85,
        "drift": {"price": {"effect": drift, "p": 0.5, "is_drifted": fired},
                  "shop": {"effect": 0.0, "p": 0.9, "is_drifted": False}},
    }  # fmt: skip
    return Look(key, f"{start:%Y-%m-%d}", start, start + DAY, start + DAY, 1, 1000, 1.0, JUDGED, signals, numbers)


def incident(key: ModelKey, worst: str = "alert", number: int = 1) -> Incident:
    return Incident(key, number, 1, "opened", BEGIN, None, ("drift",), worst, 1, "2026-03-01", "price moved")


def open_incidents(settings: Settings, *found: Incident) -> None:
    store.write_incidents(found, settings)


def hand_over(settings: Settings, key: ModelKey, **changes: object) -> RolloutState:
    """A hand-over from version 3 to 4, in its second stage."""
    spec = RolloutSpec(strategy="canary", steps=(25, 100))
    state = RolloutState(key, "canary", 3, 4, BEGIN, stages_of(spec), 1, "running", BEGIN, BEGIN, 0.01, 1, "salt",
                         "advance", "scheduled run", "version 4 is not worse")  # fmt: skip
    state = replace(state, **changes)
    with engine_of(settings.database_url).begin() as connection:
        connection.execute(rollouts.insert().values(
            model=key.model, segment=key.segment, revision=1, state=state.to_dict(), updated_at=BEGIN
        ))  # fmt: skip
    return state
