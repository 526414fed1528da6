"""Whom a model's rows are about, so that a person can be taken out of them."""

from __future__ import annotations

from pydantic import Field

from include.ratchet.spec.base import ColumnName, Name, Spec


class PrivacySpec(Spec):
    """Which columns name the person that a row is about."""

    subject: ColumnName
    """A column of the model's own table, of type string or integer."""
    tables: dict[Name, ColumnName] = Field(default_factory=dict)
    """The same of further tables that have rows about persons."""
