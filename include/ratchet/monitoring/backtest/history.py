"""What a backtest is asked, and the rows that it replays: features once for all, as each row's own moment saw them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa

from include.ratchet.data.facts import find_facts, read_facts
from include.ratchet.data.records import record_keys
from include.ratchet.data.snapshots import Snapshot, build_snapshot
from include.ratchet.errors import SpecError, TooFewRowsError
from include.ratchet.features import Inputs, feature_names, feature_query, read_versions, training_rows
from include.ratchet.monitoring.backtest.policies import DEFAULT
from include.ratchet.monitoring.backtest.work import History, instant
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.rivals import usual_candidate
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.rollout.labels import END
from include.ratchet.spec import Model, ModelKey, ModelSpec, Partition, partition_of, partitions_between
from include.ratchet.training.fit import Candidate
from include.ratchet.training.frames import LABEL_AVAILABLE, class_codes, features_frame, label_array, times


@dataclass(frozen=True)
class BacktestRequest:
    """What a backtest is asked.

    Attributes:
        key: whose history.
        first: day of the first fit.
        last: the last day that is answered.
        policies: their names; `never` and `nightly`, which the others are measured by, are replayed in any case.
        candidate: what is fitted; absent: the champion's, else the first that needs no parameter.
        params: of the candidate.
        max_rows: that one fit learns from, the newest ones.
        resamples: behind the intervals of rows.
    """

    key: ModelKey
    first: str
    last: str
    policies: tuple[str, ...] = DEFAULT
    candidate: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    max_rows: int = 60_000
    resamples: int = 100


def choose_candidate(workspace: Workspace, model: Model, request: BacktestRequest) -> Candidate:
    """The candidate that was asked for, else the champion's, else the first that needs no parameter.

    Raises:
        SpecError: there is no such candidate, or each needs parameters.
    """
    candidates = model.spec.training.candidates
    if request.candidate is not None:
        if request.candidate in candidates:
            return Candidate(request.candidate, request.params)
        near = get_close_matches(request.candidate, candidates, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        message = (
            f"{model.folder}/model.yaml: training.candidates: found no {request.candidate!r}; expected one of "
            f"{', '.join(candidates)}{hint}"
        )
        raise SpecError(message)
    return usual_candidate(workspace, model, request.key, request.params)


def read_history(
    workspace: Workspace, model: Model, request: BacktestRequest, candidate: Candidate
) -> tuple[History, int]:
    """All rows that the backtest needs with their features, and the number of the day of the first fit."""
    # Days also of a model with hourly partitions: a policy decides once a day.
    spec = model.spec.model_copy(update={"partition": "day"})
    first, last = (partition_of(spec, text) for text in (request.first, request.last))
    if last.start < first.start:
        message = f"the range ends ({last.key}) before it begins ({first.key}); swap --from and --to"
        raise ValueError(message)
    table = _take_snapshot(workspace, model, request.key, first, last).read(verify=False)
    event = times(table, spec.event_time)
    table = table.slice(0, int(np.searchsorted(event, instant(last.end))))
    event = event[: table.num_rows]
    if not len(event) or event[-1] < instant(last.start) or event[0] >= instant(first.start):
        message = (
            f"{request.key}: {_describe_span(spec, event)}; expected rows before {first.key} and up to {last.key}. "
        )
        raise TooFewRowsError(message + "Choose --from and --to within it, or ingest more history")
    began = partition_of(spec, f"{event[0].item().isoformat()}+00:00")
    # One day more, without rows: the end of the last one.
    days = tuple(partitions_between(spec, began, partition_of(spec, last.end)))
    offsets = np.searchsorted(event, np.array([*(instant(day.start) for day in days), instant(days[-1].end)]))
    label = label_array(table, spec)
    classes, codes = class_codes(label, spec.task)
    history = History(
        model, candidate, request.max_rows, request.resamples, days, offsets.astype(np.int64),
        table.select([spec.event_time, LABEL_AVAILABLE, spec.label.column]),
        features_frame(table, feature_names(model)), label, codes, classes, event, times(table, LABEL_AVAILABLE),
        _read_facts(workspace, model, table),
    )  # fmt: skip
    return history, [day.key for day in days].index(first.key)


def _read_facts(workspace: Workspace, model: Model, table: pa.Table) -> pa.Table | None:
    """What the value of a prediction reads, with hindsight: as it has landed by now."""
    spec = model.spec
    if spec.scope is None or spec.scope.business is None:
        return None
    columns = spec.scope.business.columns
    landed = read_facts(workspace.settings, model, table[spec.event_time], columns, END)
    return find_facts(model, landed, record_keys(spec, table), columns)


def _take_snapshot(workspace: Workspace, model: Model, key: ModelKey, first: Partition, last: Partition) -> Snapshot:
    """Rows of the first fit's window and all that follow, with labels that came in time; found if taken before."""
    spec, settings = model.spec, workspace.settings
    versions = read_versions(settings, model)
    start = TrainingRequest(key, "backtest", first.start).window_start(spec)
    as_of = last.end + max(spec.label.lateness, spec.label.delay) + timedelta(days=1)
    inputs = Inputs.open(settings, model, versions, as_of=as_of)
    return build_snapshot(
        key, as_of=as_of, window_start=start, query=feature_query(model), versions=versions, settings=settings,
        compute=lambda: training_rows(model, key, inputs, as_of=as_of, window_start=start, settings=settings),
    )  # fmt: skip


def explain_lack(history: History, first: int) -> str:
    """Why there is no first fit."""
    split = history.spec.training.split
    held = f", of which the last {(split.test + split.validation).days} days are held out" if split.by == "time" else ""
    return (
        f"{history.spec.name}: the history from {history.days[0].key} gives a fit as of {history.days[first].key} too "
        f"few rows to learn from{held}; choose a later --from, ingest more history, or shorten training.split"
    )


def _describe_span(spec: ModelSpec, event: Any) -> str:
    if not len(event):
        return "found no labelled rows"
    ends = [partition_of(spec, f"{one.item().isoformat()}+00:00").key for one in (event[0], event[-1])]
    return f"found labelled rows of {ends[0]} to {ends[1]}"
