"""Synthetic traffic: two versions of known quality, recorded as the service would, with labels that come later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from include.ratchet.data.records import RecordTable
from include.ratchet.data.tables import PARTITION_COLUMN, Table
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import AliasState, Entry
from include.ratchet.rollout.orders import Order
from include.ratchet.rollout.routes import Route
from include.ratchet.settings import Settings, read_settings
from include.ratchet.spec import WHOLE, Model, ModelKey, ModelSpec, partition_of

KEY = ModelKey("orders")
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NEXT = AliasState(2, BEGIN)


def keys_named(*segments: str) -> list[ModelKey]:
    """Keys of the model's segments."""
    return [KEY._replace(segment=segment) for segment in segments]


def make_model(
    folder: Path, *, task: str = "binary", label: dict[str, Any] | None = None, segments: dict[str, Any] | None = None,
    value: str | None = None, **rollout: Any,
) -> Model:  # fmt: skip
    """A model whose hand-over is quick: 150 labelled rows and a day for each stage."""
    raw: dict[str, Any] = {
        "name": "orders", "owner": "o", "description": "Orders that come back.", "task": task,
        "source": {"python": "f"}, "keys": ["order_id"], "event_time": "at", "label": {"column": "y", "delay": "6h"}
        if label is None else label,
        "rollout": {"strategy": "canary", "min_rows": 150, "min_time": "1d", "max_time": "10d", "margin": 0.05,
                    "guards": {"min_rows": 100}, **rollout},
        **({"segments": segments} if segments else {}),
        "columns": {"y": {"type": "boolean"}, **({"carrier": {"type": "string"}} if segments else {})},
        **({"scope": {"problem": "Orders come back.", "business": {"name": "worth", "unit": "EUR", "value": value}}}
           if value else {}),
    }  # fmt: skip
    return Model(spec=ModelSpec.model_validate(raw), folder=folder)


def make_settings(folder: Path, url: str | None = None) -> Settings:
    environ = {"RATCHET_HOME": str(folder), **({"RATCHET_DATABASE_URL": url} if url else {})}
    return read_settings(environ)


def crown(settings: Settings, version: int = 1, key: ModelKey = KEY) -> None:
    """Make a version the first champion."""
    entry = Entry(key, "promotion", f"promotion:{key.slug}:{version}", "a test", "good", BEGIN, version, BEGIN - DAY)
    ledger.move_champion(entry, None, settings)


def order(actor: str = "a test", reason: str = "because", once: str | None = None) -> Order:
    return Order(actor, reason, datetime(2026, 5, 1, tzinfo=UTC), once)


@dataclass
class World:
    """A model's traffic, day by day.

    Attributes:
        settings: where it is recorded.
        model: whose.
        noise: of each version's scores; less is better.
        daily: requests a day.
        broken: versions that fail, by what they do: error, null, constant, slow or shifted.
    """

    settings: Settings
    model: Model
    noise: dict[int, float]
    daily: int = 300
    broken: dict[int, str] = field(default_factory=dict)
    sent: int = 0

    def live(
        self, day: datetime, route: Route, *, landed: bool = True, segment: str = WHOLE
    ) -> list[dict[str, Any]]:  # fmt: skip
        """One day of requests, answered as the route says; its labels land with it or not at all."""
        rows, labels = [], []
        for number in range(self.daily):
            at = day + DAY * (number / self.daily)
            key = json.dumps([f"order-{self.sent}"])
            truth, name = self.sent % 3 == 0, f"order-{self.sent}"
            generator = np.random.default_rng([self.sent, 7])
            choice = route.choose(key, self.model.spec.serving.holdout)
            rows.append(self._record(key, at, truth, choice.version, choice.route, route.mode, generator))
            if choice.shadow is not None:
                rows.append(self._record(key, at, truth, choice.shadow, "shadow", route.mode, generator))
            labels.append({"order_id": name, "at": at, "y": truth})
            self.sent += 1
        for row in rows:
            row["segment"] = segment
        RecordTable(self.settings, self.model, "requests").append(rows, "log", self.sent)
        if landed:
            self.land(labels)
        return labels

    def land(self, labels: Sequence[dict[str, Any]]) -> None:
        table = Table(self.settings, self.model.name, self.model.name)
        keys = sorted({partition_of(self.model.spec, row["at"]).key for row in labels})
        rows = pa.table({
            "order_id": pa.array([row["order_id"] for row in labels]),
            "at": pa.array([row["at"] for row in labels], pa.timestamp("us", "UTC")),
            "y": pa.array([row["y"] for row in labels]),
            PARTITION_COLUMN: pa.array([partition_of(self.model.spec, row["at"]).key for row in labels]),
        })  # fmt: skip
        table.commit(table.open(), rows, keys, {}, {})

    def tell(self, kind: str, values: dict[str, Any], at: datetime) -> None:
        """Feedback by key, received and available at an instant."""
        rows = [
            {"feedback_id": f"{kind}-{key}-{at}", "key": json.dumps([key]), "kind": kind, "value": json.dumps(value),
             "available_time": at, "received_at": at}
            for key, value in values.items()
        ]  # fmt: skip
        RecordTable(self.settings, self.model, "feedback").append(rows, f"log-{kind}-{at}", len(rows))

    def _record(
        self, key: str, at: datetime, truth: bool, version: int, route: str, mode: str, generator: np.random.Generator
    ) -> dict[str, Any]:
        wrong = abs(generator.normal(0, self.noise[version]))
        score = float(np.clip(0.8 - wrong if truth else 0.2 + wrong, 0.01, 0.99))
        row = {
            "request_id": key, "row": 0, "model": "orders", "segment": "all", "key": key, "event_time": at,
            "prediction_time": at, "received_at": at, "answered_at": at, "latency_ms": 5.0, "version": version,
            "route": route, "mode": mode, "score": score, "output": json.dumps({"score": score}), "error": None,
        }  # fmt: skip
        fault = {
            "error": {"score": None, "output": None, "error": "ValueError: no"}, "null": {"score": None},
            "constant": {"score": 0.3}, "slow": {"latency_ms": 900.0}, "shifted": {"score": min(score + 0.5, 1.0)},
        }  # fmt: skip
        return row | fault.get(self.broken.get(version, ""), {})
