"""The scope of a model: the problem it is there for, what it must beat, what binds it, what a prediction is worth."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from include.ratchet.spec.base import ColumnName, Name, Spec
from include.ratchet.spec.durations import Duration
from include.ratchet.spec.training import Metric

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=2000)]
SCORE, DECISION = "score", "decision"
"""What a value's expression may read besides the model's own columns."""


class BusinessSpec(Spec):
    """What one prediction is worth, in a unit that the business counts: money, minutes, beds."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=60)]
    unit: Annotated[str, StringConstraints(min_length=1, max_length=20)]
    value: Annotated[str, StringConstraints(min_length=1, max_length=4000)]
    """A SQL expression (DuckDB's) over one row: the model's columns, outcomes among them, `score` and `decision`.

    `score` is the probability of the positive class (of the likeliest one), or the predicted number. `decision` is
    whether it reaches `evaluation.threshold` (binary), the likeliest class (multiclass) or the number. A row whose
    value is null is not counted.
    """
    lower_is_better: bool = False
    min: float | None = None
    """A candidate's mean value must reach this (stay below it where lower is better), with its interval's worse end."""
    margin: float | None = Field(default=None, ge=0)
    """How much less than the champion's a candidate's mean value may be, at the paired interval's worse end."""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that the expression reads, without `score` and `decision`."""
        return tuple(name for name in _read_columns(self.value) if name not in (SCORE, DECISION))

    @cached_property
    def number(self) -> str:
        """What monitoring calls its mean: another expression is another number."""
        return f"business.{hashlib.sha256(self.value.encode()).hexdigest()[:8]}"

    @model_validator(mode="after")
    def _check_value(self) -> Self:
        _read_columns(self.value)
        return self


class ReferenceSpec(Spec):
    """Something known that does the task today, measured by the decisive metric."""

    kind: Literal["present_process", "human", "state_of_the_art"]
    value: float
    """Of the decisive metric."""
    source: Text
    """Where the number comes from: who measured it, on which rows, when."""
    beat: bool = True
    """Whether a candidate must be surely better to be promoted; otherwise it is only shown beside it."""


class ConstraintsSpec(Spec):
    """What binds the model whatever its metrics say."""

    latency_ms: float | None = Field(default=None, gt=0)
    """Of one answer: candidates by their median (a gate), production by its 99th percentile (a signal)."""
    freshness: Duration | None = None
    """What the champion knew may be this much older than what it answers (a signal)."""
    cost: Text | None = None
    legal: tuple[Text, ...] = ()


class ScopeSpec(Spec):
    """Why the model is there and what it is held to, beside the one metric that decides (`evaluation.metric`)."""

    problem: Text
    """The business problem, and who has it."""
    decision: Text | None = None
    """Who does what with an answer, and what a wrong one costs."""
    guardrails: dict[Metric, float] = Field(default_factory=dict)
    """Metrics that must not get worse than the champion's by more than this, at the paired interval's worse end."""
    references: dict[Name, ReferenceSpec] = Field(default_factory=dict)
    """The baselines from outside: the present process, people, the state of the art."""
    constraints: ConstraintsSpec = ConstraintsSpec()
    business: BusinessSpec | None = None

    @model_validator(mode="after")
    def _check_guardrails(self) -> Self:
        for metric, margin in self.guardrails.items():
            if margin < 0:
                message = f"guardrails.{metric}: found {margin:g}; expected how much worse it may get, 0 or more"
                raise ValueError(message)
        return self

    @property
    def valued_columns(self) -> tuple[str, ...]:
        """The columns that a prediction's value reads."""
        return self.business.columns if self.business else ()

    def check_columns(self, columns: Mapping[ColumnName, object]) -> None:
        """Hold the value's expression against the model's columns.

        Raises:
            ValueError: it reads one that `columns` does not list.
        """
        import difflib

        for name in self.valued_columns:
            if name not in columns:
                near = difflib.get_close_matches(name, [*columns, SCORE, DECISION], 1)
                message = (
                    f"scope.business.value: {name} is none of the model's columns"
                    f"{f'; did you mean {near[0]!r}?' if near else ''} (expected {SCORE}, {DECISION} or one that "
                    "`columns` lists)"
                )
                raise ValueError(message)


def _read_columns(expression: str) -> tuple[str, ...]:
    """The columns of a scalar SQL expression, in the order of their first use.

    Raises:
        ValueError: it is none, or it aggregates, reads a table or names a column by one.
    """
    import sqlglot
    from sqlglot import expressions as sql
    from sqlglot.errors import SqlglotError

    try:
        parsed = sqlglot.parse_one(f"SELECT ({expression})", read="duckdb")
    except SqlglotError as error:
        message = f"value: {str(error).splitlines()[0]} Expected a SQL expression over one row"
        raise ValueError(message) from None
    chosen = parsed.expressions if isinstance(parsed, sql.Select) else []
    outside = (sql.Subquery, sql.AggFunc, sql.Window, sql.Star, sql.Table)
    found = next((node for node in parsed.walk() if isinstance(node, (*outside, sql.Select)) and node is not parsed),
                 None)  # fmt: skip
    if len(chosen) != 1 or not isinstance(chosen[0], sql.Paren) or found is not None:
        message = (
            f"value: found {found.sql(dialect='duckdb') if found else expression!r}; expected one expression over one "
            "row, without aggregates, windows or queries: means are taken over the rows afterwards"
        )
        raise ValueError(message)
    columns = list(parsed.find_all(sql.Column))
    qualified = next((column for column in columns if column.table), None)
    if qualified is not None:
        message = f"value: found {qualified.sql()}; expected a column's bare name"
        raise ValueError(message)
    return tuple(dict.fromkeys(column.name for column in columns))
