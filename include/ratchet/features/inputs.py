"""The rows that features are computed from: each table at one version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
import pyarrow.dataset as pads

from include.ratchet.data.tables import Table
from include.ratchet.settings import Settings
from include.ratchet.spec import Model


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
    def open(cls, settings: Settings, model: Model, versions: Mapping[str, int] | None = None) -> Inputs:
        """The model's landed tables, at the versions given (their newest, where none is)."""
        found: dict[str, Source] = {}
        for name in model.spec.table_names:
            table = Table(settings, model.name, name)
            version = (versions or {}).get(name)
            if version is None and table.version() is None:
                continue
            # DuckDB reads local files faster than through pyarrow; a bucket would need an extension of it.
            is_local = "://" not in settings.store
            found[name] = table.files(version) if is_local else Bucket(table, version)
        return cls(found)
