"""Looks of many keys of one spec, made up: what a fleet's monitoring is given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from include.ratchet.monitoring.signals import Look, Signal
from include.ratchet.spec import ModelKey, ModelSpec

NAME = "orders"
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
JUDGED = frozenset({"drift", "performance", "quality", "service"})


def make_spec(**more):
    return ModelSpec.model_validate({
        "name": NAME, "owner": "tests", "description": "Orders of many shops.", "task": "binary",
        "source": {"python": "none"}, "keys": ["id"], "event_time": "at", "label": {"column": "label", "delay": "2d"},
        "columns": {"shop": {"type": "string"}}, "segments": {"by": "shop"}, **more,
    })  # fmt: skip


def keys(count, *, pool=False):
    return [ModelKey(NAME, f"k{number:04d}") for number in range(count)] + ([ModelKey(NAME)] if pool else [])


def fired(kind="drift", p=1e-9, subject="columns", *, statistic="share of importance", value=1.0, is_fired=True):
    return Signal(kind, subject, statistic, value, 0.2, p, 1, is_fired, f"{kind} of {subject}")


def nulls(subject="price", value=0.5):
    return fired("quality", 0.0, subject, statistic="share of nulls", value=value)


def look(key, day=0, *signals, rows=1000, version=1, judged=JUDGED, **numbers):
    start = BEGIN + day * DAY
    return Look(key, f"{start:%Y-%m-%d}", start, start + DAY, start + DAY, version, rows, 1.0, judged, signals, numbers)
