"""What a model's features join to its rows, as Ibis expressions: the entity side's keys and the history side's rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import ibis.expr.operations as ops
import ibis.expr.types as ir

from include.ratchet.errors import SpecError
from include.ratchet.features.requests import Request, require_row, resolve
from include.ratchet.features.rolling import Window
from include.ratchet.features.schema import AVAILABLE, ROW, is_unique, source_name, source_table, time_order
from include.ratchet.spec import Model

KNOWN = "known"
"""The history side's column with the time at which a row became known."""


@dataclass(frozen=True, eq=False)
class Join:
    """One join of a plan.

    Attributes:
        name: unique in the plan.
        title: how errors name it.
        kind: how rows are found.
        keys: key name -> expression over the entity rows; the history side has columns of the same names.
        source: the table in which rows are found; of a query, its result.
        values: what is taken of it: the keys, `known` unless it is static, `order` and the columns asked for.
        order: names in `values` that say which of several known rows is the newest; empty if that is the last known.
        columns: names in `values` that become columns of the frame.
        windows: a rolling join's columns of the frame -> (measure in `values`, length of the window).
    """

    name: str
    title: str
    kind: Literal["latest", "lookup", "query", "rolling"]
    keys: Mapping[str, ir.Value]
    source: ir.Table
    values: Mapping[str, ir.Value]
    order: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    windows: Mapping[str, tuple[str, timedelta]] = field(default_factory=dict)

    @property
    def history(self) -> ir.Table:
        """The rows to find, as a table of `values`; those of which nothing says when they became known are left out."""
        if KNOWN not in self.values:
            return self.source.select(**self.values)
        return self.source.filter(self.values[KNOWN].notnull()).select(**self.values)

    @property
    def leaves(self) -> list[str]:
        """The model's tables that it reads."""
        return leaf_names(self.source)


def plan_join(model: Model, entities: ir.Table, name: str, request: Request, wanted: Mapping[Any, str]) -> Join:
    """The join that answers a request.

    Args:
        model: whose tables they are.
        entities: the entity rows.
        name: of the join.
        request: what was asked for.
        wanted: what of it is used -> the column's name in the frame.

    Raises:
        SpecError: a key is not there, or is of another type than what it is compared with.
    """
    if request.table is None:
        built = require_row(request.build(entities)) if request.build is not None else entities
        picked = {ROW: built[ROW], **{alias: built[one] for one, alias in wanted.items()}}
        return Join(name, f"{name} (query)", "query", {}, built, picked, columns=tuple(wanted.values()))
    table = request.table
    ours, values = _pair_keys(entities, table, request)
    title = f"{name} ({request.kind} of {', '.join(leaf_names(table))} by {_describe(request)})"
    if request.kind == "rolling":
        measures = _measures(wanted)
        values |= {KNOWN: table[AVAILABLE], **{alias: measure.to_expr() for measure, alias in measures.items()}}
        windows = {alias: (measures[window.measure], window.over) for window, alias in wanted.items()}
        return Join(name, title, "rolling", ours, table, values, windows=windows)
    values |= {alias: table[one] for one, alias in wanted.items()}
    columns = tuple(wanted.values())
    if request.kind == "lookup":
        return Join(name, title, "lookup", ours, table, values, columns=columns)
    order = {f"o{i}": table[column] for i, column in enumerate(_newer(model, request, table))}
    values |= {KNOWN: table[AVAILABLE], **order}
    return Join(name, title, "latest", ours, table, values, order=tuple(order), columns=columns)


def leaf_names(table: ir.Table) -> list[str]:
    """The model's tables that an expression reads."""
    prefix = source_name("")
    names = {leaf.name for leaf in table.op().find(ops.UnboundTable)}
    return sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))


def _pair_keys(
    entities: ir.Table, table: ir.Table, request: Request
) -> tuple[dict[str, ir.Value], dict[str, ir.Value]]:
    ours, theirs = {}, {}
    for i, (entity_side, table_side) in enumerate(request.pairs):
        left = resolve(entity_side, entities, f"features.py: {request.kind}")
        right = resolve(table_side, table, f"features.py: {request.kind}")
        if left.type().is_integer() and right.type().is_integer():
            left, right = left.cast("int64"), right.cast("int64")
        if left.type() != right.type() or left.type().is_floating():
            message = (
                f"features.py: {request.kind}: key {entity_side!r} is {left.type()}, and {right.type()} in the table; "
                "expected the same type in both, and no floats. Cast one of them."
            )
            raise SpecError(message)
        ours[f"k{i}"], theirs[f"k{i}"] = left, right
    return ours, theirs


def _newer(model: Model, request: Request, table: ir.Table) -> list[str]:
    """Columns by which one row is newer than another: event time and keys, or else the available time and all."""
    leaves = leaf_names(table)
    spec = model.spec.table(leaves[0]) if len(leaves) == 1 else None
    event = spec.event_time if spec is not None else None
    if spec is None or event is None or event not in table.columns:
        return [AVAILABLE, *(name for name in table.columns if name != AVAILABLE)]
    names = [theirs for _, theirs in request.pairs if isinstance(theirs, str)]
    if is_unique(model, leaves[0], names) and table.equals(source_table(model, leaves[0])):
        return []
    if set(spec.keys) <= set(table.columns):
        return time_order(model, leaves[0])
    return [event, *(name for name in table.columns if name != event)]


def _describe(request: Request) -> str:
    return ", ".join(ours if isinstance(ours, str) else repr(ours) for ours, _ in request.pairs)


def _measures(columns: Mapping[Window, str]) -> dict[Any, str]:
    found: dict[Any, str] = {}
    for window in columns:
        found.setdefault(window.measure, f"m{len(found)}")
    return found
