"""Requests as Ibis queries: a history side that does not depend on the rows asked for, and a join to them.

The history side is built once and can be kept for serving; batch and single row then run the very same join.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir

from include.ratchet.features.requests import Request, require_row, resolve
from include.ratchet.features.rolling import Window
from include.ratchet.features.schema import (
    AVAILABLE,
    PREDICTION,
    ROW,
    interval,
    is_monotone,
    is_unique,
    source_name,
)
from include.ratchet.spec import Model

_TIME = "known"


@dataclass(frozen=True, eq=False)
class Join:
    """One join of the plan.

    Attributes:
        name: of the join's result: `_row` and the columns asked for.
        title: how errors name it.
        history: what it reads besides the entity rows, under `<name>_history`; None if it reads the tables themselves.
        result: the join, over the entity rows and that history.
    """

    name: str
    title: str
    history: ir.Table | None
    result: ir.Table

    @property
    def history_name(self) -> str:
        """The name under which the history side is kept."""
        return f"{self.name}_history"


def plan_join(model: Model, entities: ir.Table, name: str, request: Request, columns: Mapping[Any, str]) -> Join:
    """The join that answers a request.

    Args:
        model: whose tables they are.
        entities: the entity rows.
        name: of the result.
        request: what was asked for.
        columns: what of it is used -> the column's name in the result.
    """
    if request.kind == "query":
        built = require_row(request.build(entities)) if request.build else entities
        return Join(name, name, None, built.select(ROW, **{alias: built[one] for one, alias in columns.items()}))
    if request.table is None:
        message = f"{request.kind} needs a table"
        raise TypeError(message)
    keys = {f"k{i}": resolve(theirs, request.table, "features.py: on") for i, (_, theirs) in enumerate(request.pairs)}
    left = entities.select(
        ROW,
        PREDICTION,
        **{f"k{i}": resolve(ours, entities, "features.py: on") for i, (ours, _) in enumerate(request.pairs)},
    )
    title = f"{name} ({request.kind} of {', '.join(leaf_names(request.table))} on {_describe(request)})"
    if request.kind == "rolling":
        history = _accumulate(request.table, keys, columns)
        return Join(name, title, history, _difference(left, _stored(history, name), columns))
    if request.kind == "latest":
        history = _newest(model, request, keys, columns)
    else:
        history = request.table.select(**keys, **{alias: request.table[one] for one, alias in columns.items()})
    stored = _stored(history, name)
    return Join(name, title, history, _attach(left, stored, request.kind, columns.values()))


def leaf_names(table: ir.Table) -> list[str]:
    """The model's tables that an expression reads."""
    return sorted({leaf.name.removeprefix(source_name("")) for leaf in table.op().find(ops.UnboundTable)})


def _stored(history: ir.Table, name: str) -> ir.Table:
    return ibis.table(history.schema(), name=f"{name}_history")


def _describe(request: Request) -> str:
    return ", ".join(ours if isinstance(ours, str) else repr(ours) for ours, _ in request.pairs)


def _attach(left: ir.Table, history: ir.Table, kind: str, columns: Iterable[str]) -> ir.Table:
    keys = [name for name in left.columns if name not in (ROW, PREDICTION)]
    right = history.rename(**{f"their_{key}": key for key in keys})
    equal = [left[key] == right[f"their_{key}"] for key in keys]
    if kind == "latest":
        # Strictly before: what becomes known at the very prediction time is not known yet.
        joined = left.asof_join(right, on=left[PREDICTION] > right[_TIME], predicates=equal)
    else:
        joined = left.left_join(right, equal)
    return joined.select(ROW, *columns)


