"""A model's features as one plan: the joins that they need, and the expressions over their results."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import ibis.expr.types as ir
from ibis.common.deferred import Deferred

from include.ratchet.errors import SpecError
from include.ratchet.features.joins import Join, plan_join
from include.ratchet.features.relational import history_name, join_history, keep_history
from include.ratchet.features.requests import Request
from include.ratchet.features.schema import ENTITIES, LABEL_AVAILABLE, PREDICTION, ROW, entity_table
from include.ratchet.features.tables import Features, Tables
from include.ratchet.spec import Model
from include.ratchet.spec.modules import load_function

FILE = "features.py"
FUNCTION = "features"
FRAME = "frame"
"""The name under which the entity rows stand together with the joins' columns."""

_MOST_KEPT = 256
_COMPILED: dict[Any, str] = {}
_PLANNED: dict[tuple[Callable[..., Any], str], Definition] = {}


@dataclass(frozen=True, eq=False)
class Definition:
    """A model's features, planned.

    Attributes:
        model: whose they are.
        features: feature name -> type, in declared order.
        context: columns of slices, sensitive attributes and baselines that are no features, in order.
        entities: the rows to compute features for.
        joins: in the order of their first use.
        wide: the entity rows together with the joins' columns.
        frame: `_row`, context and features, over `wide`.
    """

    model: Model
    features: dict[str, dt.DataType]
    context: tuple[str, ...]
    entities: ir.Table
    joins: tuple[Join, ...]
    wide: ir.Table
    frame: ir.Table

    @cached_property
    def probe(self) -> ir.Table:
        """What joins look at in the entity rows: prediction time, and each join's keys as `<join>_<key>`."""
        keys = {f"{join.name}_{name}": value for join in self.joins for name, value in join.keys.items()}
        return self.entities.select(PREDICTION, **keys)

    @cached_property
    def probe_columns(self) -> dict[str, str] | None:
        """The joins' keys, as `<join>_<key>`, by their columns of the entity rows; None if one has to be computed."""
        keys = {f"{join.name}_{name}": value.op() for join in self.joins for name, value in join.keys.items()}
        if not all(isinstance(value, ops.Field) for value in keys.values()):
            return None
        return {name: value.name for name, value in keys.items()}

    @cached_property
    def probe_sql(self) -> str:
        """The same as SQL."""
        return compile_sql(self.probe)

    @cached_property
    def plain(self) -> dict[str, str]:
        """Context columns and features that are columns of `wide` as they stand, by name."""
        values = {name: self.frame.op().values[name] for name in (*self.context, *self.features)}
        return {name: value.name for name, value in values.items() if isinstance(value, ops.Field)}

    @cached_property
    def computed(self) -> ir.Table:
        """`_row` and the features that have to be computed, over `wide`."""
        return self.frame.select(ROW, *(name for name in self.features if name not in self.plain))

    @cached_property
    def computed_sql(self) -> str:
        """The same as SQL."""
        return compile_sql(self.computed)

    @cached_property
    def query(self) -> str:
        """The whole definition as SQL with fixed names: the same text from every process."""
        parts = []
        for join in self.joins:
            if join.kind != "query":
                parts.append(f"-- {history_name(join)}\n{compile_sql(keep_history(join))}")
            parts.append(f"-- {join.name}\n{compile_sql(join_history(join, self.entities))}")
        return "\n".join([*parts, f"-- features\n{compile_sql(self.frame)}"])


class _Collector:
    """First pass: notes what is asked for. Second pass: puts the joined columns in their places."""

    def __init__(self, entities: ir.Table) -> None:
        self.entities = entities
        self.found: dict[Any, tuple[Request, dict[Any, str]]] = {}

    def column(self, _frame: Any, request: Request, name: Any) -> ir.Value:
        known = self.found.setdefault(request.key, (request, {}))
        index = list(self.found).index(request.key)
        known[1].setdefault(name, f"join_{index}_{len(known[1])}")
        return ibis.null(self._type(request, name))

    def _type(self, request: Request, name: Any) -> dt.DataType:
        if request.kind == "rolling":
            return dt.int64
        table = request.table if request.table is not None else request.build(self.entities)  # type: ignore[misc]
        return table[name].type()


class _Places:
    def __init__(self, found: dict[Any, tuple[Request, dict[Any, str]]]) -> None:
        self.found = found

    def column(self, frame: ir.Table, request: Request, name: Any) -> ir.Value:
        return frame[self.found[request.key][1][name]]


