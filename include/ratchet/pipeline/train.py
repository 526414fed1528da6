"""Training: from a request to a judged candidate and, where all gates agree, a new champion.

    plan -> snapshot -> validate -> plan trials -> run trials (many) -> fit -> evaluate -> register -> decide -> promote

Each step takes the request and finds what earlier steps left in the run's folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import pyarrow as pa

from include.ratchet.data.snapshots import Snapshot, build_snapshot, load_snapshot
from include.ratchet.data.tables import Table
from include.ratchet.features import Inputs, feature_names, feature_query, read_versions, training_rows
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.updates import base_candidate
from include.ratchet.pipeline.workspace import RunFolder, Workspace
from include.ratchet.registry.lineage import Environment, Lineage, read_environment
from include.ratchet.registry.versions import Version, find_by_fingerprint
from include.ratchet.spec import Model, partition_of
from include.ratchet.training.fit import Candidate
from include.ratchet.training.frames import features_frame, label_array
from include.ratchet.training.search import Progress, SearchPlan, SearchResult, conclude, plan_search, run_batch
from include.ratchet.training.split import Split, split_rows
from include.ratchet.validation import ValidationReport, validate_snapshot

if TYPE_CHECKING:
    import pandas as pd

SNAPSHOT, VALIDATION, SEARCH, TRIALS = "snapshot.json", "validation.json", "search.json", "trials.json"
TWIN = "twin.json"
"""Left where the pooled model was trained on the same before; its segments look for themselves."""
ENVIRONMENT = "environment.json"
"""Left where many keys are trained in one process, so that each need not look for itself."""


@dataclass(frozen=True)
class TrainingSet:
    """A training's rows as its steps take them; steps in one process hand it on, so that nothing is made twice.

    Attributes:
        model: whose.
        table: the snapshot's rows.
        split: of them.
    """

    model: Model
    table: pa.Table
    split: Split

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The features, (n_rows, n_features)."""
        return features_frame(self.table, feature_names(self.model))

    @cached_property
    def label(self) -> npt.NDArray[Any]:
        """(n_rows,)."""
        return label_array(self.table, self.model.spec)

    @cached_property
    def test_table(self) -> pa.Table:
        """The test rows."""
        return self.table.take(pa.array(self.split.test))

    @cached_property
    def test_frame(self) -> pd.DataFrame:
        """The test rows' features, (n_test, n_features)."""
        return features_frame(self.test_table, feature_names(self.model))


def find_absence(workspace: Workspace, request: TrainingRequest) -> str | None:
    """Why there is nothing to train on, if that is so: no rows have landed where the newest are expected.

    A schedule goes on when its data does not; a run of a date without data says so and ends.
    """
    spec = workspace.model(request.key.model).spec
    start = request.window_start(spec)
    if spec.training.split.by == "time":
        start = max(start, request.as_of - spec.training.split.test)
    first = partition_of(spec, start).key
    last = partition_of(spec, request.as_of - timedelta(microseconds=1)).key
    counts = Table(workspace.settings, spec.name, spec.name).row_counts()
    if any(first <= key <= last and rows for key, rows in counts.items()):
        return None
    landed = f"the newest is {max(counts)}" if counts else "none has landed yet"
    return f"no data of {spec.name} between {first} and {last}: {landed}"


def take_snapshot(workspace: Workspace, request: TrainingRequest) -> Snapshot:
    """Build the training set, and note in the training's folder which one it is.

    Raises:
        TooFewRowsError: nothing was ingested for the window.
        RowCountError: a join lost or multiplied rows.
    """
    snapshot = build_set(workspace, request)
    folder_of(workspace, request).put_json(SNAPSHOT, snapshot.to_dict())
    return snapshot


def build_set(workspace: Workspace, request: TrainingRequest) -> Snapshot:
    """The training set, built or found, if the same data gave it before."""
    model, settings = workspace.model(request.key.model), workspace.settings
    known = read_versions(settings, model)
    start = request.window_start(model.spec)
    inputs = Inputs.open(settings, model, known, as_of=request.as_of)
    return build_snapshot(
        request.key.pool,
        as_of=request.as_of,
        window_start=start,
        query=feature_query(model),
        versions=known,
        compute=lambda: training_rows(
            model, request.key.pool, inputs, as_of=request.as_of, window_start=start, settings=settings
        ),
        settings=settings,
    )


def find_twin(workspace: Workspace, request: TrainingRequest) -> Version | None:
    """The version that the same data, code, lock, spec and seed gave before, unless training is forced."""
    if request.force:
        return None
    return find_by_fingerprint(request.key, find_fingerprint(workspace, request), workspace.settings)


def find_fingerprint(workspace: Workspace, request: TrainingRequest) -> str:
    """The fingerprint that the version of a training is going to have."""
    model = workspace.model(request.key.model)
    search = model.spec.training.search
    plan = SearchPlan("", request.strategy or search.strategy, (request.trials or search.trials,), 0.0)
    return _lineage(workspace, model, request, plan, Candidate("", {})).fingerprint