def _newest(model: Model, request: Request, keys: Mapping[str, ir.Value], columns: Mapping[Any, str]) -> ir.Table:
    """For each key and available time, the newest row by event time that is known from then on."""
    table = request.table
    if table is None or AVAILABLE not in table.columns:
        message = "latest needs a table with a history"
        raise TypeError(message)
    picked = {alias: table[one] for one, alias in columns.items()}
    leaves = leaf_names(table)
    own = leaves[0] if len(leaves) == 1 else None
    is_whole = own is not None and isinstance(table.op(), ops.Project) and table.equals(_whole(model, own))
    names = [ours for _, ours in request.pairs if isinstance(ours, str)]
    if is_whole and own is not None and is_unique(model, own, names):
        rows = table.filter(table[AVAILABLE].notnull())
        return rows.select(**keys, **{_TIME: rows[AVAILABLE]}, **picked)
    event = model.spec.table(own).event_time if own is not None else None
    order = _tie_break(model, own, table)
    rows = table.mutate(**keys)
    rows = rows.filter(rows[AVAILABLE].notnull())
    first = ibis.row_number().over(ibis.window(group_by=[*keys, AVAILABLE], order_by=[rows[c].desc() for c in order]))
    rows = rows.mutate(place=first).filter(ibis._.place == 0)
    if event in table.columns and own is not None and not is_monotone(model, own):
        # A row that arrives late, after a newer one, is never the newest.
        newest = rows[event].max().over(ibis.window(group_by=list(keys), order_by=AVAILABLE, range=(None, 0)))
        rows = rows.mutate(newest=newest)
        rows = rows.filter(rows[event] >= rows.newest)
    return rows.select(*keys, **{_TIME: rows[AVAILABLE]}, **{alias: rows[one] for one, alias in columns.items()})


def _whole(model: Model, table: str) -> ir.Table:
    from include.ratchet.features.schema import source_table

    return source_table(model, table)


def _tie_break(model: Model, own: str | None, table: ir.Table) -> list[str]:
    """Columns that settle which of several rows that became known at once is taken: event time, keys, then the rest."""
    spec = model.spec.table(own) if own is not None else None
    leading = [spec.event_time, *spec.keys] if spec is not None else []
    return list(dict.fromkeys([name for name in leading if name in table.columns] + list(table.columns)))


def _accumulate(table: ir.Table, keys: Mapping[str, ir.Value], columns: Mapping[Window, str]) -> ir.Table:
    """Running totals of each key's measures at each instant at which they change."""
    measures = _measures(columns)
    rows = table.select(
        **keys, **{_TIME: table[AVAILABLE]}, **{alias: measure.to_expr() for measure, alias in measures.items()}
    )
    rows = rows.filter(rows[_TIME].notnull())
    # A range frame gives rows that became known at one instant the same total, so that it does not matter which the
    # as-of join finds.
    frame = ibis.window(group_by=list(keys), order_by=_TIME, range=(None, 0))
    return rows.select(*keys, _TIME, **{alias: rows[alias].sum().over(frame) for alias in measures.values()})


def _difference(left: ir.Table, history: ir.Table, columns: Mapping[Window, str]) -> ir.Table:
    """Totals at the prediction time less totals at the window's beginning."""
    measures = _measures(columns)
    keys = [name for name in left.columns if name not in (ROW, PREDICTION)]
    joined = left
    offsets = sorted({window.over for window in columns})
    for i, offset in enumerate([None, *offsets]):
        right = history.rename(**{f"{name}_{i}": name for name in history.columns})
        instant = joined[PREDICTION] if offset is None else joined[PREDICTION] - interval(offset)
        equal = [joined[key] == right[f"{key}_{i}"] for key in keys]
        joined = joined.asof_join(right, on=instant > right[f"{_TIME}_{i}"], predicates=equal)
    totals = {}
    for window, alias in columns.items():
        measure, i = measures[window.measure], offsets.index(window.over) + 1
        totals[alias] = joined[f"{measure}_0"].fill_null(0) - joined[f"{measure}_{i}"].fill_null(0)
    return joined.select(ROW, **totals)


def _measures(columns: Mapping[Window, str]) -> dict[Any, str]:
    found: dict[Any, str] = {}
    for window in columns:
        found.setdefault(window.measure, f"m{len(found)}")
    return found
