"""What an author asks of a table: the newest known row, a row by its key, or a query of their own.

Each gives a handle; an attribute of it is a column, to be used like any other in an Ibis expression.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import ibis.expr.datatypes as dt
import ibis.expr.types as ir
from ibis.common.deferred import Deferred, Factory

from include.ratchet.errors import SpecError
from include.ratchet.features.schema import AVAILABLE, ROW, unknown_column

On: TypeAlias = str | Deferred | Sequence[str | Deferred] | Mapping[str, str | Deferred]
"""Which rows of a table belong to an entity row: columns of the same name in both, expressions that hold for both
(such as `_.origin + _.carrier`), or entity column -> table column."""


class Columns(Protocol):
    """What turns an asked-for column into an expression over the frame of one row per entity."""

    def column(self, frame: Any, request: Request, name: Any) -> Any:
        """The column as it stands in `frame`."""


@dataclass(frozen=True, eq=False)
class Request:
    """One join that a model's features need.

    Attributes:
        kind: how rows are found.
        table: where they are found; of a query, an empty table of the same columns.
        pairs: (entity side, table side) of each equality, to be resolved against the two tables.
        build: of a query, the function that makes it out of the entity rows.
    """

    kind: Literal["latest", "lookup", "query", "rolling"]
    table: ir.Table | None
    pairs: tuple[tuple[Any, Any], ...]
    build: Callable[[ir.Table], ir.Table] | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for requests that one join can answer."""
        place = self.table.op() if self.table is not None else self.build
        return (self.kind, place, repr(self.pairs))


@dataclass(frozen=True)
class _Pick:
    """A column of a request, put in its place when the frame is known."""

    request: Request
    name: Any

    def __call__(self, _: Any, joins: Columns, **_context: Any) -> Any:
        return joins.column(_, self.request, self.name)


class Joined:
    """The handle of a request: its attributes are columns."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def __getattr__(self, name: str) -> Deferred:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Deferred:
        table = self._request.table
        if table is not None and name not in table.columns:
            where = f"features.py: {self._request.kind}({table.get_name() if _is_named(table) else '...'})"
            raise unknown_column(where, name, table.columns, "Declare it in model.yaml.")
        return pick(self._request, name)


def latest(table: ir.Table, on: On) -> Joined:
    """The newest row, by event time, of those that had become available before the prediction time.

    Args:
        table: one of the model's tables, whole, filtered or with columns computed.
        on: which rows belong to an entity row.

    Returns:
        A handle; a column of it is null where nothing was known. `_available_time` says since when it was.
    """
    require_time(table, "latest")
    return Joined(Request("latest", table, read_pairs(on)))


def previous(history: ir.Table, on: On) -> Joined:
    """The last earlier row of the same entity whose outcome had become available before the prediction time.

    The same as `latest`, with the name that reads well over a model's own history.
    """
    return latest(history, on)


def lookup(table: ir.Table, on: On) -> Joined:
    """The row of a static table; its `on` columns must be unique there."""
    if AVAILABLE in table.columns:
        message = (
            "features.py: lookup: the table has a history (column _available_time); expected a static one. "
            "Use latest(...), which takes the newest row known at prediction time."
        )
        raise SpecError(message)
    return Joined(Request("lookup", table, read_pairs(on)))


def query(build: Callable[[ir.Table], ir.Table]) -> Joined:
    """Any Ibis query, for what the other verbs cannot say: the author answers for time, and `check_leakage` looks.

    Args:
        build: takes the entity rows (`_row`, `_prediction_time` and the known columns) and returns a table with
            one row for each `_row`.
    """
    return Joined(Request("query", None, (), build))


def pick(request: Request, name: Any) -> Deferred:
    """A column of a request as an expression: its name, or of a rolling request a `Window`."""
    return Deferred(Factory(_Pick(request, name)), repr=f"{request.kind}.{name}")


def read_pairs(on: On) -> tuple[tuple[Any, Any], ...]:
    """The equalities that `on` stands for."""
    if isinstance(on, Mapping):
        return tuple(on.items())
    if isinstance(on, str | Deferred):
        return ((on, on),)
    return tuple((one, one) for one in on)


def resolve(value: Any, table: ir.Table, where: str) -> ir.Value:
    """A column name or deferred expression as a value of a table.

    Raises:
        SpecError: the table has no such column.
    """
    if isinstance(value, str):
        if value not in table.columns:
            raise unknown_column(where, value, table.columns, "Declare it in model.yaml.")
        return table[value]
    try:
        return value.resolve(_=table)
    except AttributeError as error:
        message = f"{where}: {error}; expected columns out of {', '.join(table.columns)}"
        raise SpecError(message) from error


def require_row(table: ir.Table) -> ir.Table:
    """A query's result, once it has what ties it to the entity rows.

    Raises:
        SpecError: it has lost `_row`.
    """
    if ROW not in table.columns or table[ROW].type() != dt.int64:
        message = (
            f"features.py: query: found columns {', '.join(table.columns)}; expected `_row` among them, "
            "with one row for each. Keep `_row` of the entity rows in the query's select."
        )
        raise SpecError(message)
    return table


def require_time(table: ir.Table, verb: str) -> None:
    """Stop if nothing says when a table's rows became known.

    Raises:
        SpecError: it has no column `_available_time`.
    """
    if AVAILABLE not in table.columns:
        message = (
            f"features.py: {verb}: the table has no column _available_time, so that nothing says what was known when. "
            "Keep that column in computed tables, or use lookup(...) on a static one."
        )
        raise SpecError(message)


def _is_named(table: ir.Table) -> bool:
    return hasattr(table.op(), "name")
