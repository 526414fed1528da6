"""Rows as tasks for people: what a labeller sees, and the keys by which their word comes back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.records import record_keys
from include.ratchet.data.tables import Table
from include.ratchet.errors import AnnotationError
from include.ratchet.labels.items import KEY, MODEL
from include.ratchet.settings import Settings
from include.ratchet.spec import Model


@dataclass(frozen=True)
class Task:
    """One row to label.

    Attributes:
        model: whose row it is.
        key: the row's, see `records.record_key`.
        text: its columns, one a line. Neither the label nor what is known only with it: a second opinion is one only
            where it does not know the first. Nor what records mask, as the tool is another place.
        suggestion: the likely label, if labellers are to see it.
    """

    model: str
    key: str
    text: str
    suggestion: str | None = None

    @property
    def fields(self) -> dict[str, str]:
        """What a tool keeps of it beside what it shows, and hands back."""
        return {MODEL: self.model, KEY: self.key}


def make_tasks(
    settings: Settings, model: Model, keys: Collection[str], suggestions: Mapping[str, Any] | None = None
) -> list[Task]:
    """Tasks of some rows, in the order of their keys' list.

    Raises:
        AnnotationError: a row is not in the model's table.
    """
    spec, table = model.spec, Table(settings, model.name, model.name)
    schema = table.schema()
    hidden = {spec.label.column, spec.label.available_time, *spec.label.outcomes, *spec.serving.records.mask}
    shown = [name for name in (schema.names if schema else []) if name not in hidden]
    rows = table.read(columns=shown) if schema else pa.table({name: [] for name in spec.keys})
    found = record_keys(spec, rows)
    places = pc.index_in(pa.array(keys, pa.string()), value_set=found)
    if places.null_count:
        lost = next(key for key, place in zip(keys, places.to_pylist(), strict=True) if place is None)
        message = f"{model.name}: found no row with keys {lost}; expected one that has landed. Land its day again."
        raise AnnotationError(message)
    chosen = rows.take(places).to_pylist()
    said = suggestions or {}
    return [
        Task(model.name, key, _describe(row), None if said.get(key) is None else write_choice(said[key]))
        for key, row in zip(keys, chosen, strict=True)
    ]


def write_choice(value: Any) -> str:
    """A label as the name of a choice."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _describe(row: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in row.items() if value is not None)
