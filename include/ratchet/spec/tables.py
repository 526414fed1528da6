"""The data half of a spec: where rows come from, what they must look like, and when they are known."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from include.ratchet.spec.base import ColumnName, Name, Spec
from include.ratchet.spec.durations import Duration
from include.ratchet.spec.labels import AnnotationsSpec

ColumnType = Literal["string", "integer", "float", "boolean", "timestamp", "date"]
Severity = Literal["fail", "warn"]


class SourceSpec(Spec):
    """Where a table's rows come from: exactly one of `python`, `files`, `sql` and `s3`.

    `{partition}`, `{start}` and `{end}` in a URL or an object key stand for the partition asked for;
    `:start`, `:end` and `:as_of` in a query are bound parameters (UTC).
    """

    python: Name | None = None
    """A function of the model's `sources.py`: `def f(partition, as_of) -> pandas.DataFrame | pyarrow.Table`."""
    files: str | None = None
    """An fsspec URL of CSV or Parquet files: a path (relative to the model's folder), `s3://`, with globs."""
    sql: str | None = None
    """A query over an Airflow connection."""
    s3: str | None = None
    """An object's `bucket/key` read through boto3."""
    format: Literal["csv", "parquet"] | None = None
    """Of `files` and `s3`; guessed from the name's end."""
    connection: str | None = None
    """Airflow connection id of `sql`, `s3` and `files`."""

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        given = [kind for kind in ("python", "files", "sql", "s3") if getattr(self, kind) is not None]
        if len(given) != 1:
            message = f"expected exactly one of python, files, sql and s3; found {', '.join(given) or 'none'}"
            raise ValueError(message)
        if self.sql is not None and self.connection is None:
            message = "a `sql` source needs `connection`, the id of an Airflow connection"
            raise ValueError(message)
        return self

    @property
    def kind(self) -> Literal["python", "files", "sql", "s3"]:
        """Which of the four kinds this is."""
        if self.python is not None:
            return "python"
        if self.files is not None:
            return "files"
        return "sql" if self.sql is not None else "s3"


class ColumnSpec(Spec):
    """What one column must look like. A row that breaks a rule goes to quarantine, whatever the severity."""

    type: ColumnType
    nullable: bool = True
    min: float | None = None
    max: float | None = None
    values: tuple[str, ...] | None = None
    """The only values allowed."""
    severity: Severity = "fail"
    """What a broken expectation on the landed partition does: `fail` stops before publishing, `warn` alerts."""
    max_null_share: float | None = Field(default=None, ge=0, le=1)
    """At most this share of a partition may be null."""

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if (self.min is not None or self.max is not None) and self.type not in ("integer", "float", "string"):
            message = f"min and max bound numbers, and the length of text; found type {self.type}. Take them out."
            raise ValueError(message)
        return self


class QualitySpec(Spec):
    """What a landed partition must look like as a whole."""

    quarantine_limit: float = Field(default=0.01, ge=0, le=1)
    """The share of quarantined rows above which landing fails."""
    duplicates: Literal["last", "first"] = "last"
    """Which of several rows with the same keys is kept."""
    row_count_tolerance: float = Field(default=0.5, gt=0)
    """A partition's row count may lie this share outside the range of the trailing weeks."""
    row_count_weeks: int = Field(default=4, ge=1)
    row_count_severity: Severity = "warn"
    max_age: Duration | None = None
    """Freshness: the newest event may be this much older than the partition's end."""


class TableSpec(Spec):
    """A further table that features read, such as weather or planes."""

    source: SourceSpec
    keys: tuple[ColumnName, ...] = Field(min_length=1)
    event_time: ColumnName | None = None
    """Absent: a static table without history, landed whole and known from the beginning."""
    available_time: ColumnName | None = None
    """When a row could first be known; absent: at its event time plus `delay`."""
    delay: Duration = Field(default="0m", validate_default=True)
    columns: dict[ColumnName, ColumnSpec] = Field(default_factory=dict)
    quality: QualitySpec = QualitySpec()

    @property
    def is_static(self) -> bool:
        """Whether the table has no history."""
        return self.event_time is None


class LabelSpec(Spec):
    """What is predicted, and when it is known."""

    column: ColumnName
    available_time: ColumnName | None = None
    """Column with the instant at which the label became known; absent: event time plus `delay`."""
    delay: Duration = Field(default="0m", validate_default=True)
    """Without `available_time`: how long after the event the label is known."""
    lateness: Duration = Field(default="2d", validate_default=True)
    """How long labels may still arrive or change: that many past partitions are merged again at each ingestion."""
    outcomes: tuple[ColumnName, ...] = ()
    """Other columns that are known only together with the label. No feature of the row itself may use them."""
    positive: str | int | bool | None = None
    """Binary tasks: the value that counts as positive; absent: true or 1."""
    annotations: AnnotationsSpec | None = None
    """Absent: the source's label is the only one."""
