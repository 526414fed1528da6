"""A model that has lived: the scaffold's, with two versions on files, and records of it as a service makes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.records import FEATURE, RecordTable, record_key
from include.ratchet.data.tables import Table
from include.ratchet.features import Inputs, scoring_rows
from include.ratchet.pipeline.local import run_model
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import upgrade
from include.ratchet.registry.lineage import hash_code
from include.ratchet.replay.answer import Answerer
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from include.ratchet.spec.scaffold import make_model

NAME = "order_returns"
KEY = ModelKey(NAME)
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
KNOWN = ("order_id", "ordered_at", "shop", "price")


def live(folder: Path, more: str = "") -> Workspace:
    """An installation in which two versions were trained: on 60 days, and on the last 30 of them.

    Args:
        folder: of the installation.
        more: sections for the model's spec.
    """
    spec = make_model(folder / "models", NAME) / "model.yaml"
    text = spec.read_text()
    if "evaluation:" in more:  # it stands once
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("evaluation:"))
    spec.write_text(text + more)
    settings = read_settings({"RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models")})
    settings.home.mkdir()
    upgrade(settings.database_url)
    workspace = Workspace(settings, MappedConnections({}), lambda: datetime.now(UTC))
    for name, window in (("long", None), ("short", timedelta(days=30))):
        request = TrainingRequest(KEY, name, AS_OF, window=window, trials=2, force=True)
        run_model(workspace, workspace.model(NAME), request, lambda *_: None)
    return workspace


def read_orders(workspace: Workspace, day: str, count: int) -> pa.Table:
    """Some orders of a day, as a caller knows them."""
    rows = Table(workspace.settings, NAME, NAME).read([day], columns=KNOWN)
    return rows.sort_by("order_id").slice(0, count)


def compute(workspace: Workspace, orders: pa.Table) -> pa.Table:
    """Their features, from the tables as they stand."""
    model, settings = workspace.model(NAME), workspace.settings
    return scoring_rows(model, KEY, Inputs.open(settings, model), orders, settings=settings)


def record(
    workspace: Workspace, orders: pa.Table, log: str, *, version: int = 1,
    features: Callable[[Workspace, pa.Table], pa.Table] = compute,
    change: Callable[[dict[str, Any]], None] = lambda row: None, **fields: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    """Answer orders as a service would, and append the records; `change` tampers with each."""
    model, settings = workspace.model(NAME), workspace.settings
    made = features(workspace, orders)
    names = [name for name in made.column_names if name not in ("order_id", "ordered_at", "_prediction_time")]
    scores = Answerer(settings, model, version).score(made)
    now = datetime.now(UTC)
    rows = []
    for index, (order, given) in enumerate(zip(orders.to_pylist(), made.to_pylist(), strict=True)):
        row = {
            "request_id": f"{log}-{index}", "row": 0, "model": NAME, "segment": "all",
            "key": record_key(model.spec, order), "event_time": order["ordered_at"],
            "prediction_time": order["ordered_at"], "received_at": now, "answered_at": now, "latency_ms": 1.0,
            "version": version, "route": "champion", "mode": "direct", "score": float(scores[index]),
            "output": json.dumps({"score": float(scores[index])}),
            "payload": json.dumps(order, default=datetime.isoformat), "is_stale": False,
            "code_hash": hash_code(model), **{f"{FEATURE}{name}": given[name] for name in names}, **fields,
        }  # fmt: skip
        change(row)
        rows.append(row)
    RecordTable(settings, model, "requests").append(rows, log, len(rows))
    return rows


def replace_day(workspace: Workspace, day: str, rows: pa.Table) -> None:
    """Give a landed day other rows."""
    table = Table(workspace.settings, NAME, NAME)
    table.commit(table.open(), rows, [day], {}, {})
