"""A model's spec: what a team writes once in `include/models/<name>/model.yaml`."""

from __future__ import annotations

import difflib
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from include.ratchet.spec.base import ColumnName, Name, Spec
from include.ratchet.spec.dependencies import DependenciesSpec
from include.ratchet.spec.durations import Duration
from include.ratchet.spec.hashing import hash_spec
from include.ratchet.spec.labels import ANNOTATIONS
from include.ratchet.spec.monitoring import MonitoringSpec
from include.ratchet.spec.privacy import PrivacySpec
from include.ratchet.spec.scope import BusinessSpec, ScopeSpec
from include.ratchet.spec.segments import ModelKey, SegmentsSpec
from include.ratchet.spec.serving import RolloutSpec, ServingSpec
from include.ratchet.spec.tables import ColumnSpec, LabelSpec, QualitySpec, SourceSpec, TableSpec
from include.ratchet.spec.training import (
    DEFAULT_METRIC,
    TASK_METRICS,
    AlertsSpec,
    EvaluationSpec,
    GatesSpec,
    TrainingSpec,
)


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(name, available_timezones(), 1)
        message = f"not an IANA time zone{f'; did you mean {near[0]!r}?' if near else ', such as Europe/Paris'}"
        raise ValueError(message) from None
    return name


def _known_cron(expression: str) -> str:
    from croniter import croniter

    if not croniter.is_valid(expression):
        message = "not a cron expression; expected five fields, such as `0 6 * * *`"
        raise ValueError(message)
    return expression


Cron = Annotated[str, AfterValidator(_known_cron)]


NIGHTLY = "0 6 * * *"


class ScheduleSpec(Spec):
    """When runs start, in the spec's time zone."""

    ingest: Cron | None = None
    """Absent: at each partition's end."""
    train: Cron | None = NIGHTLY
    """null: only on request."""
    deadline: Duration = Field(default="4h", validate_default=True)
    """A nightly training that has not ended by then is reported."""
    execution_timeout: Duration = Field(default="2h", validate_default=True)
    """Of any single task."""