def validate(
    workspace: Workspace, request: TrainingRequest, tell: Callable[[ValidationReport], None] = lambda report: None
) -> ValidationReport:
    """Hold the snapshot against its expectations; `tell` hears of the report before it raises.

    Raises:
        ValidationFailedError: one of severity `fail` did not hold.
    """
    model = workspace.model(request.key.model)
    report = validate_snapshot(
        model, snapshot_of(workspace, request), settings=workspace.settings, run_id=request.training_id
    )
    folder_of(workspace, request).put_json(VALIDATION, {**report.to_dict(), "passed": report.passed})
    tell(report)
    report.raise_for_failures()
    return report


def plan_trials(workspace: Workspace, request: TrainingRequest, workers: int) -> SearchPlan:
    """Make the study and say how many tasks it is worth cutting into.

    Raises:
        TooFewRowsError: a part of the split is empty or has one class only.
    """
    data = load_set(workspace, request)
    model = data.model
    if request.base is not None:
        # Nothing is searched: the candidate is the one that learns on.
        plan = SearchPlan(request.study, model.spec.training.search.strategy, (0,), 0.0)
        folder_of(workspace, request).put_json(SEARCH, plan.to_dict())
        return plan
    plan = plan_search(
        model, request.study, data.table, data.split, list(feature_names(model)), workspace.settings,
        strategy=request.strategy, trials=request.trials, workers=workers,
    )  # fmt: skip
    folder_of(workspace, request).put_json(SEARCH, plan.to_dict())
    return plan


def run_trials(
    workspace: Workspace, request: TrainingRequest, batch: int, progress: Progress = lambda done, total: None
) -> int:
    """Run the missing trials of one batch; returns how many."""
    if request.base is not None:
        return 0
    data, plan = load_set(workspace, request), search_plan(workspace, request)
    features = list(feature_names(data.model))
    return run_batch(data.model, plan, batch, data.table, data.split, features, workspace.settings, progress)


def conclude_search(workspace: Workspace, request: TrainingRequest) -> SearchResult:
    """The best trial.

    Raises:
        SearchError: none succeeded.
    """
    model = workspace.model(request.key.model)
    if request.base is not None:
        result = SearchResult(base_candidate(workspace, request.key, request.base), None, ())
    else:
        result = conclude(model, search_plan(workspace, request), workspace.settings)
    folder_of(workspace, request).put_json(TRIALS, result.to_dict())
    return result


def lineage_of(workspace: Workspace, request: TrainingRequest, candidate: Candidate) -> Lineage:
    """What the version of this training is made of."""
    model = workspace.model(request.key.model)
    return _lineage(workspace, model, request, search_plan(workspace, request), candidate)


def load_set(workspace: Workspace, request: TrainingRequest) -> TrainingSet:
    """The model, the snapshot's rows and their split."""
    model = workspace.model(request.key.model)
    # Checked against its hash once, by `validate`; a hash a trial would cost more than it tells.
    table = snapshot_of(workspace, request).read(verify=False) if workspace.part is None else workspace.part
    return TrainingSet(model, table, split_rows(table, model.spec, request.as_of))


def snapshot_of(workspace: Workspace, request: TrainingRequest) -> Snapshot:
    """The snapshot that this training took."""
    known = folder_of(workspace, request).need_json(SNAPSHOT)
    return load_snapshot(request.key.pool, known["id"], workspace.settings)


def search_plan(workspace: Workspace, request: TrainingRequest) -> SearchPlan:
    """The plan that this training made."""
    return SearchPlan.from_dict(folder_of(workspace, request).need_json(SEARCH))


def folder_of(workspace: Workspace, request: TrainingRequest) -> RunFolder:
    """Where this training keeps its results."""
    return workspace.folder(request.key, request.training_id)


def _lineage(workspace: Workspace, model: Model, request: TrainingRequest, plan: SearchPlan,
             candidate: Candidate) -> Lineage:  # fmt: skip
    snapshot, folder = snapshot_of(workspace, request), folder_of(workspace, request)
    known = Environment(**folder.need_json(ENVIRONMENT)) if folder.get(ENVIRONMENT) else None
    return Lineage(
        key=request.key,
        as_of=request.as_of,
        window_start=snapshot.window_start,
        snapshot=snapshot.id,
        source_versions=snapshot.sources,
        features=tuple(feature_names(model)),
        candidate=candidate.name,
        params=candidate.params,
        search={"strategy": plan.strategy, "trials": plan.trials, "study": plan.study},
        seed=model.spec.training.seed,
        spec_hash=model.spec.hash,
        base=request.base,
        **asdict(known or read_environment(model, os.environ)),
    )
