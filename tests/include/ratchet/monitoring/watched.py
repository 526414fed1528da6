"""A model that is watched: the scaffold's, trained on files, whose world a test can change day by day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from include.ratchet.data.connections import MappedConnections
from include.ratchet.monitoring import monitor
from include.ratchet.monitoring.act import Judgement, act_all
from include.ratchet.monitoring.signals import Look
from include.ratchet.pipeline import ingest
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import upgrade
from include.ratchet.scoring import score_partitions
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey, partition_of, partitions_between
from include.ratchet.spec.scaffold import make_model

NAME = "order_returns"
KEY = ModelKey(NAME)
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
_SOURCE = '''
"""Orders of a world that `world.json` changes: by day, what is different from then on."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd


def orders(partition, as_of):
    world = {}
    for day, change in sorted(json.loads(Path(__file__).with_name("world.json").read_text()).items()):
        if day <= partition.key:
            world.update(change)
    generator = np.random.default_rng(int(partition.start.timestamp()))
    size = world.get("size", 400)
    price = generator.lognormal(3, 0.6, size).round(2)
    shop = generator.choice(["north", "south", "web"], size, p=[0.3, 0.3, 0.4])
    risk = 1 / (1 + np.exp(2.5 - 0.05 * price - 1.2 * (shop == "web")))
    if world.get("concept"):
        risk = 1 - risk
    minutes = np.sort(generator.integers(0, 24 * 60, size))
    is_null = generator.random(size) < world.get("nulls", 0)
    return pd.DataFrame({
        "order_id": [f"{partition.key}-{number:04d}" for number in range(size)],
        "ordered_at": [partition.start + timedelta(minutes=int(minute)) for minute in minutes],
        "shop": np.where(generator.random(size) < world.get("new_shop", 0), "moon", shop),
        "price": np.where(is_null, np.nan, price * world.get("unit", 1.0)),
        "is_returned": generator.random(size) < risk,
    })
'''


@dataclass(frozen=True)
class Watched:
    """A trained model and its world."""

    workspace: Workspace

    def change(self, **days: dict[str, Any]) -> None:
        """Change the world: `d2026_03_05={"unit": 100}` from that day on."""
        found = {day[1:].replace("_", "-"): change for day, change in days.items()}
        (self.folder / "world.json").write_text(json.dumps(found))

    @property
    def folder(self) -> Path:
        return self.workspace.settings.models_dir / NAME

    def configure(self, words: str) -> None:
        """Append to the spec."""
        path = self.folder / "model.yaml"
        path.write_text(f"{path.read_text()}\n{words}\n")

    def live(self, first: str, last: str, *, late: timedelta = timedelta(0)) -> list[Judgement]:
        """Land, score and watch days, each as of its end and a while."""
        spec = self.workspace.model(NAME).spec
        days = partitions_between(spec, partition_of(spec, first), partition_of(spec, last))
        return [self._live(day.key, day.end + late) for day in days]

    def _live(self, day: str, as_of: datetime) -> Judgement:
        self.land([day])
        return self.watch(day, as_of)

    def land(self, days: Sequence[str]) -> None:
        model = self.workspace.model(NAME)
        ingest.land_partitions(self.workspace, model, days, "a test")
        score_partitions(self.workspace, KEY, days)

    def watch(self, day: str, as_of: datetime | None = None, *, is_backfill: bool = False) -> Judgement:
        as_of = as_of or partition_of(self.workspace.model(NAME).spec, day).end
        monitor.profile(self.workspace, NAME, ["all"], day, as_of)
        monitor.compare(self.workspace, NAME, ["all"], day)
        judged = monitor.judge(self.workspace, KEY, day)
        assert judged is not None
        (done,), _ = act_all(self.workspace, NAME, day, [judged], actor="a test", is_backfill=is_backfill)
        return done


def train(folder: Path) -> Watched:
    """An installation with a champion that learned from 90 days."""
    make_model(folder / "models", NAME)
    settings = read_settings({"RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models")})
    settings.home.mkdir()
    upgrade(settings.database_url)
    watched = Watched(Workspace(settings, MappedConnections({}), lambda: datetime(2026, 6, 1, tzinfo=UTC)))
    (watched.folder / "sources.py").write_text(_SOURCE)
    watched.change()
    path = watched.folder / "model.yaml"
    text = path.read_text().replace("window: {length: 60d}", "window: {length: 90d}")
    path.write_text(text.replace("split: {validation: 10d, test: 10d}", "split: {validation: 14d, test: 35d}"))
    request = TrainingRequest(KEY, "first", AS_OF, trials=2, force=True)
    result = run_model(watched.workspace, watched.workspace.model(NAME), request, lambda *_: None)
    assert result.promotion is not None
    assert result.promotion.is_promoted, result.verdict and result.verdict.table()
    return watched


def copy(watched: Watched, folder: Path) -> Watched:
    """The same with tables, database and world of its own; the registry is shared."""
    import shutil

    settings = watched.workspace.settings
    shutil.copytree(settings.store, folder / "store")
    shutil.copytree(settings.models_dir, folder / "models")
    shutil.copy(settings.home / "ratchet.db", folder / "ratchet.db")
    own = replace(settings, store=str(folder / "store"), models_dir=folder / "models",
                  database_url=f"sqlite:///{folder}/ratchet.db")  # fmt: skip
    return Watched(replace(watched.workspace, settings=own))


def kinds(look: Look) -> set[str]:
    return {*look.kinds}
