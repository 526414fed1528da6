"""A model of orders divided by shop: some shops are like the others, some are not, some are hostile."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from include.ratchet.data.connections import MappedConnections
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import upgrade
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from include.ratchet.spec.scaffold import make_model

NAME = "order_returns"
POOL = ModelKey(NAME)
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
LIKE, OTHER, TINY, ONE_CLASS = "north", "web", "tiny", "one class"
HOSTILE = 'a/b "it\'s" 🛍 ' + "x" * 290
EMPTY = "nothing known"

SOURCES = '''
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

SHOPS = {shops!r}
UNTIL = {until!r}
TURNED = {turned!r}


def orders(partition, as_of):
    """Price drives returns up in most shops and down in `web`, and the other way round once a shop has turned."""
    generator = np.random.default_rng(int(partition.start.timestamp()))
    shops = {{shop: share for shop, share in SHOPS.items() if partition.key < UNTIL.get(shop, "9999")}}
    shares = np.array(list(shops.values())) / sum(shops.values())
    size = {rows}
    shop = generator.choice(np.array(list(shops), dtype=object), size, p=shares)
    price = generator.lognormal(3, 0.6, size).round(2)
    turned = [name for name, day in TURNED.items() if day <= partition.key]
    slope = np.where((shop == "web") ^ np.isin(shop, turned), -0.08, 0.08)
    returned = generator.random(size) < 1 / (1 + np.exp(1 - slope * (price - 22)))
    returned = np.where(shop == "one class", False, returned)
    minutes = np.sort(generator.integers(0, 24 * 60, size))
    return pd.DataFrame({{
        "order_id": [f"{{partition.key}}-{{number:04d}}" for number in range(size)],
        "ordered_at": [partition.start + timedelta(minutes=int(minute)) for minute in minutes],
        "shop": shop,
        "price": np.where(shop == "nothing known", np.nan, price),
        "is_returned": returned,
    }})
'''
SHARES = {LIKE: 5.0, "south": 5.0, OTHER: 5.0, HOSTILE: 3.0, ONE_CLASS: 2.0, EMPTY: 2.0, TINY: 0.2, "all": 2.0}
SPEC = """
segments: {{by: shop, min_rows: 300{segments}}}
gates: {{min_test_rows: 30, min_positive_rows: 5, reproducible: true{gates}}}
"""


def make_shops(folder: Path, **changes: Any) -> Workspace:
    """An installation with the model, nothing ingested yet.

    Args:
        folder: where it is made.
        changes: as `add_shops` takes them.
    """
    add_shops(folder / "models", **changes)
    settings = read_settings({"RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models")})
    settings.home.mkdir()
    upgrade(settings.database_url)
    return Workspace(settings, MappedConnections({}), lambda: datetime(2026, 3, 1, 6, tzinfo=UTC))


def add_shops(
    models: Path, name: str = NAME, *, shares: dict[str, float] | None = None, until: dict[str, str] | None = None,
    turned: dict[str, str] | None = None, rows: int = 200, segments: str = "", gates: str = "", more: str = "",
) -> None:  # fmt: skip
    """The model's folder.

    Args:
        models: folder of models.
        name: of the model.
        shares: of the shops' orders.
        until: the day from which a shop sells nothing any more.
        turned: the day from which a shop's customers do the opposite.
        rows: of a day.
        segments: further keys of the section of that name.
        gates: likewise.
        more: further sections.
    """
    path = make_model(models, name)
    write_sources(path, shares=shares, until=until, turned=turned, rows=rows)
    spec = path / "model.yaml"
    spec.write_text(spec.read_text() + SPEC.format(segments=segments, gates=gates) + more)


def write_sources(
    path: Path, *, shares: dict[str, float] | None = None, until: dict[str, str] | None = None,
    turned: dict[str, str] | None = None, rows: int = 200,
) -> None:  # fmt: skip
    """What the shops sell."""
    source = SOURCES.format(shops=shares or SHARES, until=until or {}, turned=turned or {}, rows=rows)
    (path / "sources.py").write_text(source)
