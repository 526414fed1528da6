"""What is kept with a version so that people can trust it, or not: what explains it, and people's part in its data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.records import FEATURE, RecordTable
from include.ratchet.evaluation.parity import group_texts
from include.ratchet.evaluation.sources import SOURCES, Finding, Served, find_sources
from include.ratchet.explanations.explainer import Explainer
from include.ratchet.explanations.overview import BACKGROUND_ROWS, OVERVIEW, Overview, sample_evenly, survey
from include.ratchet.features import feature_names
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.train import TrainingSet
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.example import BACKGROUND, dump_example
from include.ratchet.rollout.labels import read_outcomes
from include.ratchet.training.fit import predict, steady
from include.ratchet.training.frames import class_codes

_LATELY = timedelta(days=28)
_MOST_ROWS = 50_000


@dataclass(frozen=True)
class Trust:
    """What explains a version, and what is known of people's part in its data.

    Attributes:
        background: rows that its predictions are explained against, as a file.
        overview: what it leans on; None of a segment's.
        sources: the checklist; empty of a segment's.
    """

    background: bytes = field(repr=False)
    overview: Overview | None = None
    sources: tuple[Finding, ...] = ()

    def files(self) -> dict[str, bytes]:
        """What is kept with the version, by path."""
        found = {BACKGROUND: self.background}
        if self.overview is not None:
            found[OVERVIEW] = json.dumps(self.overview.to_dict()).encode()
        if self.sources:
            found[SOURCES] = json.dumps([one.to_dict() for one in self.sources]).encode()
        return found


def look_into(
    workspace: Workspace, request: TrainingRequest, data: TrainingSet, estimator: Any, importance: Mapping[str, float]
) -> Trust:
    """Look into a candidate and its rows.

    Of a segment's only the background is kept: thousands of them are not looked into one by one.

    Args:
        workspace: the installation.
        request: the training.
        data: its rows.
        estimator: the candidate, as its bytes load.
        importance: by column, what is lost when it is shuffled.
    """
    model, learnt = data.model, data.split.development
    background = sample_evenly(data.frame.iloc[learnt], BACKGROUND_ROWS)
    with steady(model):
        content = dump_example(background, predict(estimator, background, model.spec.task), len(background))
        if not request.key.is_pool:
            return Trust(content)
        explainer = Explainer(estimator, background, model.spec.task, model.spec.training.seed)
        overview = survey(model.spec, explainer, data.test_frame, len(background), importance)
    # Evenly: the newest rows are where they are the most like those served.
    rows = learnt[np.linspace(0, len(learnt) - 1, min(len(learnt), _MOST_ROWS)).astype(np.int64)]
    _, codes = class_codes(data.label, model.spec.task)
    table = data.table.take(pa.array(rows))
    found = find_sources(model.spec, table, codes[rows], feature_names(model), _read_served(workspace, request))
    return Trust(content, overview, found)


def _read_served(workspace: Workspace, request: TrainingRequest) -> Served | None:
    """Rows that were answered in the four weeks whose labels may take no longer than until now."""
    model, settings = workspace.model(request.key.model), workspace.settings
    spec, until = model.spec, request.as_of - model.spec.label.lateness
    if not spec.evaluation.sensitive:
        return None
    records = RecordTable(settings, model, "requests")
    schema = records.schema()
    if schema is None:
        return None
    wanted = {FEATURE + name: name for name in spec.evaluation.sensitive if FEATURE + name in schema.names}
    unit = ["request_id", "row", "key", "event_time", "received_at", "route"]
    rows = records.between(until - _LATELY, until, [*unit, *wanted])
    rows = rows.filter(pc.not_equal(rows["route"], "shadow"))
    if not rows.num_rows:
        return None
    known, _ = read_outcomes(settings, model, rows, request.as_of).labels.find(rows["key"].combine_chunks())
    groups = {own: group_texts(rows[name].to_pylist()) for name, own in wanted.items()}
    return Served(groups, np.asarray(known))
