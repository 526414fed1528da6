"""Which landed columns a model reads, and which nobody does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ibis.expr.operations as ops

from include.ratchet.features.definition import Definition, define
from include.ratchet.features.joins import Join
from include.ratchet.features.schema import ENTITIES, source_name
from include.ratchet.spec import Model

Column = tuple[str, str]
"""Table and column."""
_PASSED_ON = (ops.Filter, ops.Sort, ops.Limit, ops.DropColumns, ops.Sample)
"""Relations that hand their parent's columns on as they are."""


@dataclass(frozen=True)
class Unused:
    """What is landed, or was learnt from, and is no longer needed.

    Attributes:
        columns: `table.column` that no feature, key, time, label, outcome, slice, segment or scope reads.
        tables: further tables that no feature reads.
        features: of an earlier champion, that the model no longer gives, with that version's number.
    """

    columns: tuple[str, ...]
    tables: tuple[str, ...]
    features: tuple[tuple[str, int], ...] = ()


def trace_features(model: Model) -> dict[str, frozenset[Column]]:
    """By feature, the columns of tables that decide its value, those by which rows are found among them."""
    plan = define(model)
    joined = {name: _trace_join(model, plan, join, name) for join in plan.joins for name in (*join.columns,
              *join.windows)}  # fmt: skip
    found = {}
    for name in plan.features:
        columns: set[Column] = set()
        for field in plan.frame.op().values[name].find(ops.Field):
            columns |= joined.get(field.name, {(model.name, field.name)})
        found[name] = frozenset(_known(model, columns))
    return found


def find_unused(
    model: Model, landed: Mapping[str, Sequence[str]], earlier: Sequence[tuple[int, Sequence[str]]] = ()
) -> Unused:
    """What is landed and not read, and what champions had that is no longer given.

    Args:
        model: whose.
        landed: the columns of each table as it stands.
        earlier: number and features of champions before, the newest first.
    """
    traced = trace_features(model)
    read = {column for columns in traced.values() for column in columns} | needed_columns(model)
    unread = tuple(name for name in model.spec.tables
                   if not any(table == name for columns in traced.values() for table, _ in columns))  # fmt: skip
    columns = tuple(f"{table}.{name}" for table, names in landed.items() for name in names
                    if (table, name) not in read and table not in unread)  # fmt: skip
    gone: dict[str, int] = {}
    for number, features in earlier:
        for name in features:
            if name not in traced:
                gone.setdefault(name, number)
    return Unused(columns, unread, tuple(gone.items()))


def needed_columns(model: Model) -> set[Column]:
    """What the spec itself reads."""
    spec, label = model.spec, model.spec.label
    own = [
        *spec.keys, spec.event_time, label.column, label.available_time, *label.outcomes, *spec.evaluation.slices,
        *spec.evaluation.sensitive, *(name for one in spec.training.baselines for name in one.rate),
        *(spec.segments.by if spec.segments else ()), *(spec.scope.valued_columns if spec.scope else ()),
    ]  # fmt: skip
    found = {(spec.name, name) for name in own if name}
    for table in spec.table_names:
        further = spec.table(table)
        times = (further.event_time, further.available_time, spec.subject_of(table))
        found |= {(table, name) for name in (*further.keys, *times) if name}
    return found


def _known(model: Model, columns: set[Column]) -> Iterator[Column]:
    """Columns of the model's tables, without those that the engine adds."""
    for table, name in columns:
        if not name.startswith("_"):
            yield (model.name if table == ENTITIES else table.removeprefix(source_name(""))), name


def _trace_join(model: Model, plan: Definition, join: Join, name: str) -> set[Column]:
    wanted = join.windows[name][0] if name in join.windows else name
    found = _trace(join.values[wanted].op())
    for one in (*join.keys.values(), *(join.values[key] for key in join.keys)):
        found |= _trace(one.op())
    return found | _trace_rows(join.source.op())


def _trace(node: Any) -> set[Column]:
    """The columns of tables that decide a value."""
    if isinstance(node, ops.Field):
        return _trace_column(node.rel, node.name)
    found: set[Column] = set()
    for child in node.__children__:
        found |= _everything(child) if isinstance(child, ops.Relation) else _trace(child)
    return found


def _trace_column(relation: Any, name: str) -> set[Column]:
    if isinstance(relation, ops.UnboundTable):
        return {(relation.name, name)}
    if isinstance(relation, ops.Project):
        return _trace(relation.values[name])
    if isinstance(relation, _PASSED_ON):
        return _trace_column(relation.parent, name)
    return _everything(relation)


def _trace_rows(relation: Any) -> set[Column]:
    """The columns that decide which rows of a relation there are."""
    found: set[Column] = set()
    while isinstance(relation, (ops.Project, *_PASSED_ON)):
        for predicate in getattr(relation, "predicates", ()):
            found |= _trace(predicate)
        relation = relation.parent
    return found if isinstance(relation, ops.UnboundTable) else found | _everything(relation)


def _everything(relation: Any) -> set[Column]:
    """Every column of a table that an expression mentions: what cannot be followed counts as read."""
    found = set()
    for field in relation.find(ops.Field):
        home = field.rel
        while isinstance(home, (ops.JoinReference, ops.SelfReference, *_PASSED_ON)):
            home = home.parent
        if isinstance(home, ops.UnboundTable):
            found.add((home.name, field.name))
    return found