class ModelSpec(Spec):
    """What a team says about its model, once."""

    name: Name
    """The same as the folder's."""
    owner: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    description: Annotated[str, StringConstraints(min_length=10)]
    """One paragraph: what is predicted, for whom, to decide what."""
    task: Literal["binary", "multiclass", "regression"]
    tags: tuple[Name, ...] = ()
    scope: ScopeSpec | None = None
    """Why it is there and what it is held to; absent: only `description` says."""

    source: SourceSpec
    keys: tuple[ColumnName, ...] = Field(min_length=1)
    event_time: ColumnName
    label: LabelSpec
    columns: dict[ColumnName, ColumnSpec] = Field(default_factory=dict)
    quality: QualitySpec = QualitySpec()
    tables: dict[Name, TableSpec] = Field(default_factory=dict)
    """Further tables that features read."""

    partition: Literal["day", "hour"] = "day"
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "UTC"
    """In which partitions begin and cron expressions are read."""
    start: str | None = Field(default=None, pattern=r"^\d{4}-\d{2}-\d{2}$")
    """First day of the history."""
    prediction_lead: Duration = Field(default="0m", validate_default=True)
    """A row's prediction time is its event time minus this. Features see only what was available before it."""

    segments: SegmentsSpec | None = None
    """Absent: one model of all rows."""
    privacy: PrivacySpec | None = None
    """Absent: no row is about a person, and nobody can be erased."""
    schedule: ScheduleSpec = ScheduleSpec()
    training: TrainingSpec = TrainingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    gates: GatesSpec = GatesSpec()
    serving: ServingSpec = ServingSpec()
    rollout: RolloutSpec = RolloutSpec()
    monitoring: MonitoringSpec = MonitoringSpec()
    alerts: AlertsSpec = AlertsSpec()
    dependencies: DependenciesSpec = DependenciesSpec()

    @model_validator(mode="after")
    def _check_metrics(self) -> Self:
        allowed = TASK_METRICS[self.task]
        wanted = {"evaluation": (self.metric, *self.evaluation.metrics),
                  "scope.guardrails": tuple(self.scope.guardrails) if self.scope else ()}  # fmt: skip
        for where, metrics in wanted.items():
            for metric in metrics:
                if metric not in allowed:
                    message = (
                        f"{where}: {metric} does not measure a {self.task} task; expected one of {', '.join(allowed)}"
                    )
                    raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        if self.name in self.tables:
            message = f"tables: {self.name} is the model's own table; give the further table another name"
            raise ValueError(message)
        if self.label.column in (*self.keys, self.event_time):
            message = f"label.column: {self.label.column} is a key or the event time; expected a column of its own"
            raise ValueError(message)
        masked = sorted({*self.keys} & {*self.serving.records.mask})
        if masked:
            message = (
                f"serving.records.mask: {masked[0]} is a key, by which labels come, and records keep keys as they are; "
                "mask other columns, or give the rows a key that may be seen"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _check_sections(self) -> Self:
        if self.scope is not None:
            self.scope.check_columns(self.columns)
        if self.privacy is not None:
            self.privacy.check_columns(self.columns, {name: table.columns for name, table in self.tables.items()})
        unknown = [one for one in self.dependencies.costs if one.partition(".")[0] not in self.table_names]
        if unknown:
            tables = ", ".join(self.table_names)
            message = f"dependencies.costs: {unknown[0]} is no table of the model; expected one of {tables}"
            raise ValueError(message)
        if self.serving.holdout is not None:
            self.serving.holdout.check_task(self.task)
        self.gates.check_asked(self.task, self.evaluation.sensitive)
        return self

    @model_validator(mode="after")
    def _check_annotations(self) -> Self:
        if self.label.annotations is None:
            return self
        rule, is_number = self.label.annotations.rule, self.task == "regression"
        if rule == ("majority" if is_number else "median"):
            message = (
                f"label.annotations.rule: {rule} does not settle the labels of a {self.task} task; expected "
                f"{'median' if is_number else 'majority'}, unanimous, latest or first_of"
            )
            raise ValueError(message)
        column = self.columns.get(self.label.column)
        allowed = ("float",) if is_number else ("boolean", "string", "integer")
        if column is None or column.type not in allowed:
            message = (
                f"label.annotations: people's words are read as the type of {self.label.column}, found "
                f"{column.type if column else 'none'}; expected {' or '.join(allowed)}. Declare it under `columns`."
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _check_segments(self) -> Self:
        for column in self.segments.by if self.segments else ():
            found = self.columns[column].type if column in self.columns else "a column that `columns` does not list"
            if found not in ("string", "integer", "boolean"):
                message = f"segments.by: {column} is {found}; expected a column of type string, integer or boolean"
                raise ValueError(message)
            if column in (self.label.column, *self.label.outcomes):
                message = f"segments.by: {column} is known only with the label; expected a column that callers send"
                raise ValueError(message)
        masked = sorted({*self.segments.by} & {*self.serving.records.mask}) if self.segments else []
        if masked:
            message = (
                f"segments.by: {masked[0]} is in serving.records.mask, but records name a row's segment as it is; mask "
                "other columns, or divide by one that may be seen"
            )
            raise ValueError(message)
        if self.segments and self.segments.together and self.rollout.strategy != "direct":
            message = (
                f"segments.together: champions move in one transaction, but rollout.strategy is "
                f"{self.rollout.strategy}, which hands over one by one; expected direct, or together: false"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _check_isolation(self) -> Self:
        reason = "a model of segments" if self.segments else "training.updates" if self.training.updates else None
        if reason and self.training.isolation == "docker":
            message = f"training.isolation: docker does not go with {reason}; expected none or kubernetes"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        own = [("columns", self.columns, time) for time in (self.event_time, self.label.available_time)]
        further = [
            (f"tables.{name}.columns", table.columns, time)
            for name, table in self.tables.items()
            for time in (table.event_time, table.available_time)
        ]
        for where, columns, time in own + further:
            if time in columns and columns[time].type != "timestamp":
                message = (
                    f"{where}.{time}.type: {time} is when something happened or was known, found {columns[time].type}; "
                    "expected timestamp (a date in the source is read as its midnight, UTC)"
                )
                raise ValueError(message)
        return self

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return self.evaluation.metric or DEFAULT_METRIC[self.task]

    @property
    def business(self) -> BusinessSpec | None:
        """What a prediction is worth, where the scope states it."""
        return self.scope.business if self.scope else None

    @property
    def margin(self) -> float:
        """How much the metric may fall in production before that counts."""
        return self.gates.margin if self.monitoring.margin is None else self.monitoring.margin

    @property
    def partition_length(self) -> timedelta:
        """Nominal length of a partition (a local day may be 23 or 25 hours long)."""
        return timedelta(days=1) if self.partition == "day" else timedelta(hours=1)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone that partitions begin in."""
        return ZoneInfo(self.timezone)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of what it says of the model: defaults filled in; comments, order and operation left out."""
        return hash_spec(self)

    def table(self, name: str) -> TableSpec:
        """The spec of one table; the model's own goes by the model's name.

        Raises:
            KeyError: the model has no such table.
        """
        if name != self.name:
            return self.tables[name]
        return TableSpec(
            source=self.source, keys=self.keys, event_time=self.event_time, columns=self.columns, quality=self.quality
        )

    def subject_of(self, table: str) -> str | None:
        """The column of a table that names the person that a row is about, if one does."""
        if self.privacy is None:
            return None
        return self.privacy.subject if table == self.name else self.privacy.tables.get(table)

    @property
    def has_whole(self) -> bool:
        """Whether there is a model of all rows: the only one, or the pooled one beside those of segments."""
        return self.segments is None or self.segments.pool

    @property
    def waits_for_all(self) -> bool:
        """Whether promotions wait until every segment is judged: they move together, or a person is asked."""
        return self.segments is not None and (self.segments.together or self.gates.approval.required)

    @property
    def table_names(self) -> tuple[str, ...]:
        """The model's own table first, then the further ones."""
        return (self.name, *self.tables)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Everything that a training set is made of: the tables, and what people said of the labels."""
        return (*self.table_names, *((ANNOTATIONS,) if self.label.annotations else ()))


class Model(BaseModel):
    """A spec together with the folder it was read from."""

    model_config = ConfigDict(frozen=True)

    spec: ModelSpec
    folder: Path

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.name

    @property
    def key(self) -> ModelKey:
        """Of the whole model, or of the pooled one."""
        return ModelKey(self.spec.name)
