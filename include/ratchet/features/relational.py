"""Joins run by the query engine itself: for histories that would not fit in memory, which it spills to disk.

The same results as in memory, bit for bit, at several times the cost.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from include.ratchet.features.joins import KNOWN, Join
from include.ratchet.features.schema import PREDICTION, ROW, interval


def history_name(join: Join) -> str:
    """The name under which a join's history side is kept."""
    return f"{join.name}_history"


def keep_history(join: Join) -> ir.Table:
    """The history side in the form that `join_history` reads.

    Of a rolling join: running totals at each instant at which they change. Of a latest join: the rows that are, from
    the time at which they become known, the newest of their key.
    """
    rows = join.history
    known = ibis.window(group_by=list(join.keys), order_by=KNOWN, range=(None, 0))
    if join.kind == "rolling":
        measures = sorted({measure for measure, _ in join.windows.values()})
        # A range frame gives all rows of one instant the same total: it does not matter which the as-of join finds.
        return rows.select(*join.keys, KNOWN, **{name: rows[name].sum().over(known) for name in measures})
    if not join.order:
        return rows
    place = ibis.row_number().over(ibis.window(order_by=[rows[name].asc(nulls_first=False) for name in join.order]))
    rows = rows.mutate(place=place)
    rows = rows.mutate(newest=rows.place.max().over(known))
    return rows.filter(rows.place == rows.newest).select(*join.keys, KNOWN, *join.columns)


def join_history(join: Join, entities: ir.Table) -> ir.Table:
    """The join to the entity rows: `_row` and the join's columns."""
    if join.kind == "query":
        return join.history
    history = ibis.table(keep_history(join).schema(), name=history_name(join))
    left = entities.select(ROW, PREDICTION, **join.keys)
    if join.kind == "rolling":
        return _difference(join, left, history)
    right = history.rename(**{f"their_{key}": key for key in join.keys})
    equal = [left[key] == right[f"their_{key}"] for key in join.keys]
    if join.kind == "lookup":
        return left.left_join(right, equal).select(ROW, *join.columns)
    # Strictly before: what becomes known at the very prediction time is not known yet.
    return left.asof_join(right, on=left[PREDICTION] > right[KNOWN], predicates=equal).select(ROW, *join.columns)


def _difference(join: Join, left: ir.Table, history: ir.Table) -> ir.Table:
    """Totals at the prediction time less totals at the window's beginning."""
    lengths = sorted({length for _, length in join.windows.values()})
    joined = left
    for i, length in enumerate([None, *lengths]):
        right = history.rename(**{f"{name}_{i}": name for name in history.columns})
        instant = joined[PREDICTION] if length is None else joined[PREDICTION] - interval(length)
        equal = [joined[key] == right[f"{key}_{i}"] for key in join.keys]
        joined = joined.asof_join(right, on=instant > right[f"{KNOWN}_{i}"], predicates=equal)
    totals = {
        alias: joined[f"{measure}_0"].fill_null(0) - joined[f"{measure}_{lengths.index(length) + 1}"].fill_null(0)
        for alias, (measure, length) in join.windows.items()
    }
    return joined.select(ROW, **totals)
