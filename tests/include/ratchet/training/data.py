"""A small model on disk, and snapshots for it, without any pipeline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from include.ratchet.settings import Settings, read_settings
from include.ratchet.spec import Model, ModelSpec

AS_OF = datetime(2020, 3, 1, tzinfo=UTC)
FEATURES = ["x", "z", "shop"]

ESTIMATOR = """
def estimator(candidate, params, seed, threads):
    from sklearn.compose import make_column_transformer
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder
    if candidate == "broken":
        raise RuntimeError("cannot be built today")
    if candidate == "dummy":
        return DummyClassifier(strategy="prior")
    prepare = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["shop"]), remainder="passthrough"
    )
    return make_pipeline(prepare, LogisticRegression(random_state=seed, **params))
"""


def make_model(folder: Path, **changes: Any) -> Model:
    """A binary task with two candidates; sections of the spec can be replaced."""
    raw: dict[str, Any] = {
        "name": "orders", "owner": "o", "description": "Orders that come back.", "task": "binary",
        "source": {"python": "f"}, "keys": ["order_id"], "event_time": "at", "label": {"column": "y"},
        "training": {
            "window": {"length": "60d"}, "split": {"validation": "10d", "test": "10d"},
            "candidates": {
                "logistic": {"space": {"C": {"float": [0.01, 10], "log": True}}},
                "dummy": {},
            },
            "search": {"trials": 6, "strategy": "random"},
        },
        **changes,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "estimator.py").write_text(ESTIMATOR)
    return Model(spec=ModelSpec.model_validate(raw), folder=folder)


def make_table(rows: int = 3000, seed: int = 0, label_delay: timedelta = timedelta(days=1)) -> pa.Table:
    """A snapshot of the 60 days before AS_OF, ordered by event time."""
    generator = np.random.default_rng(seed)
    offsets = np.sort(generator.integers(0, 60 * 86400, rows))
    at = [AS_OF - timedelta(days=60) + timedelta(seconds=int(offset)) for offset in offsets]
    x, z = generator.normal(size=rows), generator.normal(size=rows)
    shop = generator.choice(["north", "south", "web"], rows)
    y = generator.random(rows) < 1 / (1 + np.exp(1 - 1.5 * x - 0.8 * (shop == "web")))
    stamp = pa.timestamp("us", tz="UTC")
    return pa.table({
        "order_id": [f"o{number}" for number in range(rows)],
        "at": pa.array(at, stamp),
        "_prediction_time": pa.array(at, stamp),
        "_label_available_time": pa.array([moment + label_delay for moment in at], stamp),
        "y": y,
        "x": x,
        "z": z,
        "shop": shop,
    })  # fmt: skip


def make_settings(home: Path) -> Settings:
    """An installation in a folder, with files for databases."""
    home.mkdir(parents=True, exist_ok=True)
    return read_settings({"RATCHET_HOME": str(home)})
