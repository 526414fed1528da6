"""Spark behind features: a session of one's own, with a model's tables in it by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.dataset as pads

from include.ratchet.errors import BackendUnavailableError
from include.ratchet.features.closing import Closing
from include.ratchet.features.engine import require_columns
from include.ratchet.features.inputs import Bucket, Inputs, Source
from include.ratchet.features.schema import column_types, source_name
from include.ratchet.features.spark.dialect import compile_spark
from include.ratchet.settings import Settings
from include.ratchet.spec import Model

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_INSTANT = pa.timestamp("us", "UTC")
_TYPES = {"string": "string", "boolean": "boolean", "date": "date"}
_SESSION = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
}
_APPLICATION = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.driver.maxResultSize": "0",
}
_NARROW = {"tinyint", "smallint", "int"}
_ROWS = 100_000
"""Of a task, about."""


class SparkEngine(Closing):
    """A Spark session with a model's tables in it; close it, or use it in a `with` statement.

    The application behind it is shared by the whole process and ends with it.

    Raises:
        BackendUnavailableError: there is no pyspark, no Java, or no such master.
    """

    def __init__(self, settings: Settings) -> None:
        self.session = open_application(settings.spark_master).newSession()
        for name, value in _SESSION.items():
            self.session.conf.set(name, value)
        self._kept: list[DataFrame] = []
        self.count = 0
        """Of the rows that were kept."""
        self.shares = 2 * self.session.sparkContext.defaultParallelism
        """Into how many parts work is divided."""

    def close(self) -> None:
        """Let go of what was kept."""
        for rows in self._kept:
            rows.unpersist()

    def bind_inputs(self, model: Model, inputs: Inputs) -> None:
        """Make every table of the model readable by name, in its declared types; one not landed yet is empty.

        Raises:
            SchemaChangedError: a declared column is not there.
        """
        for name in model.spec.table_names:
            types, view = column_types(model, name), source_name(name)
            rows = self._read(view, inputs.tables.get(name), types)
            columns = [rows[column].cast(sql_type(kind)).alias(column) for column, kind in types.items()]
            rows.select(columns).createOrReplaceTempView(view)

    def run(self, expression: ir.Table, where: str) -> DataFrame:
        """A query over tables by name, not run yet.

        Args:
            expression: the query.
            where: whose it is, for errors.

        Raises:
            SpecError: Spark has no words for it.
        """
        return self.session.sql(compile_spark(expression, where))

    def keep(self, name: str, rows: DataFrame) -> int:
        """Keep rows on the workers' disks under a name, and divide later work by how many they are.

        Returns:
            Their number.
        """
        from pyspark import StorageLevel

        rows = rows.persist(StorageLevel.DISK_ONLY)
        self._kept.append(rows)
        rows.createOrReplaceTempView(name)
        self.count = rows.count()
        self.shares = max(self.shares, -(-self.count // _ROWS))
        self.session.conf.set("spark.sql.shuffle.partitions", str(self.shares))
        return self.count

    def collect(self, rows: DataFrame) -> pa.Table:
        """A query's result as Arrow, instants as timestamp[us, UTC]."""
        found = _zone_times(widen(rows)).toArrow()
        return pa.table(dict(zip(found.column_names, found.columns, strict=True)))

    def write(self, rows: DataFrame, folder: str) -> int:
        """A query's result as Parquet files in a folder that must not be there yet, instants as such.

        Returns:
            Its number of rows.
        """
        from pyspark.sql import Observation
        from pyspark.sql import functions as f

        seen = Observation()
        _zone_times(widen(rows)).observe(seen, f.count(f.lit(1)).alias("rows")).write.parquet(folder)
        return int(seen.get["rows"])

    def _read(self, view: str, source: Source | None, types: Mapping[str, dt.DataType]) -> DataFrame:
        schema = pa.schema(
            [(name, _INSTANT if kind.is_timestamp() else kind.to_pyarrow()) for name, kind in types.items()]
        )
        if source is None:
            source = schema.empty_table()
        source = source.files() if isinstance(source, Bucket) else source
        if isinstance(source, pa.Table | pads.Dataset):
            require_columns(view, source.schema.names, types)
            rows = source.select(schema.names) if isinstance(source, pa.Table) else source.to_table(schema.names)
            return self.session.createDataFrame(rows.cast(schema))
        # A file written before a column was added does not have it.
        found = self.session.read.option("mergeSchema", "true").parquet(*spark_paths(source))
        require_columns(view, found.columns, types)
        return found


def open_application(master: str) -> SparkSession:
    """The process's Spark application, started by whoever asks first.

    Args:
        master: where it runs, as Spark writes it.

    Raises:
        BackendUnavailableError: there is no pyspark, no Java, or no such master.
    """
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        message = (
            f"training.backend is spark, but pyspark cannot be imported ({error}); expected pyspark 4 beside Java 17. "
            "Add pyspark>=4,<5 to requirements.txt, or set training.backend to duckdb."
        )
        raise BackendUnavailableError(message) from error
    builder: Any = SparkSession.builder
    for name, value in _APPLICATION.items():
        builder = builder.config(name, value)
    try:
        session: SparkSession = builder.master(master).appName("ratchet").getOrCreate()
    except PySparkException as error:
        message = (
            f"training.backend is spark, but Spark does not start with RATCHET_SPARK_MASTER {master!r}: {error} "
            "Expected Java 17 or later on this machine, and a master that it reaches, such as local[*]."
        )
        raise BackendUnavailableError(message) from error
    if master.startswith("local"):
        # Workers of this machine run this Python, and not the first on the PATH; a cluster knows its own.
        session.sparkContext.pythonExec = sys.executable
    return session


def widen(rows: DataFrame) -> DataFrame:
    """Whole numbers as 64 bits, as Ibis counts on; Spark has its own mind about the width of a sum or an hour."""
    columns = [rows[name].cast("bigint") if kind in _NARROW else rows[name] for name, kind in rows.dtypes]
    return rows.select([column.alias(name) for column, name in zip(columns, rows.columns, strict=True)])


def _zone_times(rows: DataFrame) -> DataFrame:
    """Times without a zone as the instants of UTC that they are."""
    for name, kind in rows.dtypes:
        if kind == "timestamp_ntz":
            rows = rows.withColumn(name, rows[name].cast("timestamp_ltz"))
    return rows


def spark_paths(files: Sequence[str]) -> list[str]:
    """Files as Hadoop names them: `s3a://` for a bucket, and nothing that it would take for a pattern."""
    return [_escape(f"s3a://{one.removeprefix('s3://')}" if one.startswith("s3://") else str(one)) for one in files]


def _escape(path: str) -> str:
    return "".join(f"\\{letter}" if letter in "{}[]*?\\" else letter for letter in path)


def sql_type(kind: dt.DataType) -> str:
    """An Ibis type as Spark's."""
    if kind.is_timestamp():
        return "timestamp_ntz"
    return "bigint" if kind.is_integer() else "double" if kind.is_floating() else _TYPES[str(kind)]
