"""Fairness of what was answered: by version and stretch of time, within slices, and from one version to the next."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.records import FEATURE, Kind, RecordTable
from include.ratchet.errors import VersionNotFoundError
from include.ratchet.evaluation.parity import Parity, Texts, compare_stretches, group_texts, measure_parity
from include.ratchet.evaluation.report import EvaluationReport
from include.ratchet.evaluation.thresholds import WhatIf, plan_thresholds
from include.ratchet.registry import ledger
from include.ratchet.registry.versions import get_version, read_artifact
from include.ratchet.rollout.labels import read_outcomes, said_probabilities
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey, ModelSpec, partition_of
from include.ratchet.training.frames import times
from include.ratchet.training.metrics import Floats

_ANSWERED = ("champion", "challenger", "holdout", "batch")
_UNIT = ("request_id", "row", "key", "event_time", "received_at", "segment", "version", "route", "score")
Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Period:
    """What one version answered in one stretch of time.

    Attributes:
        start: first event time.
        end: event time before which it lies.
        version: that answered.
        rows: that it answered.
        arrived: by sensitive attribute and group, the share of labels that have come.
        parity: by sensitive attribute, on the rows whose label has come.
    """

    start: datetime
    end: datetime
    version: int
    rows: int
    arrived: dict[str, dict[str, float]]
    parity: tuple[Parity, ...]


@dataclass(frozen=True)
class Succession:
    """One version after another in production: each on the rows that it answered itself, so that nothing is paired."""

    before: int
    after: int
    parity: tuple[Parity, ...]


@dataclass(frozen=True)
class FairnessHistory:
    """Fairness of what a model key answered.

    Attributes:
        start: first event time that was looked at; None if nothing was answered.
        end: event time before which all lies.
        rows: that were answered.
        labelled: of them, those whose label has come.
        periods: oldest first.
        successions: oldest first.
        slices: by slice such as `carrier = UA`, of the newest version over the whole time.
        what_if: by sensitive attribute, what other thresholds would have cost that version (binary only).
    """

    start: datetime | None
    end: datetime | None
    rows: int
    labelled: int
    periods: tuple[Period, ...] = ()
    successions: tuple[Succession, ...] = ()
    slices: tuple[tuple[str, Parity], ...] = ()
    what_if: tuple[WhatIf, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class PromotionParity:
    """What a promotion changed: the champion before and the version promoted, on the same test rows.

    With what other thresholds would cost the version there.
    """

    version: int
    at: datetime
    parity: tuple[Parity, ...]
    thresholds: tuple[WhatIf, ...]


@dataclass(frozen=True)
class _Answers:
    """Rows as they were answered: what is told of them, in columns of (n_rows,).

    Attributes:
        event: event times.
        version: that answered.
        groups: by column.
        is_labelled: whether the label has come.
        label: 0, or the label where it has come.
        scores: (n_rows,) or (n_rows, n_classes).
    """

    event: npt.NDArray[np.datetime64]
    version: npt.NDArray[np.int64]
    groups: dict[str, Texts]
    is_labelled: Bits
    label: npt.NDArray[Any]
    scores: Floats


def read_fairness(
    settings: Settings, model: Model, key: ModelKey, as_of: datetime, *, days: int = 7, last: int = 56,
    kind: Kind = "requests",
) -> FairnessHistory:  # fmt: skip
    """Fairness over the newest days of records.

    Args:
        settings: where records and labels are.
        model: whose.
        key: of the whole or pooled model, or of a segment.
        as_of: labels that became available then or later are not seen.
        days: length of a stretch of time.
        last: how many days, the newest with records.
        kind: answers of the prediction service, or of batch scoring.
    """
    table = RecordTable(settings, model, kind)
    known = sorted(table.row_counts())
    if not known:
        return FairnessHistory(None, None, 0, 0)
    end = partition_of(model.spec, known[-1]).end
    start = max(partition_of(model.spec, known[0]).start, end - timedelta(days=last))
    answers = _read(settings, model, key, table, start, end, as_of)
    if answers is None:
        return FairnessHistory(start, end, 0, 0)
    spec = model.spec
    versions = _order_versions(answers)
    newest = answers.version == versions[-1]
    return FairnessHistory(
        start, end, len(answers.version), int(answers.is_labelled.sum()),
        tuple(_periods(spec, answers, start, end, timedelta(days=days))),
        tuple(_succeed(spec, answers, *pair) for pair in itertools.pairwise(versions)),
        tuple(_slices(spec, answers, newest)), tuple(_what_if(spec, answers, newest)),
    )  # fmt: skip


def read_promotions(settings: Settings, key: ModelKey, count: int = 10) -> tuple[PromotionParity, ...]:
    """The newest promotions of a model key, oldest first, with fairness before and after."""
    rows = [row for row in ledger.history(key, settings) if row.kind == "promotion" and row.version is not None]
    found = []
    for row in sorted(rows, key=lambda one: one.recorded_at)[-count:]:
        number = row.version or 0
        try:
            content = json.loads(read_artifact(get_version(key, number, settings), "report.json", settings))
        except VersionNotFoundError:  # the registry no longer has it; the others are told
            continue
        report = EvaluationReport.from_dict(content)
        found.append(PromotionParity(number, row.recorded_at, report.parity, report.thresholds))
    return tuple(found)


def _read(
    settings: Settings, model: Model, key: ModelKey, table: RecordTable, start: datetime, end: datetime, as_of: datetime
) -> _Answers | None:
    spec = model.spec
    names = list(dict.fromkeys([*spec.evaluation.sensitive, *spec.evaluation.slices]))
    there = table.schema()
    held = [FEATURE + name for name in names if there is not None and FEATURE + name in there.names]
    wanted = [*_UNIT, *held, *(["payload"] if len(held) < len(names) else [])]
    if spec.task == "multiclass":
        wanted.append("output")
    rows = table.between(start, end, wanted)
    is_own = pc.and_(pc.equal(rows["segment"], key.segment), pc.is_in(rows["route"], pa.array(_ANSWERED)))
    rows = rows.filter(pc.and_kleene(is_own, pc.fill_null(pc.is_finite(rows["score"]), False)))
    if not rows.num_rows:
        return None
    rows = _once(rows)
    is_known, values = read_outcomes(settings, model, rows, as_of).labels.find(rows["key"].combine_chunks())
    scores, label = rows["score"].to_numpy(), np.zeros(rows.num_rows)
    if spec.task == "multiclass":
        scores, classes = _spread(rows["output"].to_pylist())
        place = {name: number for number, name in enumerate(classes)}
        # A class that no version knows is none that any of them could say.
        values = np.array([place.get(str(one), -1) for one in values], dtype=np.int64)
        label = label.astype(np.int64)
    label[is_known] = values
    groups = {name: _groups(rows, name) for name in names}
    event = times(rows, "event_time")
    return _Answers(event, rows["version"].to_numpy().astype(np.int64), groups, np.asarray(is_known), label, scores)


def _once(rows: pa.Table) -> pa.Table:
    """What was asked again of the same version counts once."""
    name = pc.binary_join_element_wise(rows["key"], pc.cast(rows["version"], pa.string()), "@").combine_chunks()
    codes = pc.fill_null(pc.dictionary_encode(name).indices, -1).to_numpy(zero_copy_only=False)
    return rows.take(pa.array(np.sort(np.unique(codes, return_index=True)[1])))


def _groups(rows: pa.Table, name: str) -> Texts:
    """A column as it was recorded with the features, else as the caller sent it."""
    if FEATURE + name in rows.column_names:
        return group_texts(rows[FEATURE + name].to_pylist())
    sent = (json.loads(text) if text else {} for text in rows["payload"].to_pylist())
    return group_texts([one.get(name) if isinstance(one, dict) else None for one in sent])


def _spread(outputs: list[str | None]) -> tuple[Floats, tuple[str, ...]]:
    """(n_rows, n_classes) probabilities as they were answered, and the classes."""
    said = said_probabilities(outputs)
    classes = tuple(sorted({name for one in said for name in one}))
    found = np.array([[one.get(name, 0.0) for name in classes] for one in said])
    return found.reshape(len(said), len(classes)), classes


def _order_versions(answers: _Answers) -> list[int]:
    """Versions in the order of the middle of what they answered."""
    found = {int(one): np.median(answers.event[answers.version == one].astype(np.int64))
             for one in np.unique(answers.version)}  # fmt: skip
    return sorted(found, key=lambda one: (found[one], one))


def _periods(
    spec: ModelSpec, answers: _Answers, start: datetime, end: datetime, length: timedelta
) -> Iterator[Period]:  # fmt: skip
    while start < end:
        until = min(start + length, end)
        low, high = (np.datetime64(moment.replace(tzinfo=None), "us") for moment in _utc(start, until))
        inside = (answers.event >= low) & (answers.event < high)
        for version in np.unique(answers.version[inside]):
            own = inside & (answers.version == version)
            arrived = {name: _arrived(answers, name, own) for name in spec.evaluation.sensitive}
            parity = tuple(_parity(spec, answers, own))
            yield Period(start, until, int(version), int(own.sum()), arrived, parity)
        start = until


def _utc(*moments: datetime) -> Iterator[datetime]:
    yield from (moment - (moment.utcoffset() or timedelta()) for moment in moments)


def _arrived(answers: _Answers, name: str, own: Bits) -> dict[str, float]:
    groups = answers.groups[name]
    return {str(group): float(answers.is_labelled[own & (groups == group)].mean()) for group in np.unique(groups[own])}


def _parity(spec: ModelSpec, answers: _Answers, own: Bits) -> Iterator[Parity]:
    rows = own & answers.is_labelled
    for name in spec.evaluation.sensitive if rows.any() else ():
        yield measure_parity(spec, name, answers.groups[name][rows], answers.label[rows], answers.scores[rows])


def _succeed(spec: ModelSpec, answers: _Answers, before: int, after: int) -> Succession:
    rows = np.isin(answers.version, [before, after]) & answers.is_labelled
    is_after = answers.version[rows] == after
    found = [
        compare_stretches(
            spec, name, answers.groups[name][rows], answers.label[rows], answers.scores[rows], is_after
        )
        for name in (spec.evaluation.sensitive if rows.any() else ())
    ]  # fmt: skip
    return Succession(before, after, tuple(found))


def _slices(spec: ModelSpec, answers: _Answers, own: Bits) -> Iterator[tuple[str, Parity]]:
    """Fairness within each value of each declared slice, where two groups have enough rows there."""
    for name in spec.evaluation.slices:
        values = answers.groups[name]
        for value in np.unique(values[own]):
            for parity in _parity(spec, answers, own & (values == value)):
                if parity.column != name and parity.gaps:
                    yield f"{name} = {value}", parity


def _what_if(spec: ModelSpec, answers: _Answers, own: Bits) -> Iterator[WhatIf]:
    rows = own & answers.is_labelled
    for name in spec.evaluation.sensitive if spec.task == "binary" else ():
        found = plan_thresholds(spec, name, answers.groups[name][rows], answers.label[rows], answers.scores[rows])
        if found is not None:
            yield found
