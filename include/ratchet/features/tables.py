"""What a model's `features.py` is handed, and what it gives back."""

from __future__ import annotations

from typing import Any

import ibis.expr.types as ir
from ibis import _
from ibis.common.deferred import Deferred

from include.ratchet.errors import SpecError
from include.ratchet.features.schema import entity_table, source_table, unknown_column
from include.ratchet.spec import Model


class Rows:
    """The rows to predict: only what is known at prediction time. Label and outcomes are not there."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._columns = entity_table(model).columns

    def __getattr__(self, name: str) -> Deferred:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Deferred:
        if name in self._columns:
            return _[name]
        label = self._model.spec.label
        if name in {label.column, label.available_time, *label.outcomes}:
            message = (
                f"features.py: rows.{name}: known only with the label; expected a column known at prediction time. "
                f"Earlier rows' values are in history: rolling(t.history, ...).mean({name!r})."
            )
            raise SpecError(message)
        where = "features.py: rows"
        raise unknown_column(where, name, self._columns, "Declare it under columns in model.yaml.")


class Tables:
    """The argument of `features`: the rows to predict, the model's own history, and its further tables by name.

    Attributes:
        rows: columns known at prediction time, as expressions.
        history: the model's own table with label and outcomes, each row from its label's available time on.
    """

    def __init__(self, model: Model) -> None:
        self._tables = {name: source_table(model, name) for name in model.spec.tables}
        self.rows = Rows(model)
        self.history = source_table(model, model.name)

    def __getattr__(self, name: str) -> ir.Table:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> ir.Table:
        if name not in self._tables:
            known = ["rows", "history", *self._tables]
            message = f"features.py: no table {name!r}; expected one of {', '.join(known)}. Declare it under tables."
            raise SpecError(message)
        return self._tables[name]


class Features:
    """Named feature columns in their order: each an expression over `rows` and what was joined to them."""

    def __init__(self, **columns: Any) -> None:
        self.columns = dict(columns)
