"""The rows that features are computed from: each table at one version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import pyarrow as pa
import pyarrow.dataset as pads

from include.ratchet.data.annotations import END, AnnotationTable
from include.ratchet.data.resolution import settle_labels
from include.ratchet.data.tables import Table
from include.ratchet.features.schema import column_types
from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from include.ratchet.spec.labels import ANNOTATIONS


@dataclass(frozen=True)
class Bucket:
    """A table in a bucket at one version: DuckDB gets its rows through Arrow, Spark reads the files itself."""

    table: Table
    version: int | None

    def dataset(self) -> pads.Dataset:
        """To read it in this process."""
        return self.table.dataset(self.version)

    def files(self) -> list[str]:
        """Addresses of its Parquet files."""
        return self.table.files(self.version)


Source: TypeAlias = pa.Table | pads.Dataset | Bucket | Sequence[str]
"""Rows in memory, a dataset, a table in a bucket, or local Parquet files."""


@dataclass(frozen=True)
class Inputs:
    """A model's tables by name; one that has not been landed yet is absent and counts as empty."""

    tables: Mapping[str, Source]

    @classmethod
    def open(
        cls, settings: Settings, model: Model, versions: Mapping[str, int] | None = None, *, as_of: datetime = END
    ) -> Inputs:
        """The model's landed tables, at the versions given (their newest, where none is).

        Where people label rows, the model's own table has the labels that it had as of an instant, in memory.
        """
        found: dict[str, Source] = {}
        for name in model.spec.table_names:
            table = Table(settings, model.name, name)
            version = (versions or {}).get(name)
            if version is None and table.version() is None:
                continue
            if name == model.name and model.spec.label.annotations:
                found[name] = _label_rows(settings, model, table, version, versions, as_of)
                continue
            # DuckDB reads local files faster than through pyarrow; a bucket would need an extension of it.
            is_local = "://" not in settings.store
            found[name] = table.files(version) if is_local else Bucket(table, version)
        return cls(found)


def read_versions(settings: Settings, model: Model) -> dict[str, int]:
    """The newest version of everything that features are computed from; without what has not been landed yet."""
    found = {name: Table(settings, model.name, name).version() for name in model.spec.input_names}
    return {name: version for name, version in found.items() if version is not None}


def _label_rows(
    settings: Settings, model: Model, table: Table, version: int | None, versions: Mapping[str, int] | None,
    as_of: datetime,
) -> pa.Table:  # fmt: skip
    schema = table.schema(version)
    there = schema.names if schema is not None else []
    rows = table.read(version=version, columns=[name for name in column_types(model, model.name) if name in there])
    # Versions of before anybody had labelled a row do not name the table of annotations.
    said = AnnotationTable(settings, model.name)
    is_silent = versions is not None and ANNOTATIONS not in versions
    annotations = [] if is_silent else said.all(as_of, (versions or {}).get(ANNOTATIONS))
    return settle_labels(model, rows, annotations, as_of)
