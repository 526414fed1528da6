"""A model's own Python function as a source."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import pyarrow as pa

from include.ratchet.data.sources.batch import SourceBatch, Span, explain_absence, number_rows
from include.ratchet.errors import RatchetError, SourceError
from include.ratchet.spec import Model, Partition
from include.ratchet.spec.modules import load_function

SOURCES_FILE = "sources.py"


class FunctionSource:
    """Calls `f(partition, as_of)` of the model's `sources.py`."""

    def __init__(self, model: Model, table: str) -> None:
        self._table = table
        self._name = str(model.spec.table(table).source.python)
        self._path = model.folder / SOURCES_FILE
        self._call = load_function(model, SOURCES_FILE, self._name)

    def read(self, partition: Partition, as_of: datetime) -> SourceBatch:
        """The function's rows; a pandas frame loses its index."""
        where = f"{self._path.name}:{self._name}"
        try:
            found = self._call(partition, as_of)
        except RatchetError:
            raise
        except Exception as error:
            message = f"{self._path}: {self._name}({partition.key!r}) raised {type(error).__name__}: {error}"
            raise SourceError(message) from error
        table = to_arrow(found, where)
        if table.num_rows == 0:
            raise explain_absence(self._table, partition, where)
        return SourceBatch(table=table, spans=(Span(where, number_rows(table.num_rows)),))


def to_arrow(found: Any, where: str) -> pa.Table:
    """A pandas frame, an Arrow table or batch as an Arrow table.

    Raises:
        SourceError: it is something else.
    """
    if isinstance(found, pa.RecordBatch):
        return pa.Table.from_batches([found])
    if isinstance(found, pa.Table):
        return found
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(found, pandas.DataFrame):
        return _from_frame(found)
    message = f"{where} returned {type(found).__name__}; expected a pandas DataFrame or a pyarrow Table"
    raise SourceError(message)


def _from_frame(frame: Any) -> pa.Table:
    columns = {}
    for name in frame.columns:
        try:
            columns[str(name)] = pa.Array.from_pandas(frame[name])
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            # Values of mixed types, such as numbers among text: text is what they have in common.
            values = [None if value is None or value != value else str(value) for value in frame[name]]
            columns[str(name)] = pa.array(values, pa.string())
    return pa.table(columns)
