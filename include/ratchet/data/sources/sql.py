"""A query over an Airflow connection as a source."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa

from include.ratchet.data.connections import Connections
from include.ratchet.data.sources.batch import SourceBatch, Span, explain_absence, number_rows
from include.ratchet.data.sources.slices import slice_batch
from include.ratchet.errors import SourceError
from include.ratchet.spec import Model, Partition

_CHUNK_ROWS = 50_000


class SqlSource:
    """Runs the spec's query with `:start`, `:end`, `:as_of` and `:partition` bound."""

    def __init__(self, model: Model, table: str, connections: Connections) -> None:
        spec = model.spec.table(table)
        self._table = table
        self._spec = spec
        self._query = str(spec.source.sql)
        self._connection_id = str(spec.source.connection)
        self._connection = connections.get(self._connection_id)

    def read(self, partition: Partition, as_of: datetime) -> SourceBatch:
        """The query's rows; a query that binds no time gives the whole table, of which the partition is kept."""
        values = {"start": partition.start, "end": partition.end, "as_of": as_of, "partition": partition.key}
        table, bound = self._run(values)
        where = f"query on {self._connection_id}"
        batch = SourceBatch(table=table, spans=(Span(where, number_rows(table.num_rows)),))
        if not bound & {"start", "end", "partition"}:
            batch = slice_batch(batch, self._spec.event_time, partition)
        if batch.rows == 0:
            raise explain_absence(self._table, partition, where)
        return batch

    def _run(self, values: dict[str, Any]) -> tuple[pa.Table, set[str]]:
        import sqlalchemy

        engine = sqlalchemy.create_engine(self._connection.sqlalchemy_url(), poolclass=sqlalchemy.NullPool)
        try:
            statement = sqlalchemy.text(self._query)
            bound = set(statement.compile(engine).params) & set(values)
            with engine.connect() as connection:
                streamed = connection.execution_options(yield_per=_CHUNK_ROWS)
                result = streamed.execute(statement, {name: values[name] for name in bound})
                names = list(result.keys())
                chunks = [_to_table(names, rows) for rows in result.partitions(_CHUNK_ROWS)]
        except sqlalchemy.exc.SQLAlchemyError as error:
            detail = str(getattr(error, "orig", None) or error).strip()
            message = f"{self._table}: the query on connection {self._connection_id!r} failed: {detail}"
            raise SourceError(message) from error
        finally:
            engine.dispose()
        empty = pa.table({name: pa.nulls(0) for name in names})
        return (pa.concat_tables(chunks, promote_options="permissive") if chunks else empty), bound


def _to_table(names: list[str], rows: Any) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table({name: _to_array(values) for name, values in zip(names, columns, strict=True)})


def _to_array(values: Any) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
