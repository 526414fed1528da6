"""The full report of what moved: Evidently's page on a bounded sample of both sides, and its numbers as JSON.

Statistics decide without it; it is drawn for people, of a look with signals.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.blobs import open_blobs
from include.ratchet.data.records import FEATURE, RecordTable
from include.ratchet.data.segments import read_part
from include.ratchet.monitoring.binning import to_numbers
from include.ratchet.monitoring.observe import records_of
from include.ratchet.monitoring.quality import sample
from include.ratchet.monitoring.reference import Reference, read_reference
from include.ratchet.monitoring.signals import Look
from include.ratchet.registry.versions import get_version
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey

if TYPE_CHECKING:
    import pandas as pd

PAGE, NUMBERS = "report.html", "report.json"
COLUMNS = 20
"""Drawn at most: those that moved most, then those that weigh most."""


def report_path(key: ModelKey, partition: str, file: str) -> str:
    """Where a report lies in the store."""
    return f"monitoring/{key.slug}/reports/{partition}/{file}"


def draw_report(settings: Settings, model: Model, look: Look) -> str | None:
    """Draw and keep the report of a look; the same look again is the same report.

    Returns:
        The page's path in the store; None if there is nothing to compare.
    """
    if look.version is None or not look.rows:
        return None
    reference = read_reference(settings, model, look.key, look.version)
    columns = _choose(reference, look)
    before = _learned(settings, model, look, columns, model.spec.monitoring.report_rows)
    now = _seen(settings, model, look, columns, model.spec.monitoring.report_rows)
    if not columns or not len(before) or not len(now):
        return None
    page, numbers = _draw(before, now, [name for name in columns if reference.bins[name].kind == "category"])
    blobs = open_blobs(settings)
    signals = [{"kind": one.kind, "words": one.words} for one in look.fired]
    content = {"look": look.to_dict(), "signals": signals, "evidently": numbers}
    blobs.put(report_path(look.key, look.partition, NUMBERS), json.dumps(content, default=str).encode())
    path = report_path(look.key, look.partition, PAGE)
    blobs.put(path, page.encode())
    return path


def _choose(reference: Reference, look: Look) -> list[str]:
    effect = {name: one["effect"] for name, one in look.numbers.get("drift", {}).items()}
    named = {signal.subject for signal in look.fired}
    return sorted(
        reference.features.columns,
        key=lambda name: (name not in named, -effect.get(name, 0.0), -reference.importance.get(name, 0.0)),
    )[:COLUMNS]


def _learned(settings: Settings, model: Model, look: Look, columns: Sequence[str], rows: int) -> pd.DataFrame:
    version = get_version(look.key, look.version or 0, settings)
    table = read_part(model.spec, look.key, version.lineage.snapshot, settings).select(list(columns))
    return _frame(table.take(pa.array(sample(table.num_rows, rows))), columns)


def _seen(settings: Settings, model: Model, look: Look, columns: Sequence[str], rows: int) -> pd.DataFrame:
    records = RecordTable(settings, model, records_of(settings, model))
    wanted = ["segment", "route", *(f"{FEATURE}{name}" for name in columns)]
    there = records.schema()
    table = records.read([look.partition], columns=[name for name in wanted if there and name in there.names])
    is_own = pc.and_kleene(pc.equal(table["segment"], look.key.segment), pc.not_equal(table["route"], "shadow"))
    table = table.filter(is_own)
    table = table.take(pa.array(sample(table.num_rows, rows)))
    return _frame(table.rename_columns([name.removeprefix(FEATURE) for name in table.column_names]), columns)


def _frame(table: pa.Table, columns: Sequence[str]) -> pd.DataFrame:
    """Numbers as float64, all else as text; a column that is missing is empty."""
    import pandas as pd

    found: dict[str, Any] = {}
    for name in columns:
        if name not in table.column_names:
            found[name] = np.full(table.num_rows, np.nan)
        elif pa.types.is_string(table[name].type) or pa.types.is_large_string(table[name].type):
            found[name] = table[name].to_pandas().astype(object)
        else:
            found[name] = to_numbers(table[name].combine_chunks())
    return pd.DataFrame(found, columns=list(columns))


def _draw(before: pd.DataFrame, now: pd.DataFrame, texts: Sequence[str]) -> tuple[str, Any]:
    """Evidently's page and numbers. A column without any value on one side cannot be drawn and is left out."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset, DataSummaryPreset

    kept = [name for name in before.columns if before[name].notna().any() and now[name].notna().any()]
    text = [name for name in kept if name in texts]
    definition = DataDefinition(numerical_columns=[name for name in kept if name not in text], categorical_columns=text)
    sides = [Dataset.from_pandas(side[kept], data_definition=definition) for side in (now, before)]
    with warnings.catch_warnings():
        # numpy warns of columns without any variance, of which there are many where a source broke.
        warnings.simplefilter("ignore")
        drawn = Report([DataDriftPreset(), DataSummaryPreset()]).run(*sides)
        return drawn.get_html_str(as_iframe=False), json.loads(drawn.json())
