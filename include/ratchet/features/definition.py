"""A model's features as one plan: the joins that they need, and the expressions over their results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
from ibis.common.deferred import Deferred

from include.ratchet.errors import SpecError
from include.ratchet.features.joins import Join, plan_join
from include.ratchet.features.requests import Request
from include.ratchet.features.schema import ENTITIES, LABEL_AVAILABLE, PREDICTION, ROW, entity_table
from include.ratchet.features.tables import Features, Tables
from include.ratchet.spec import Model
from include.ratchet.spec.modules import load_function

FILE = "features.py"
FUNCTION = "features"


@dataclass(frozen=True, eq=False)
class Definition:
    """A model's features, planned.

    Attributes:
        model: whose they are.
        features: feature name -> type, in declared order.
        context: columns of slices, sensitive attributes and baselines that are no features, in order.
        joins: in the order of their first use.
        frame: `_row`, context and features, over the entity rows and the joins' results.
    """

    model: Model
    features: dict[str, dt.DataType]
    context: tuple[str, ...]
    joins: tuple[Join, ...]
    frame: ir.Table

    @property
    def query(self) -> str:
        """The whole definition as SQL with fixed names: the same text from every process."""
        parts = []
        for join in self.joins:
            if join.history is not None:
                parts.append(f"-- {join.history_name}\n{compile_sql(join.history)}")
            parts.append(f"-- {join.name}\n{compile_sql(join.result)}")
        parts.append(f"-- features\n{compile_sql(self.frame)}")
        return "\n".join(parts)


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
    """Read a model's `features.py` and plan it.

    Raises:
        SpecError: there is no such file or function, or a feature is not what it must be.
    """
    declared = load_function(model, FILE, FUNCTION)(Tables(model))
    return plan_features(model, declared)


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
    wide = entities
    for join in joins:
        result = ibis.table(join.result.schema(), name=join.name)
        wide = wide.left_join(result, ROW).drop(f"{ROW}_right")
    places = _Places(collector.found)
    columns = {name: _resolve(model, name, expression, wide, places) for name, expression in declared.columns.items()}
    frame = wide.select(ROW, *context, **columns)
    return Definition(model, {name: frame[name].type() for name in columns}, context, joins, frame)


def compile_sql(expression: ir.Table) -> str:
    """An expression as DuckDB's SQL."""
    return str(ibis.to_sql(expression, dialect="duckdb"))


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
