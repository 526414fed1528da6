"""How a table's rows are to look; schema changes: what is taken, what stops a landing, and how it is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from include.ratchet.data.casting import ARROW_TYPES, TIMESTAMP
from include.ratchet.errors import SchemaChangedError
from include.ratchet.spec import Model
from include.ratchet.spec.tables import ColumnSpec, TableSpec


@dataclass(frozen=True)
class Frame:
    """How a table's rows are to look: the spec's columns, and those that have come besides.

    Attributes:
        name: the table's.
        spec: its section of the spec.
        where: file and key of the spec, for errors.
        times: columns that are instants, whether the spec types them or not.
        outcomes: columns that are known only with the label.
        existing: the schema of the table as it stands, None before the first landing.
        is_older: whether the table has a newer partition; then a column may not have been there yet.
        optional: columns of the spec that a source need not have: the label, where people give it.
    """

    name: str
    spec: TableSpec
    where: str
    times: tuple[str, ...]
    outcomes: tuple[str, ...]
    existing: pa.Schema | None
    is_older: bool = False
    optional: tuple[str, ...] = ()

    @property
    def rules(self) -> dict[str, ColumnSpec]:
        """The row-level rules. An outcome may be missing: it comes later than its row."""
        columns = self.spec.columns
        return {
            name: column.model_copy(update={"nullable": True}) if name in self.outcomes else column
            for name, column in columns.items()
        }

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that no row can be without."""
        times = (self.spec.event_time,) if self.spec.event_time else ()
        strict = (name for name, column in self.rules.items() if not column.nullable)
        return tuple(dict.fromkeys((*self.spec.keys, *times, *strict)))

    def fixed_types(self) -> dict[str, pa.DataType]:
        """Types that the spec decides."""
        types = {name: ARROW_TYPES[column.type] for name, column in self.spec.columns.items()}
        return types | {name: TIMESTAMP for name in self.times if name not in types}


def frame_table(model: Model, name: str, existing: pa.Schema | None) -> Frame:
    """The frame of one of a model's tables."""
    spec = model.spec.table(name)
    label = model.spec.label
    is_main = name == model.name
    times = [spec.event_time, spec.available_time, label.available_time if is_main else None]
    outcomes = (label.column, *label.outcomes, *((label.available_time,) if label.available_time else ()))
    key = "columns" if is_main else f"tables.{name}.columns"
    return Frame(
        name=name,
        spec=spec,
        where=f"{model.folder / 'model.yaml'}: {key}",
        times=tuple(time for time in times if time),
        outcomes=outcomes if is_main else (),
        optional=(label.column,) if is_main and label.annotations else (),
        existing=existing,
    )


def check_schema(types: Mapping[str, pa.DataType], came: pa.Schema, frame: Frame) -> None:
    """Stop if a column that the spec or the table has is missing, or would change its type.

    Args:
        types: the types in which the columns would be landed.
        came: the batch's own schema.
        frame: what is expected.

    Raises:
        SchemaChangedError: with both schemas shown.
    """
    existing = frame.existing
    known = [] if existing is None or frame.is_older else existing.names
    lost = [name for name in dict.fromkeys((*frame.required, *types, *known)) if name not in came.names]
    if lost:
        message = (
            f"{frame.name}: the source lost {'column' if len(lost) == 1 else 'columns'} {', '.join(lost)}.\n"
            f"{_show_both(came, existing)}\n"
            f"Bring it back at the source, or take it out of {frame.where} and land into a new table."
        )
        raise SchemaChangedError(message)
    if existing is None:
        return
    changed = [name for name in types if name in existing.names and types[name] != existing.field(name).type]
    if changed:
        details = "; ".join(f"{name}: found {types[name]}, expected {existing.field(name).type}" for name in changed)
        message = (
            f"{frame.name}: {'a column' if len(changed) == 1 else 'columns'} changed type: {details}.\n"
            f"{_show_both(came, existing)}\n"
            f"Cast it at the source, or name its type in {frame.where}."
        )
        raise SchemaChangedError(message)


def explain_type(frame: Frame, column: str, target: pa.DataType, came: pa.ChunkedArray) -> SchemaChangedError:
    """The error for a column of which no value can be read as its type."""
    example = next((value.as_py() for value in came if value.is_valid), None)
    return SchemaChangedError(
        f"{frame.name}: column {column} changed type: none of its values can be read as {target}; found {example!r}.\n"
        f"{_show_both(pa.schema([pa.field(column, came.type)]), frame.existing)}\n"
        f"Cast it at the source, or change its type in {frame.where}."
    )


def _show_both(came: pa.Schema, existing: pa.Schema | None) -> str:
    lines = [f"  source: {_show(came)}"]
    if existing is not None:
        lines.append(f"  table:  {_show(existing)}")
    return "\n".join(lines)


def _show(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
