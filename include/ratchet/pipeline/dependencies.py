"""What a training depends on, looked into; and the same of a version, now, with what is asked for beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from include.ratchet.data.availability import hide_outcomes
from include.ratchet.data.segments import part_of
from include.ratchet.data.snapshots import load_snapshot
from include.ratchet.data.tables import Table
from include.ratchet.dependencies.changes import Change, find_changes
from include.ratchet.dependencies.necessity import Necessity, find_necessity
from include.ratchet.dependencies.periods import profile_periods
from include.ratchet.dependencies.reliability import list_calendar, read_reliability
from include.ratchet.dependencies.report import DEPENDENCIES, DependencyReport, compare_schemas
from include.ratchet.dependencies.ties import find_ties
from include.ratchet.dependencies.usage import find_unused, needed_columns, trace_features
from include.ratchet.errors import VersionNotFoundError
from include.ratchet.features import feature_names
from include.ratchet.pipeline.feedback import read_feedback
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.train import TrainingSet, folder_of, snapshot_of
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import CHAMPION
from include.ratchet.registry.versions import Version, get_version, read_artifact
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey, Partition
from include.ratchet.training.fit import Candidate
from include.ratchet.training.frames import features_frame, label_array
from include.ratchet.training.split import split_rows
from include.ratchet.validation.failures import read_failures

MOST_ROWS = 100_000
"""An even sample of a larger table is as telling of what its columns mean."""
_HELD_ROWS = 500_000
"""Of a larger table only so many are in memory at a time, or one partition's."""
_CHAMPIONS = 5
"""Champions before, whose features are looked for."""


def examine(workspace: Workspace, request: TrainingRequest, data: TrainingSet) -> DependencyReport | None:
    """Look into the snapshot of a training and leave the report in its folder; of a segment's, the one that is there.

    Args:
        workspace: the installation.
        request: the training.
        data: its rows.
    """
    if not request.key.is_pool:
        return _left(workspace, request)
    report, feedback = _examine(workspace, request, data.model, data.frame), None
    if data.model.spec.serving.holdout is not None:
        feedback = read_feedback(workspace.settings, data.model, request.key, request.as_of)
    report = report.with_more(None, feedback)
    folder_of(workspace, request).put_json(DEPENDENCIES, report.to_dict())
    return report


def examine_for_segments(workspace: Workspace, request: TrainingRequest, table: pa.Table) -> None:
    """Look into the snapshot of a fleet's training, unless its pooled candidate was looked into or nobody asks.

    Segments ask that stand alone, or that gates hold to the snapshot's sources.

    Args:
        workspace: the installation.
        request: the whole training.
        table: its snapshot's rows; an even sample of them is as telling.
    """
    model = workspace.model(request.key.model)
    is_asked = model.spec.gates.dependencies is not None or not model.spec.has_whole
    if not is_asked or _left(workspace, request) is not None:
        return
    rows = np.linspace(0, table.num_rows - 1, min(table.num_rows, MOST_ROWS)).astype(np.int64)
    frame = features_frame(table.take(pa.array(rows)), feature_names(model))
    report = _examine(workspace, request, model, frame)
    folder_of(workspace, request).put_json(DEPENDENCIES, report.to_dict())


def _examine(workspace: Workspace, request: TrainingRequest, model: Model, frame: Any) -> DependencyReport:
    snapshot = snapshot_of(workspace, request)
    return examine_window(
        workspace, model, request.key, snapshot.window_start, request.as_of, frame,
        columns=snapshot.columns, versions=snapshot.sources,
    )  # fmt: skip


def _left(workspace: Workspace, request: TrainingRequest) -> DependencyReport | None:
    content = folder_of(workspace, request).get(DEPENDENCIES)
    return DependencyReport.from_dict(json.loads(content)) if content else None


def complete(
    workspace: Workspace, request: TrainingRequest, data: TrainingSet, candidate: Candidate,
    importance: Mapping[str, float],
) -> DependencyReport | None:  # fmt: skip
    """The report of a training, with what could go, where the spec asks for that; None where there is no report.

    A segment's is the pooled model's, and is kept with that; of one that stands alone nobody asks at each training what
    could go.

    Args:
        workspace: the installation.
        request: the training.
        data: its rows.
        candidate: that was fitted.
        importance: by column, what is lost when it is shuffled.
    """
    spec = data.model.spec
    if spec.has_whole and not request.key.is_pool:
        return None
    report = _left(workspace, request)
    if report is None or not spec.dependencies.necessity or not request.key.is_pool:
        return report
    needs = find_necessity(data.model, candidate, data.frame, data.label, data.split, report.ties, importance)
    return report.with_more(needs, None)


def examine_window(
    workspace: Workspace, model: Model, key: ModelKey, start: datetime, as_of: datetime, frame: Any, *,
    columns: tuple[tuple[str, str], ...], versions: Any,
) -> DependencyReport:  # fmt: skip
    """What a window's data were like, as of its end.

    Args:
        workspace: the installation.
        model: whose.
        key: of the whole or pooled model.
        start: of the window.
        as_of: its end.
        frame: (n_rows, n_features) that were learnt from.
        columns: name and type of those of the training set.
        versions: of the tables that it was read from.
    """
    settings, spec = workspace.settings, model.spec
    calendar = list_calendar(model, start, as_of)
    landed = {table: schema.names for table in spec.table_names
              if (schema := Table(settings, spec.name, table).schema()) is not None}  # fmt: skip
    earlier = list(_read_champions(workspace, key, as_of))
    sources = tuple(
        read_reliability(settings, model, table, calendar,
                         read_failures(settings, spec.name, table, [one.key for one in calendar]))
        for table in spec.table_names if not spec.table(table).is_static
    )  # fmt: skip
    return DependencyReport(
        start=start, as_of=as_of, sources=sources,
        changes=_find_changes(settings, model, calendar, as_of, versions),
        schema=compare_schemas(_snapshot_columns(workspace, earlier), columns),
        ties=find_ties(frame),
        unused=find_unused(model, landed, [(one.number, one.lineage.features) for one in earlier]),
    )  # fmt: skip