def define(model: Model) -> Definition:
    """Read a model's `features.py` and plan it; once in a process, unless the file or the spec changes.

    Raises:
        SpecError: there is no such file or function, or a feature is not what it must be.
    """
    function = load_function(model, FILE, FUNCTION)
    key = (function, model.spec.hash)
    if key not in _PLANNED:
        if len(_PLANNED) >= _MOST_KEPT:
            _PLANNED.clear()
        _PLANNED[key] = plan_features(model, _declare(model, function))
    return _PLANNED[key]


def plan_features(model: Model, declared: object) -> Definition:
    """Plan the features that a function has declared.

    Raises:
        SpecError: it is no `Features`, or a feature's name, type or column is wrong.
    """
    if not isinstance(declared, Features) or not declared.columns:
        message = f"{model.folder / FILE}: features returned {declared!r}; expected Features(name=expression, ...)"
        raise SpecError(message)
    entities = entity_table(model)
    context = _context_names(model, entities, declared)
    collector = _Collector(entities)
    for name, expression in declared.columns.items():
        _resolve(model, name, expression, entities, collector)
    joins = tuple(
        plan_join(model, entities, f"join_{index}", request, columns)
        for index, (request, columns) in enumerate(collector.found.values())
    )
    types = dict(entities.schema().items())
    for join in joins:
        types |= {name: join.values[name].type() for name in join.columns} | dict.fromkeys(join.windows, dt.int64)
    wide = ibis.table(types, name=FRAME)
    places = _Places(collector.found)
    columns = {name: _resolve(model, name, expression, wide, places) for name, expression in declared.columns.items()}
    frame = wide.select(ROW, *context, **columns)
    return Definition(model, {name: frame[name].type() for name in columns}, context, entities, joins, wide, frame)


def _declare(model: Model, function: Callable[..., Any]) -> object:
    """What a model's function says; whatever goes wrong inside it is said with its line."""
    try:
        return function(Tables(model))
    except SpecError:
        raise
    except Exception as error:
        path = model.folder / FILE
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        message = f"{path}:{lines[-1] if lines else '?'}: {type(error).__name__}: {error}"
        raise SpecError(message) from error


def compile_sql(expression: ir.Table) -> str:
    """An expression as DuckDB's SQL."""
    key = expression.op()
    if key not in _COMPILED:
        if len(_COMPILED) >= _MOST_KEPT:
            _COMPILED.clear()
        _COMPILED[key] = str(ibis.to_sql(expression, dialect="duckdb"))
    return _COMPILED[key]


def _resolve(model: Model, name: str, expression: Any, table: ir.Table, joins: Any) -> ir.Value:
    where = f"{model.folder / FILE}: feature {name!r}"
    _check_name(model, name, where)
    try:
        value = expression.resolve(_=table, joins=joins) if isinstance(expression, Deferred) else expression
    except SpecError:
        raise
    except Exception as error:
        message = f"{where}: {type(error).__name__}: {error}"
        raise SpecError(message) from error
    if not isinstance(value, ir.Value):
        message = f"{where}: found {type(value).__name__}; expected an Ibis expression over t.rows and joined columns"
        raise SpecError(message)
    return _typed(value, where)


def _typed(value: ir.Value, where: str) -> ir.Value:
    kind = value.type()
    if kind.is_boolean() or kind.is_string():
        return value
    if kind.is_integer():
        return value if kind == dt.int64 else value.cast("int64")
    if kind.is_floating() or kind.is_decimal():
        return value if kind == dt.float64 else value.cast("float64")
    message = f"{where}: its type is {kind}; expected a number, a boolean or a string. Cast it, or take a part of it."
    raise SpecError(message)


def _check_name(model: Model, name: str, where: str) -> None:
    spec = model.spec
    taken = {*spec.keys, spec.event_time, spec.label.column, PREDICTION, LABEL_AVAILABLE, ROW, ENTITIES}
    if name in taken or name.startswith("_"):
        message = f"{where}: the name is taken by a key, a time or the label of the frame; expected another name"
        raise SpecError(message)


def _context_names(model: Model, entities: ir.Table, declared: Features) -> tuple[str, ...]:
    spec = model.spec
    wanted = [*spec.evaluation.slices, *spec.evaluation.sensitive]
    wanted += [column for baseline in spec.training.baselines for column in baseline.rate]
    context = []
    for name in dict.fromkeys(wanted):
        if name in declared.columns or name in (*spec.keys, spec.event_time):
            continue
        if name not in entities.columns:
            message = (
                f"{model.folder / 'model.yaml'}: {name!r} of slices, sensitive or baselines is neither a feature nor a "
                f"column known at prediction time; expected one of {', '.join([*declared.columns, *entities.columns])}"
            )
            raise SpecError(message)
        context.append(name)
    return tuple(context)
