"""Dynamic models: learning on from the champion between fits from nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.errors import TooFewRowsError
from include.ratchet.features import feature_names
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import CHAMPION
from include.ratchet.registry.versions import Version, get_version, load_estimator
from include.ratchet.spec import Model, ModelKey
from include.ratchet.training.fit import Candidate, fit_candidate, update_estimator
from include.ratchet.training.frames import times
from include.ratchet.training.split import Rows, Split

if TYPE_CHECKING:
    import pandas as pd


def choose_base(workspace: Workspace, request: TrainingRequest) -> TrainingRequest:
    """The request, as an update of the champion if the spec wants updates and none of this speaks for a whole fit.

    That is: somebody asked for the training, there is no champion, its features or candidates are no longer the
    spec's, it knows as much already, or the last fit from nothing is too long ago.
    """
    model = workspace.model(request.key.model)
    updates = model.spec.training.updates
    champion = ledger.read_aliases(request.key, workspace.settings).get(CHAMPION)
    if updates is None or champion is None or request.answers or request.force:
        return request
    base = get_version(request.key, champion.version, workspace.settings)
    lineage = base.lineage
    is_same = lineage.features == tuple(feature_names(model)) and lineage.candidate in model.spec.training.candidates
    if not is_same or base.as_of >= request.as_of:
        return request
    whole = _last_whole(workspace, base)
    if request.as_of - whole.as_of >= updates.full_every:
        return request
    return replace(request, base=base.number)


def base_candidate(workspace: Workspace, key: ModelKey, base: int) -> Candidate:
    """What an updated version is: the candidate that it learned on from."""
    lineage = get_version(key, base, workspace.settings).lineage
    return Candidate(lineage.candidate, lineage.params)


def learn(
    workspace: Workspace, key: ModelKey, base: int | None, candidate: Candidate, table: pa.Table,
    frame: pd.DataFrame, label: npt.NDArray[Any], split: Split,
) -> Any:  # fmt: skip
    """The fitted estimator of a training: anew on all rows before the test, or the base's on those that are new to it.

    Args:
        workspace: the installation.
        key: of the model.
        base: version to learn on from, if one.
        candidate: what to fit anew.
        table: the snapshot, with its event times.
        frame: (n_rows, n_features) of it.
        label: (n_rows,).
        split: of its rows.

    Raises:
        TooFewRowsError: no row is new to the base.
    """
    model = workspace.model(key.model)
    if base is None:
        rows = split.development
        return fit_candidate(model, candidate, frame.iloc[rows], label[rows])
    version = get_version(key, base, workspace.settings)
    rows = _new_rows(model, version, table, split)
    if not len(rows):
        message = f"{version}: no row before the test is new to it; ingest more, or force a fit from nothing"
        raise TooFewRowsError(message)
    estimator = load_estimator(model, version, workspace.settings)
    return update_estimator(model, estimator, frame.iloc[rows], label[rows])


def _new_rows(model: Model, base: Version, table: pa.Table, split: Split) -> Rows:
    """Rows before the test that were in the base's test, or had no label then."""
    learned = np.datetime64((base.as_of - model.spec.training.split.test).replace(tzinfo=None), "us")
    event = times(table, model.spec.event_time)[split.development]
    return split.development[event >= learned]


def _last_whole(workspace: Workspace, version: Version) -> Version:
    """The fit from nothing that a version goes back to."""
    while version.lineage.base is not None:
        version = get_version(version.key, version.lineage.base, workspace.settings)
    return version
