"""Whom a model's rows are about, so that a person can be taken out of them."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from include.ratchet.spec.base import ColumnName, Name, Spec
from include.ratchet.spec.tables import ColumnSpec


class PrivacySpec(Spec):
    """Which columns name the person that a row is about."""

    subject: ColumnName
    """A column of the model's own table, of type string or integer."""
    tables: dict[Name, ColumnName] = Field(default_factory=dict)
    """The same of further tables that have rows about persons."""

    def check_columns(
        self, own: Mapping[ColumnName, ColumnSpec], tables: Mapping[Name, Mapping[ColumnName, ColumnSpec]]
    ) -> None:
        """Hold the names against the model's tables.

        Args:
            own: columns of the model's own table.
            tables: columns of each further one.

        Raises:
            ValueError: there is no such table or column, or it is of a type that names nobody.
        """
        named = {"subject": (own, self.subject)}
        for name, column in self.tables.items():
            if name not in tables:
                message = f"privacy.tables: there is no table {name}; expected one of {', '.join(tables) or 'none'}"
                raise ValueError(message)
            named[f"tables.{name}"] = (tables[name], column)
        for where, (columns, column) in named.items():
            found = columns[column].type if column in columns else "a column that `columns` does not list"
            if found not in ("string", "integer"):
                message = f"privacy.{where}: {column} is {found}; expected a column of type string or integer"
                raise ValueError(message)