def _find_changes(
    settings: Settings, model: Model, calendar: Sequence[Partition], as_of: datetime, versions: Any
) -> tuple[Change, ...]:
    """Of the tables with a history; a label that may still come is not missing."""
    spec, label = model.spec, model.spec.label
    read = {column for columns in trace_features(model).values() for column in columns} | needed_columns(model)
    young = as_of - max(label.lateness, label.delay)
    outcomes = {label.column, label.available_time, *label.outcomes}
    found: list[Change] = []
    for name in spec.table_names:
        event_time, table = spec.table(name).event_time, Table(settings, spec.name, name)
        if event_time is None or name not in versions:
            continue
        rows = read_evenly(table, [one.key for one in calendar], versions[name])
        old = {one.key for one in calendar if one.end <= young}
        if name == spec.name:
            rows = hide_outcomes(rows, model, as_of - timedelta(microseconds=1))
        columns = []
        for column in profile_periods(rows, event_time, spec.zone):
            if name == spec.name and column.name in outcomes:
                column = column.until(max((key[:10] for key in old), default=""))
            columns.append(column)
        found += [replace(one, is_read=(name, one.column) in read) for one in find_changes(name, columns)]
    return tuple(sorted(found, key=lambda change: (change.day, change.table, change.column)))


def read_evenly(table: Table, keys: Sequence[str], version: int) -> pa.Table:
    """Every so many of the rows of some partitions, so that no more than `MOST_ROWS` or so are kept."""
    counts = table.row_counts(version)
    inside = [key for key in keys if key in counts]
    step = math.ceil(max(1, sum(counts[key] for key in inside)) / MOST_ROWS)
    parts: list[pa.Table] = []
    chunk: list[str] = []
    for number, key in enumerate(inside):
        chunk.append(key)
        if number + 1 == len(inside) or sum(counts[one] for one in chunk) + counts[inside[number + 1]] > _HELD_ROWS:
            rows = table.read(chunk, version)
            parts.append(rows if step == 1 else rows.take(pa.array(np.arange(0, rows.num_rows, step))))
            chunk = []
    if not parts:
        return table.read([""], version)
    return pa.concat_tables(parts, promote_options="default")


def read_report(version: Version, settings: Settings) -> DependencyReport:
    """The report that a version of a whole or pooled model keeps, or of a segment that stands alone.

    Raises:
        VersionNotFoundError: it keeps none: it is of another segment, or was registered before there were any.
    """
    return DependencyReport.from_dict(json.loads(read_artifact(version, DEPENDENCIES, settings)))


def find_version(workspace: Workspace, key: ModelKey, number: int | None) -> Version:
    """A version by its number; without one the champion, or else the newest that was judged.

    Raises:
        VersionNotFoundError: there is none.
    """
    settings = workspace.settings
    if number is None:
        state = ledger.read_aliases(key, settings).get(CHAMPION)
        judged = [row.version for row in ledger.history(key, settings) if row.kind == "verdict" and row.version]
        number = state.version if state else max(judged, default=None)
    if number is None:
        message = f"{key}: no version has been trained yet; train one: ./ratchet run {key}"
        raise VersionNotFoundError(message)
    return get_version(key, number, settings)


def read_necessity(
    workspace: Workspace, model: Model, version: Version, report: DependencyReport,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Necessity:  # fmt: skip
    """Fit a version's candidate again without one group of features after the other, on its own training set.

    Args:
        workspace: the installation.
        model: whose.
        version: of it.
        report: that it keeps, for the ties.
        progress: hears how many groups are done.

    Raises:
        FileNotFoundError: the training set is gone.
    """
    lineage, settings = version.lineage, workspace.settings
    table = part_of(load_snapshot(version.key.pool, lineage.snapshot, settings).read(), model.spec, version.key)
    split = split_rows(table, model.spec, lineage.as_of)
    names = [name for name in feature_names(model) if name in lineage.features]
    importance = json.loads(read_artifact(version, "importance.json", settings))
    return find_necessity(
        model, Candidate(lineage.candidate, lineage.params), features_frame(table, names),
        label_array(table, model.spec), split, report.ties, importance, progress,
    )  # fmt: skip


def _read_champions(workspace: Workspace, key: ModelKey, as_of: datetime) -> Iterator[Version]:
    """The last champions that knew less, the newest first."""
    promoted = [row.version for row in reversed(ledger.history(key, workspace.settings))
                if row.kind == "promotion" and row.version and row.as_of and row.as_of < as_of]  # fmt: skip
    for number in list(dict.fromkeys(promoted))[:_CHAMPIONS]:
        try:
            yield get_version(key, number, workspace.settings)
        except VersionNotFoundError:  # somebody removed it from the registry
            continue


def _snapshot_columns(workspace: Workspace, earlier: Sequence[Version]) -> tuple[tuple[str, str], ...] | None:
    if not earlier:
        return None
    try:
        return load_snapshot(earlier[0].key.pool, earlier[0].lineage.snapshot, workspace.settings).columns
    except FileNotFoundError:
        return None
