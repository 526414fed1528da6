"""The query engine behind features: DuckDB in this process, bounded in memory and threads, reaching for nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import duckdb
import ibis.expr.datatypes as dt
import pyarrow as pa
import pyarrow.dataset as pads

from include.ratchet.errors import SchemaChangedError
from include.ratchet.features.closing import Closing
from include.ratchet.features.inputs import Bucket, Inputs, Source
from include.ratchet.features.schema import column_types, source_name
from include.ratchet.settings import Settings
from include.ratchet.spec import Model

_PIECE_ROWS = 65_536
_SQL_TYPES = {"string": "VARCHAR", "int64": "BIGINT", "float64": "DOUBLE", "boolean": "BOOLEAN", "date": "DATE"}


class Slot:
    """A table that stands for whatever rows it holds at the time of a query."""

    def __init__(self, rows: pa.Table) -> None:
        self.rows = rows

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The rows, in pieces that several threads can take."""
        return self.rows.to_reader(max_chunksize=_PIECE_ROWS).__arrow_c_stream__(requested_schema)


class Statement(NamedTuple):
    """A prepared query and the columns of its result."""

    query: str
    schema: pa.Schema


class Engine(Closing):
    """A private DuckDB database with a model's tables in it; close it, or use it in a `with` statement."""

    def __init__(self, settings: Settings) -> None:
        spill = settings.home / "spill"
        spill.mkdir(parents=True, exist_ok=True)
        self._spill = tempfile.TemporaryDirectory(dir=spill, ignore_cleanup_errors=True)
        self.connection = duckdb.connect(
            config={
                "threads": settings.duckdb_threads,
                "memory_limit": settings.duckdb_memory,
                "temp_directory": self._spill.name,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        self.connection.execute("SET TimeZone = 'UTC'")

    def close(self) -> None:
        """Let go of the memory and the spilled files."""
        self.connection.close()
        self._spill.cleanup()

    def bind_inputs(self, model: Model, inputs: Inputs) -> None:
        """Make every table of the model readable by name, in its declared types; one not landed yet is empty.

        Raises:
            SchemaChangedError: a declared column is not there.
        """
        for name in model.spec.table_names:
            self.bind(source_name(name), inputs.tables.get(name), column_types(model, name))

    def bind(self, view: str, source: Source | None, types: Mapping[str, dt.DataType]) -> None:
        """Make some rows (None: no row) readable under a name, in given types.

        Raises:
            SchemaChangedError: a column is not there.
        """
        if source is None:
            empty = ", ".join(f"NULL::{_sql_type(kind)} AS {quote(column)}" for column, kind in types.items())
            self.connection.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT {empty} WHERE false")
            return
        relation = self._relation(f"{view}_input", source)
        found = dict(zip(relation.columns, map(str, relation.types), strict=True))
        require_columns(view, found, types)
        columns = ", ".join(
            f"{convert(quote(column), found[column], kind)} AS {quote(column)}" for column, kind in types.items()
        )
        # Several joins read a table; many small files, or a bucket, are opened once, and spilled if they are too large.
        kind = "VIEW" if isinstance(source, pa.Table) else "TEMP TABLE"
        self.connection.execute(f"CREATE OR REPLACE {kind} {view} AS SELECT {columns} FROM {view}_input")  # noqa: S608

    def _relation(self, name: str, source: Source) -> duckdb.DuckDBPyRelation:
        source = source.dataset() if isinstance(source, Bucket) else source
        if isinstance(source, pa.Table | pads.Dataset):
            self.connection.register(name, source)
        else:
            files = ", ".join(literal(str(Path(file))) for file in source)
            self.connection.execute(
                f"CREATE OR REPLACE VIEW {name} AS "  # noqa: S608
                f"SELECT * FROM read_parquet([{files}], union_by_name = true, hive_partitioning = true)"
            )
        return self.connection.table(name)

    def open_slot(self, name: str, schema: pa.Schema) -> Slot:
        """A table of this session whose rows are handed over from memory, as often as they change."""
        slot = Slot(schema.empty_table())
        self.connection.register(name, slot)
        return slot

    def prepare(self, name: str, query: str) -> Statement:
        """Plan a query once, over slots that are still empty."""
        self.connection.execute(f"PREPARE {name} AS {query}")
        # DuckDB's own types: of seconds since 1970 Ibis says that they are whole, and DuckDB gives their fraction.
        return Statement(f"EXECUTE {name}", self.fetch(f"EXECUTE {name}").schema)

    def run(self, statement: Statement, *, few: bool) -> pa.Table:
        """The result of a prepared query; `few` rows are fetched one by one, which is faster for them by far."""
        if not few:
            return self.fetch(statement.query)
        rows = self.connection.execute(statement.query).fetchall()
        columns = zip(*rows, strict=True) if rows else [()] * len(statement.schema)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, statement.schema, strict=True)]
        return pa.table(arrays, schema=statement.schema)

    def store(self, name: str, query: str) -> int:
        """Keep a query's result as a table of this session.

        Returns:
            Its number of rows.
        """
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")
        return self.count(name)

    def count(self, name: str) -> int:
        """The number of rows of a table."""
        rows = self.connection.sql(f"SELECT count(*) FROM {name}").fetchall()  # noqa: S608
        return int(rows[0][0])

    def fetch(self, query: str) -> pa.Table:
        """A query's result as Arrow."""
        return self.connection.sql(query).to_arrow_table()


def require_columns(view: str, found: Collection[str], expected: Iterable[str]) -> None:
    """Stop if a table has lost columns.

    Raises:
        SchemaChangedError: naming them.
    """
    lost = [column for column in expected if column not in found]
    if lost:
        message = (
            f"{view}: found columns {', '.join(found)}; expected {', '.join(lost)} too, as model.yaml declares. "
            "Land the table again, or take the columns out of the spec."
        )
        raise SchemaChangedError(message)


def quote(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def convert(column: str, found: str, kind: dt.DataType) -> str:
    """The SQL that turns a column of one type into a declared one; instants become naive and UTC."""
    if kind.is_timestamp() and found.startswith(("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")):
        # Straight from one to the other, a cast would ask the calendar of the session's zone for each row.
        return f"make_timestamp(epoch_us(CAST({column} AS TIMESTAMPTZ)))"
    target = _sql_type(kind)
    return column if found == target else f"CAST({column} AS {target})"


def _sql_type(kind: dt.DataType) -> str:
    return "TIMESTAMP" if kind.is_timestamp() else _SQL_TYPES[str(kind)]
