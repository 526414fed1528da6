"""Where rows come from: CSV and Parquet files, SQL, S3 objects, and a model's own Python function."""

from __future__ import annotations

from include.ratchet.data.connections import Connections
from include.ratchet.data.sources.batch import Source, SourceBatch, Span, UnreadableRow
from include.ratchet.spec import Model

__all__ = ["Source", "SourceBatch", "Span", "UnreadableRow", "open_source"]


def open_source(model: Model, table: str, connections: Connections) -> Source:
    """The source of one table, ready to be read by partition.

    Raises:
        SourceError: its connection or its function does not exist.
    """
    spec = model.spec.table(table).source
    if spec.kind == "python":
        from include.ratchet.data.sources.function import FunctionSource

        return FunctionSource(model, table)
    if spec.kind == "files":
        from include.ratchet.data.sources.files import FileSource

        return FileSource(model, table, connections)
    if spec.kind == "s3":
        from include.ratchet.data.sources.objects import ObjectSource

        return ObjectSource(model, table, connections)
    from include.ratchet.data.sources.sql import SqlSource

    return SqlSource(model, table, connections)
