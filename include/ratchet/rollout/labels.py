"""What became known of predictions: labels from the landed table and from callers, and what people answered.

What landed is the record of how it turned out. What a caller said fills in until it lands, and for what never does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.annotations import AnnotationTable
from include.ratchet.data.availability import hide_outcomes
from include.ratchet.data.records import RecordTable, record_keys
from include.ratchet.data.resolution import settle_labels
from include.ratchet.data.tables import Table
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelSpec, partition_of
from include.ratchet.training.frames import label_array

END = datetime(9000, 1, 1, tzinfo=UTC)
_TIME = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class Known:
    """Values by key, to be looked up for many rows at once.

    Attributes:
        keys: (n_keys,) text, each once.
        values: (n_keys,): 0 or 1 (binary), text (multiclass) or a number (regression).
    """

    keys: pa.Array
    values: npt.NDArray[Any]

    def find(self, keys: pa.Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]:
        """Whether each key is known, and the values of those that are, in order."""
        return self.at(self.locate(keys))

    def locate(self, keys: pa.Array) -> pa.Array:
        """Where each key's value lies, (n,) of int32; null if it is not known."""
        return pc.index_in(keys, value_set=self.keys)

    def at(self, places: pa.Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]:
        """Whether there is a value at each place that `locate` gave, and those that there are, in order."""
        found = pc.is_valid(places).to_numpy(zero_copy_only=False)
        return found, self.values[pc.drop_null(places).to_numpy(zero_copy_only=False)]


@dataclass(frozen=True)
class Outcomes:
    """What was known as of an instant.

    Attributes:
        labels: what came true: as it landed, else as callers said it, else as the person who did the task said it.
        truths: the same without what people answered.
        people: what people answered to deferred rows.
        unhelpful: keys of predictions of which callers said that they did not help.
    """

    labels: Known
    truths: Known
    people: Known
    unhelpful: pa.Array


def read_outcomes(settings: Settings, model: Model, rows: pa.Table, as_of: datetime = END) -> Outcomes:
    """Labels and people's answers to some rows that were available before `as_of`; without one, all that there are.

    Args:
        settings: of the installation.
        model: whose.
        rows: request records: feedback that names a request is about the key of its record.
        as_of: what became available then or later is not seen.
    """
    spec = model.spec
    landed = _read_landed(settings, model, rows, as_of)
    feedback = _read_feedback(settings, model, rows, as_of)
    said, people = (_values_of(spec, feedback, kind) for kind in ("label", "human"))
    unhelpful = feedback.filter(pc.equal(feedback["kind"], "unhelpful"))["key"].combine_chunks()
    return Outcomes(
        _merge(spec, landed, said, people), _merge(spec, landed, said), _merge(spec, people), pc.unique(unhelpful)
    )


def to_label(spec: ModelSpec, value: Any) -> float | str | None:
    """A label as a caller wrote it; None if it is none of this task."""
    if value is None:
        return None
    if spec.task == "multiclass":
        return str(value)
    try:
        if spec.task == "regression":
            return float(value)
        if spec.label.positive is not None:
            return float(value == spec.label.positive)
        return _BOOLEANS[str(value).lower()]
    except (ValueError, TypeError, KeyError):
        return None


_BOOLEANS = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}
_Pairs = tuple[list[str], list[Any]]


def _read_landed(settings: Settings, model: Model, asked: pa.Table, as_of: datetime) -> _Pairs:
    spec, table = model.spec, Table(settings, model.name, model.name)
    times = pc.min_max(asked["event_time"]).as_py()
    if times["min"] is None:
        return [], []
    first, last = (partition_of(spec, times[end]).key for end in ("min", "max"))
    inside = [key for key in table.row_counts() if first <= key <= last]
    if not inside:
        return [], []
    label, schema = spec.label, table.schema()
    there = schema.names if schema is not None else []
    wanted = dict.fromkeys([*spec.keys, spec.event_time, label.column, label.available_time])
    rows = table.read(inside, columns=[name for name in wanted if name is not None and name in there])
    rows = hide_outcomes(rows, model, as_of - timedelta(microseconds=1))
    if label.annotations:
        rows = settle_labels(model, rows, AnnotationTable(settings, model.name).all(as_of), as_of)
    rows = rows.filter(pc.is_valid(rows[label.column]))
    values = label_array(rows, spec)
    is_text = spec.task == "multiclass"
    return record_keys(spec, rows).to_pylist(), [str(one) for one in values] if is_text else list(values.astype(float))


def _read_feedback(settings: Settings, model: Model, rows: pa.Table, as_of: datetime) -> pa.Table:
    """Feedback that was available, the newest last, with the key that each is about."""
    begins = [pc.min(rows[name]).as_py() for name in ("event_time", "received_at")]
    since = min((one for one in begins if one is not None), default=END)
    # Read to the end of time: it may have arrived later, by the wall clock, than the time that it speaks of.
    table = RecordTable(settings, model, "feedback").between(since, END)
    if table.num_rows == 0:
        return table
    available = pc.coalesce(table["available_time"], table["received_at"])
    table = table.append_column("_available", available).filter(pc.less(available, pa.scalar(as_of, _TIME)))
    table = table.sort_by([("_available", "ascending"), ("received_at", "ascending")])
    position = pc.index_in(unit_of(table), value_set=unit_of(rows))
    of_request = pc.take(rows["key"].combine_chunks(), position)
    keys = pc.coalesce(table["key"].combine_chunks(), of_request)
    table = table.set_column(table.column_names.index("key"), "key", keys)
    return table.filter(pc.is_valid(keys))


def unit_of(table: pa.Table) -> pa.Array:
    """What was predicted together: a request and its row, as text."""
    row = pc.cast(pc.fill_null(table["row"], 0), pa.string())
    joined = pc.binary_join_element_wise(row, table["request_id"], "/")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _values_of(spec: ModelSpec, feedback: pa.Table, kind: str) -> _Pairs:
    chosen = feedback.filter(pc.equal(feedback["kind"], kind))
    read: Callable[[str], Any] = lambda text: to_label(spec, _parse(text))  # noqa: E731
    pairs = zip(chosen["key"].to_pylist(), map(read, chosen["value"].to_pylist()), strict=True)
    known = [(key, value) for key, value in pairs if value is not None]
    return [key for key, _ in known], [value for _, value in known]


def _parse(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None


def _merge(spec: ModelSpec, *sources: _Pairs) -> Known:
    """One value for each key: of the first source that has it, its newest."""
    found: dict[str, Any] = {}
    for keys, values in reversed(sources):
        found.update(zip(keys, values, strict=True))
    kind: Any = object if spec.task == "multiclass" else np.float64
    return Known(pa.array(list(found), pa.string()), np.array(list(found.values()), dtype=kind))


def said_probabilities(outputs: Sequence[str | None]) -> list[dict[str, float]]:
    """Of a multiclass task: each class's probability as it was recorded with the answer; empty where none was."""
    found = []
    for text in outputs:
        content = _parse(text)
        shares = content.get("probabilities") if isinstance(content, dict) else None
        found.append({str(name): float(share) for name, share in shares.items()} if isinstance(shares, dict) else {})
    return found
