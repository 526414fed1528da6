"""Which columns of which tables each feature comes from, read off its Ibis expression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ibis.expr.operations as ops

from include.ratchet.features.definition import FRAME, Definition
from include.ratchet.features.joins import Join
from include.ratchet.features.schema import ENTITIES, PREDICTION, ROW, source_name


@dataclass(frozen=True, order=True)
class Origin:
    """A column of one of a model's tables."""

    table: str
    column: str


@dataclass(frozen=True)
class Derivation:
    """Where one feature comes from.

    Attributes:
        values: columns that its value is made of, sorted.
        keys: columns that only say which rows it is taken from, sorted.
        is_plain: whether it is a column as it stands.
    """

    values: tuple[Origin, ...]
    keys: tuple[Origin, ...]
    is_plain: bool


def trace_features(definition: Definition) -> Mapping[str, Derivation]:
    """Where each feature comes from, in the order of the definition."""
    return {name: _trace(definition, name) for name in definition.features}


def joins_of(definition: Definition, name: str) -> tuple[Join, ...]:
    """The joins whose columns a feature's expression takes."""
    taken = {column for relation, column in find_leaves(definition.frame.op().values[name]) if relation == FRAME}
    return tuple(join for join in definition.joins if taken & {*join.columns, *join.windows})


def find_leaves(value: Any) -> set[tuple[str, str]]:
    """Names of (table, column) that an expression ends in, through every table that is computed from another."""
    found: set[tuple[str, str]] = set()
    waiting = [value]
    while waiting:
        for field in waiting.pop().find(ops.Field, filter=ops.Value):
            if isinstance(field.rel, ops.UnboundTable):
                found.add((field.rel.name, field.name))
            elif field.name in field.rel.values:
                waiting.append(field.rel.values[field.name])
    return found


def _trace(definition: Definition, name: str) -> Derivation:
    values, keys = set(), set()
    for relation, column in find_leaves(definition.frame.op().values[name]):
        join = next((one for one in definition.joins if column in one.columns or column in one.windows), None)
        if relation != FRAME or join is None:
            values |= _own(definition, {(relation, column)})
            continue
        taken = join.windows[column][0] if column in join.windows else column
        values |= _own(definition, find_leaves(join.values[taken].op()))
        for key, entity_side in join.keys.items():
            keys |= _own(definition, find_leaves(entity_side.op()) | find_leaves(join.values[key].op()))
    plain = definition.plain.get(name)
    is_plain = plain is not None and all(plain not in join.windows for join in definition.joins) and len(values) == 1
    return Derivation(tuple(sorted(values)), tuple(sorted(keys - values)), is_plain)


def _own(definition: Definition, leaves: set[tuple[str, str]]) -> set[Origin]:
    """Leaves as columns of the model's tables: the entity rows are its own, and their times are the event time's."""
    model = definition.model
    found = set()
    for relation, column in leaves:
        if relation in (ENTITIES, FRAME):
            if column != ROW:
                found.add(Origin(model.name, model.spec.event_time if column == PREDICTION else column))
        else:
            found.add(Origin(relation.removeprefix(source_name("")), column))
    return found
