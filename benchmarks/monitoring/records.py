"""An installation with models whose request records lie in tables, as the service leaves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import numpy as np
import orjson
import pyarrow as pa
import yaml

from benchmarks.monitoring.engine import FIRST, spec_of
from include.ratchet.data.blobs import open_blobs
from include.ratchet.data.connections import MappedConnections
from include.ratchet.data.records import FEATURE, REQUESTS, RecordTable
from include.ratchet.data.tables import PARTITION_COLUMN
from include.ratchet.monitoring.binning import Bins, make_bins
from include.ratchet.monitoring.outcomes import Calibration
from include.ratchet.monitoring.profile import ProfileTable, profile_column
from include.ratchet.monitoring.reference import SCORE, Reference
from include.ratchet.monitoring.signals import Look
from include.ratchet.monitoring.store import write_looks
from include.ratchet.monitoring.usual import learn_usual, nothing_usual
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import upgrade
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey, partition_of
from include.ratchet.training.metrics import Floats

REFERENCE_DAYS, TEST_DAYS = 90, 28
DAY = FIRST + timedelta(days=REFERENCE_DAYS + 310)
"""The day that is looked at."""


def open_home(folder: Path) -> Workspace:
    """The installation in a folder."""
    environ = {"RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models")}
    return Workspace(read_settings(environ), MappedConnections(), lambda: datetime.now(UTC))


def prepare(folder: Path, names: Sequence[str], columns: int, rows: int, history: int = 0) -> None:
    """Models with a day of records each, a reference, and so many days of history before.

    Args:
        folder: of the installation.
        names: of the models.
        columns: features of each; every fifth is text.
        rows: of the day; earlier days have a tenth of them.
        history: earlier days, each a commit of records, of profiles, and a look.
    """
    workspace = open_home(folder)
    workspace.settings.home.mkdir(parents=True)
    upgrade(workspace.settings.database_url)
    rng = np.random.default_rng(0)
    today = draw_records(rng, columns, rows, DAY)
    bins = {name.removeprefix(FEATURE): make_bins(today[name].combine_chunks())
            for name in today.column_names if name.startswith(FEATURE)}  # fmt: skip
    bins[SCORE] = make_bins(today["score"].combine_chunks())
    before = draw_records(rng, columns, max(rows // 10, 200), DAY)
    for name in names:
        place = folder / "models" / name
        place.mkdir(parents=True)
        text = yaml.safe_dump(spec_of(name).model_dump(mode="json", exclude_defaults=True))
        (place / "model.yaml").write_text(text)
        model = workspace.model(name)
        content = make_reference(rng, name, bins).to_bytes()
        open_blobs(workspace.settings).put(f"monitoring/{name}/references/1.npz", content)
        table = RecordTable(workspace.settings, model, "requests")
        for back in range(history, 0, -1):
            _add_day(workspace, name, before, bins, DAY - timedelta(days=back), history - back)
        table.append_table(today, "log", history + 1)


def draw_records(rng: np.random.Generator, columns: int, rows: int, day: date) -> pa.Table:
    """Request records of one day."""
    count = np.arange(rows)
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    times = [start + timedelta(seconds=int(second)) for second in 86_400 * count // rows]
    features = {}
    for column in range(columns):
        if column % 5 == 4:
            features[f"{FEATURE}x{column}"] = pa.array(np.char.add("c", (rng.zipf(1.6, rows) % 60).astype(str)))
        else:
            values = np.round(rng.standard_normal(rows), 6)
            features[f"{FEATURE}x{column}"] = pa.array(values, mask=rng.random(rows) < 0.01)
    names = [name.removeprefix(FEATURE) for name in features]
    payloads = [orjson.dumps(dict(zip(names, row, strict=True))).decode()
                for row in zip(*(values.to_pylist() for values in features.values()), strict=True)]  # fmt: skip
    filled = {
        "request_id": [f"r{i}" for i in count], "row": count % 5, "model": ["m"] * rows, "segment": ["all"] * rows,
        "key": [f"[{i}]" for i in count], "event_time": times, "received_at": times, "answered_at": times,
        "prediction_time": times, "latency_ms": rng.gamma(4, 2, rows), "version": np.ones(rows, np.int32),
        "route": ["champion"] * rows, "mode": ["direct"] * rows, "score": rng.beta(2, 5, rows),
        "output": ['{"score": 0.5}'] * rows, "payload": payloads, "is_stale": np.zeros(rows, bool),
    }  # fmt: skip
    base = {field.name: pa.array(filled[field.name], field.type) if field.name in filled
            else pa.nulls(rows, field.type) for field in REQUESTS}  # fmt: skip
    return pa.table({**base, **features, PARTITION_COLUMN: pa.array([day.isoformat()] * rows)})


def _add_day(workspace: Workspace, name: str, rows: pa.Table, bins: dict[str, Bins], day: date, number: int) -> None:
    """A day of history: its records (the log's commit of that number), its profiles and its look."""
    settings, model = workspace.settings, workspace.model(name)
    partition = partition_of(model.spec, day)
    keys = pa.array([partition.key] * rows.num_rows)
    place = rows.column_names.index(PARTITION_COLUMN)
    RecordTable(settings, model, "requests").append_table(
        rows.set_column(place, PARTITION_COLUMN, keys), "log", number)  # fmt: skip
    profiles = {column: profile_column(one, rows[column if column == SCORE else FEATURE + column].combine_chunks())
                for column, one in bins.items()}  # fmt: skip
    ProfileTable(settings, name).write({("all", partition.key): profiles}, [partition.key])
    # Labels of the last days may still come.
    is_late = DAY - day <= timedelta(days=3)
    told = {"estimate": 0.75, "volume": float(rows.num_rows)} | ({} if is_late else {"metric": 0.75, "label": 0.3})
    as_of = partition.end if is_late else partition.end + timedelta(days=9)
    write_looks([Look(ModelKey(name), partition.key, partition.start, partition.end, as_of, 1, rows.num_rows,
                      0.0 if is_late else 1.0, frozenset(), (), told)], settings)  # fmt: skip


def make_reference(
    rng: np.random.Generator, name: str, bins: dict[str, Bins], shares: Mapping[str, Floats] = MappingProxyType({}),
    rows: int = 10_000,
) -> Reference:  # fmt: skip
    """Ninety days of counts, as training leaves them: so many rows a day, in even shares where none are given."""
    spec = spec_of(name)
    days = [partition_of(spec, FIRST + timedelta(days=day)).key for day in range(REFERENCE_DAYS)]
    columns = tuple(column for column in bins if column != SCORE)
    width = max(len(bins[column]) for column in columns)
    counts = np.zeros((REFERENCE_DAYS, len(columns), width))
    for position, column in enumerate(columns):
        size = len(bins[column])
        counts[:, position, :size] = rng.multinomial(rows, shares.get(column, np.full(size, 1 / size)), REFERENCE_DAYS)
    size = len(bins[SCORE])
    own = shares.get(SCORE, np.full(size, 1 / size))
    scores = rng.multinomial(rows, own, TEST_DAYS).astype(np.float64)[:, None]
    numbers = {one: 0.75 + 0.01 * rng.standard_normal(TEST_DAYS) for one in ("metric", "estimate", "label")}
    frequencies = np.linspace(0, 1, 50)
    features = learn_usual(spec, days, {column: bins[column] for column in columns}, counts)
    return Reference(
        ModelKey(name), 1, bins, features, learn_usual(spec, days[-TEST_DAYS:], {SCORE: bins[SCORE]}, scores),
        nothing_usual(), {**numbers, "volume": np.full(TEST_DAYS, 10_000.0)},
        Calibration(frequencies, frequencies), (), dict.fromkeys(columns, 1 / len(columns)),
    )  # fmt: skip
