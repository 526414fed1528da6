"""What callers send: rows of named fields, read in the spec's types, with every wrong field said at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

import pyarrow as pa

from include.ratchet.data.casting import ARROW_TYPES
from include.ratchet.data.records import record_key
from include.ratchet.features import known_columns
from include.ratchet.serving.columns import read_columns
from include.ratchet.spec import Model
from include.ratchet.spec.tables import ColumnSpec, ColumnType

Row = dict[str, Any]
Rows: TypeAlias = "list[Row] | pa.Table"
"""Rows as they were read: one by one, or as columns."""
_MANY = 64
"""Rows from which reading them column by column is faster."""
_WORDS: dict[ColumnType, str] = {
    "string": "text",
    "integer": "a whole number of at most 64 bits",
    "float": "a number",
    "boolean": "true or false",
    "timestamp": "an ISO 8601 instant with its zone, such as 2013-01-05T07:30:00Z",
    "date": "an ISO 8601 date, such as 2013-01-05",
}
_LARGEST = 2**63
_FIRST_YEAR, _LAST_YEAR = 1900, 2200
"""Instants beyond are mistakes, and would leave the range of what times can be computed with."""


@dataclass(frozen=True)
class Problem:
    """One wrong field: where it is, what was found, and what was expected."""

    path: tuple[str | int, ...]
    found: str
    expected: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"path": list(self.path), "found": self.found, "expected": self.expected}


@dataclass(frozen=True)
class Field:
    """One column that callers send."""

    name: str
    type: ColumnType
    is_required: bool
    spec: ColumnSpec | None

    @property
    def expectation(self) -> str:
        """What a value must be, in words."""
        spec = self.spec
        if spec is None:
            return _WORDS[self.type]
        bounds = [f"{word} {bound:g}" for word, bound in (("at least", spec.min), ("at most", spec.max))
                  if bound is not None]  # fmt: skip
        of = " characters" if bounds and self.type == "string" else ""
        allowed = f"one of {', '.join(spec.values)}" if spec.values is not None else ""
        return ", ".join(part for part in (_WORDS[self.type], " and ".join(bounds) + of, allowed) if part)


class RowReader:
    """Reads a model's rows."""

    def __init__(self, model: Model) -> None:
        self._spec = spec = model.spec
        needed = {*spec.keys, spec.event_time, *(name for name, one in spec.columns.items() if not one.nullable)}
        self.fields = tuple(
            Field(name, _type_of(model, name), name in needed, spec.columns.get(name)) for name in known_columns(model)
        )
        label = spec.label
        self._hidden = {label.column, label.available_time, *label.outcomes}
        self._by_name = {field.name: (field, _READ[field.type], _rule(field)) for field in self.fields}
        self._required = [field.name for field in self.fields if field.is_required]
        self._event_time = spec.event_time

    def read(self, rows: Sequence[Any]) -> tuple[Rows, list[Problem]]:
        """Rows with their values read, and everything that is wrong with them. Many that are right come as columns."""
        if len(rows) >= _MANY:
            table = read_columns(self.fields, rows, (_FIRST_YEAR, _LAST_YEAR))
            if table is not None:
                return table, []
        problems: list[Problem] = []
        return [self._read_row(number, row, problems) for number, row in enumerate(rows)], problems

    def to_table(self, parts: Iterable[Rows]) -> pa.Table:
        """Rows of several requests as columns in the spec's types; a field that was left out is null."""
        tables: list[pa.Table] = []
        rows: list[Row] = []
        for part in parts:
            if isinstance(part, pa.Table):
                tables += [*([self._to_table(rows)] if rows else []), part]
                rows = []
            else:
                rows += part
        return pa.concat_tables([*tables, *([self._to_table(rows)] if rows else [])])

    def _to_table(self, rows: Sequence[Row]) -> pa.Table:
        return pa.table({
            field.name: pa.array([row.get(field.name) for row in rows], ARROW_TYPES[field.type])
            for field in self.fields
        })  # fmt: skip

    def read_key(self, values: Mapping[str, Any]) -> str:
        """What ties a prediction to its label, from the values of the model's keys.

        Raises:
            ValueError: a key is missing, unknown, or not what it must be.
        """
        if set(values) != set(self._spec.keys):
            message = f"found key {', '.join(values) or 'nothing'}; expected {', '.join(self._spec.keys)}"
            raise ValueError(message)
        read: Row = {}
        for name, value in values.items():
            field, reads, _ = self._by_name[name]
            try:
                read[name] = reads(value)
            except (ValueError, TypeError, OverflowError):
                message = f"key {name}: found {_show(value)}; expected {field.expectation}"
                raise ValueError(message) from None
        return record_key(self._spec, read)

    def _read_row(self, number: int, row: Any, problems: list[Problem]) -> Row:
        found: Row = {}
        if not isinstance(row, dict):
            problems.append(Problem(("rows", number), _show(row), "an object of named fields"))
            return found
        for name, value in row.items():
            known = self._by_name.get(name)
            if known is None:
                problems.append(Problem(("rows", number, str(name)), _show(value), self._explain_unknown(str(name))))
                continue
            field, read, rule = known
            if value is None:
                continue
            try:
                found[name] = read(value)
                is_good = rule is None or rule(found[name])
            except (ValueError, TypeError, OverflowError):
                is_good = False
            if not is_good:
                problems.append(Problem(("rows", number, name), _show(value), field.expectation))
        for name in self._required:
            if row.get(name) is None:
                shown = "null" if name in row else "nothing"
                problems.append(Problem(("rows", number, name), shown, self._by_name[name][0].expectation))
        return found

    def _explain_unknown(self, name: str) -> str:
        if name in self._hidden:
            return "left out: it is known only with the label"
        near = difflib.get_close_matches(name, list(self._by_name), 1, 0.6)
        return f"did you mean {near[0]!r}?" if near else f"one of {', '.join(self._by_name)}"


