"""From what several labellers said of a row to the label that it has, and since when.

Everything that reads labels reads them through here: training sets, histories, hand-overs and monitors.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.annotations import END, Annotation
from include.ratchet.data.casting import ARROW_TYPES, TIMESTAMP
from include.ratchet.data.records import record_keys
from include.ratchet.spec import Model
from include.ratchet.spec.labels import SOURCE, AnnotationsSpec

Said = tuple[Any, str]
"""A label and nothing, or None and why there is none."""
LABELLED_AT = "_labelled_at"
"""When a row's label could first be known, where people's annotations are part of it."""
SILENT = "nobody has said anything"


@dataclass(frozen=True)
class Ruling:
    """What the rule made of one row.

    Attributes:
        value: the label; None if the row has none.
        since: when it could first be known to be this one; None without a label.
        reason: why there is none, or nothing.
        voices: each labeller's newest word, by name; without reviews.
    """

    value: Any
    since: datetime | None
    reason: str
    voices: Mapping[str, Any]

    @property
    def is_conflict(self) -> bool:
        """Whether labellers spoke and a person has to settle it."""
        return self.value is None and len(set(self.voices.values())) > 1


def resolve(rule: AnnotationsSpec, said: Iterable[Annotation]) -> Ruling:
    """The label of one row after all that was said of it; the same, in whatever order it is handed over."""
    standing: dict[tuple[str, bool], Annotation] = {}
    value: Any = None
    since, reason = None, SILENT
    for moment, words in groupby(sorted(said, key=lambda one: one.annotated_at), lambda one: one.annotated_at):
        standing.update({(one.labeller, one.is_review): one for one in words})
        before = value
        value, reason = _settle(rule, list(standing.values()))
        if value is None or value != before:
            since = moment if value is not None else None
    voices = {name: one.value for (name, is_review), one in standing.items() if not is_review and one.value is not None}
    return Ruling(value, since, reason, dict(sorted(voices.items())))


def resolve_rows(model: Model, rows: pa.Table, annotations: Sequence[Annotation], as_of: datetime) -> dict[str, Ruling]:
    """The rulings on those rows of the model's own table that somebody has said something of, by key.

    Args:
        model: with `label.annotations`.
        rows: with keys, event time, label and, if the model has one, the label's available time.
        annotations: what had been said before `as_of`.
        as_of: a label that the source gave then or later does not count.
    """
    rule, said = _rule(model), _by_key(annotations)
    if not said:
        return {}
    places = pc.index_in(record_keys(model.spec, rows), value_set=pa.array(list(said), pa.string()))
    chosen = rows.filter(pc.is_valid(places))
    keys = pa.array(list(said), pa.string()).take(places.drop_null()).to_pylist()
    labels, times = _label_column(model, chosen).to_pylist(), _source_times(model, chosen).to_pylist()
    rulings = {}
    for key, label, time in zip(keys, labels, times, strict=True):
        is_known = label is not None and time is not None and time < as_of
        own = [Annotation(key, SOURCE, time, label)] if is_known else []
        rulings[key] = resolve(rule, [*said[key], *own])
    return rulings


def settle_labels(model: Model, rows: pa.Table, annotations: Sequence[Annotation], as_of: datetime) -> pa.Table:
    """Rows of the model's own table with the labels that they had as of an instant.

    Args:
        model: with `label.annotations`.
        rows: with keys, event time, label and, if the model has one, the label's available time.
        annotations: what had been said before `as_of`.
        as_of: a label that the source gave then or later counts on no row that somebody has annotated.

    Returns:
        The rows, with the label put in its place and, as `_labelled_at`, the time at which it could first be known.
    """
    rulings = resolve_rows(model, rows, annotations, as_of)
    labels, times = _label_column(model, rows), _source_times(model, rows)
    if not _accepts_source(_rule(model)):
        labels = pa.nulls(rows.num_rows, labels.type)
    if rulings:
        keys = record_keys(model.spec, rows)
        mask = pc.is_in(keys, pa.array(list(rulings), pa.string()))
        found = [rulings[key] for key in keys.filter(mask).to_pylist()]
        labels = pc.replace_with_mask(labels, mask, pa.array([one.value for one in found], labels.type))
        times = pc.replace_with_mask(times, mask, pa.array([one.since for one in found], TIMESTAMP))
    name = model.spec.label.column
    if name in rows.column_names:
        rows = rows.set_column(rows.column_names.index(name), name, labels)
    else:
        rows = rows.append_column(name, labels)
    return rows.append_column(LABELLED_AT, times)


def label_type(model: Model) -> pa.DataType:
    """The type in which the label of a model with annotations is kept, which its spec declares."""
    spec = model.spec
    return ARROW_TYPES[spec.columns[spec.label.column].type]


def _settle(rule: AnnotationsSpec, standing: Sequence[Annotation]) -> Said:
    reviews = [one for one in standing if one.is_review and one.value is not None]
    if reviews:
        return _newest(rule, reviews)
    voices = [one for one in standing if not one.is_review and one.value is not None]
    if not voices:
        return None, SILENT
    if len(voices) < rule.min_labellers:
        return None, f"{len(voices)} of {rule.min_labellers} labellers"
    return _RULES[rule.rule](rule, voices)


def _majority(_: AnnotationsSpec, voices: Sequence[Annotation]) -> Said:
    (first, most), *others = Counter(one.value for one in voices).most_common(2)
    if others and others[0][1] == most:
        return None, f"a tie of {most} to {most}"
    return first, ""


def _median(_: AnnotationsSpec, voices: Sequence[Annotation]) -> Said:
    return float(statistics.median(one.value for one in voices)), ""


def _unanimous(_: AnnotationsSpec, voices: Sequence[Annotation]) -> Said:
    values = {one.value for one in voices}
    return (values.pop(), "") if len(values) == 1 else (None, f"{len(values)} different labels")


def _newest(rule: AnnotationsSpec, voices: Sequence[Annotation]) -> Said:
    last = max(one.annotated_at for one in voices)
    return _unanimous(rule, [one for one in voices if one.annotated_at == last])


def _first_of(rule: AnnotationsSpec, voices: Sequence[Annotation]) -> Said:
    for pattern in rule.order:
        found = [one for one in voices if fnmatchcase(one.labeller, pattern)]
        if found:
            is_number = all(isinstance(one.value, float) for one in found)
            return (_median if is_number else _majority)(rule, found)
    return None, f"none of {', '.join(rule.order)} has said anything"


_RULES: dict[str, Callable[[AnnotationsSpec, Sequence[Annotation]], Said]] = {
    "majority": _majority,
    "median": _median,
    "unanimous": _unanimous,
    "latest": _newest,
    "first_of": _first_of,
}


def _rule(model: Model) -> AnnotationsSpec:
    rule = model.spec.label.annotations
    if rule is None:
        message = f"{model.folder}/model.yaml: label.annotations is not there; expected a rule, such as rule: majority"
        raise ValueError(message)
    return rule


def _accepts_source(rule: AnnotationsSpec) -> bool:
    """Whether the source's word alone is a label."""
    return _settle(rule, [Annotation("", SOURCE, END, 0.0)])[0] is not None


def _by_key(annotations: Iterable[Annotation]) -> dict[str, list[Annotation]]:
    found: dict[str, list[Annotation]] = {}
    for one in annotations:
        found.setdefault(one.key, []).append(one)
    return found


def _label_column(model: Model, rows: pa.Table) -> pa.Array:
    name = model.spec.label.column
    if name not in rows.column_names:
        return pa.nulls(rows.num_rows, label_type(model))
    column = rows[name].combine_chunks()
    return column.cast(label_type(model)) if pa.types.is_null(column.type) else column


def _source_times(model: Model, rows: pa.Table) -> pa.Array:
    """When the source's own labels became available, timestamp[us, UTC]."""
    label = model.spec.label
    if label.available_time is None:
        return pc.add(rows[model.spec.event_time], pa.scalar(label.delay)).combine_chunks().cast(TIMESTAMP)
    if label.available_time not in rows.column_names:
        return pa.nulls(rows.num_rows, TIMESTAMP)
    return rows[label.available_time].combine_chunks().cast(TIMESTAMP)