def _type_of(model: Model, name: str) -> ColumnType:
    column = model.spec.columns.get(name)
    if name == model.spec.event_time:
        return "timestamp"
    return column.type if column is not None else "string"


def _rule(field: Field) -> Callable[[Any], bool] | None:
    spec = field.spec
    if spec is None or (spec.min is None and spec.max is None and spec.values is None):
        return None
    low = float("-inf") if spec.min is None else spec.min
    high = float("inf") if spec.max is None else spec.max
    allowed = None if spec.values is None else {_READ_TEXT[field.type](value) for value in spec.values}

    def holds(value: Any) -> bool:
        if allowed is not None and value not in allowed:
            return False
        measure = len(value) if isinstance(value, str) else value
        return low <= measure <= high if isinstance(measure, int | float) else True

    return holds


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # a lone surrogate is no text
    return value


def _read_integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise TypeError
    if not -_LARGEST <= value < _LARGEST:
        raise OverflowError
    return int(value)


def _read_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _read_boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _read_timestamp(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(_read_text(value))
    if moment.tzinfo is None or not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError
    return moment.astimezone(UTC)


def _read_date(value: Any) -> date:
    return value if isinstance(value, date) else date.fromisoformat(_read_text(value))


_READ: dict[ColumnType, Callable[[Any], Any]] = {
    "string": _read_text, "integer": _read_integer, "float": _read_float, "boolean": _read_boolean,
    "timestamp": _read_timestamp, "date": _read_date,
}  # fmt: skip
_READ_TEXT: dict[ColumnType, Callable[[str], Any]] = {
    "string": str, "integer": int, "float": float, "boolean": lambda text: text.lower() == "true",
    "timestamp": _read_timestamp, "date": date.fromisoformat,
}  # fmt: skip
"""How the spec's allowed values, which are text, are read."""


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
