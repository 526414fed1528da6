"""Planning a fleet's training: which segments, against which pooled version, in which batches, on which rows."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from include.ratchet.data.segments import Parts
from include.ratchet.errors import SpecError, ValidationFailedError
from include.ratchet.features import feature_names
from include.ratchet.pipeline.dependencies import examine_for_segments
from include.ratchet.pipeline.fleet.batches import Costs, cut
from include.ratchet.pipeline.fleet.lifecycle import follow_segments
from include.ratchet.pipeline.handover import is_wanted
from include.ratchet.pipeline.judge import VERDICT, registered
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.rivals import read_champion
from include.ratchet.pipeline.train import VALIDATION, folder_of, snapshot_of
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.spec import WHOLE, Model, ModelSpec
from include.ratchet.training.frames import times
from include.ratchet.training.search import time_trial

FLEET, COSTS = "fleet.json", "costs.json"
_FITS = 2
"""Of a key beside its search's: the final one, and the same again."""
_LEARNT = "costs"
"""Stands in a training id's place where a model keeps what its trainings took."""


@dataclass(frozen=True)
class FleetPlan:
    """What a fleet's training is to do.

    Attributes:
        batches: segments by task.
        rows: of each segment that is trained.
        pooled: rows of each that has too few.
        retired: segments without rows for long.
        pool: version of the pooled model that their candidates must beat; None if there is none.
    """

    batches: tuple[tuple[str, ...], ...]
    rows: Mapping[str, int]
    pooled: Mapping[str, int]
    retired: tuple[str, ...]
    pool: int | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FleetPlan:
        """The plan back from its JSON form."""
        batches = tuple(tuple(batch) for batch in content["batches"])
        return cls(**{**content, "batches": batches, "retired": tuple(content["retired"])})


def plan_fleet(workspace: Workspace, request: TrainingRequest, workers: int) -> FleetPlan:
    """Cut the run's segments into batches, and leave each batch its rows.

    Planning twice gives the same plan.

    Args:
        workspace: the installation.
        request: of the whole training.
        workers: tasks that run at a time.

    Raises:
        ValidationFailedError: the snapshot has not passed its validation.
    """
    folder, model = folder_of(workspace, request), workspace.model(request.key.model)
    segments = model.spec.segments
    if segments is None:
        message = f"{model.name}: the spec has no `segments`, so there is no fleet to train"
        raise SpecError(message)
    if folder.get(FLEET) is not None:
        return read_plan(workspace, request)
    if not (folder.get(VALIDATION) and folder.need_json(VALIDATION)["passed"]):
        message = f"{model.name}: the snapshot of {request.training_id} has not passed its validation; see `prepare`"
        raise ValidationFailedError(message)
    table = snapshot_of(workspace, request).read(verify=False)
    examine_for_segments(workspace, request, table)
    parts = Parts(table, segments.by)
    present = _present(table, parts.names, model.spec)
    retired = follow_segments(workspace, request, present)
    wanted = {
        segment: rows for segment, (rows, _) in present.items() if segment not in retired and request.wants(segment)
    }
    wanted |= {segment: 0 for segment in request.segments or () if segment not in present and segment != WHOLE}
    enough = {segment: rows for segment, rows in wanted.items() if rows >= segments.min_rows}
    costs = read_costs(workspace, model) or _foresee(model, parts, enough, request)
    plan = FleetPlan(
        cut(enough, costs, workers) if enough else (), enough,
        {segment: rows for segment, rows in wanted.items() if segment not in enough}, tuple(sorted(retired)),
        _find_pool(workspace, request, model.spec),
    )  # fmt: skip
    for number, batch in enumerate(plan.batches):
        buffer = io.BytesIO()
        pq.write_table(parts.of(*batch), buffer, compression="zstd", compression_level=1)
        folder.put(batch_name(number), buffer.getvalue())
    folder.put_json(FLEET, plan.to_dict())
    return plan


def read_plan(workspace: Workspace, request: TrainingRequest) -> FleetPlan:
    """The plan that this training made."""
    return FleetPlan.from_dict(folder_of(workspace, request).need_json(FLEET))


def batch_name(number: int) -> str:
    """Where the rows of a batch lie in the run's folder."""
    return f"batches/{number}.parquet"


def read_costs(workspace: Workspace, model: Model) -> Costs | None:
    """What a key took in the last training, if it was of the same spec."""
    folder = workspace.folder(model.key, _LEARNT)
    known = folder.need_json(COSTS) if folder.get(COSTS) else {}
    return Costs(**known["costs"]) if known.get("spec") == model.spec.hash else None


def keep_costs(workspace: Workspace, model: Model, costs: Costs) -> None:
    """Remember what a key took, for the next training."""
    workspace.folder(model.key, _LEARNT).put_json(COSTS, {"spec": model.spec.hash, "costs": costs.to_dict()})


def _present(table: pa.Table, names: pa.DictionaryArray, spec: ModelSpec) -> dict[str, tuple[int, datetime]]:
    """Rows and newest event of each segment; those without a value are the pooled model's."""
    segments = names.dictionary.to_pylist()
    codes: npt.NDArray[np.int32] = names.indices.to_numpy(zero_copy_only=False)
    counts = np.bincount(codes, minlength=len(segments))
    newest = np.full(len(segments), np.iinfo(np.int64).min)
    np.maximum.at(newest, codes, times(table, spec.event_time).astype(np.int64))
    return {
        segment: (int(counts[code]), datetime.fromtimestamp(int(newest[code]) / 1e6, UTC))
        for code, segment in enumerate(segments) if segment != WHOLE
    }  # fmt: skip


def _foresee(model: Model, parts: Parts, rows: Mapping[str, int], request: TrainingRequest) -> Costs:
    """What a key will take, from fits of each candidate on the rows of a middling one."""
    if not rows:
        return Costs(1.0, 0.0)
    middling = sorted(rows, key=lambda one: (rows[one], one))[len(rows) // 2]
    part = parts.of(middling)
    fit_s = time_trial(model, part, np.arange(part.num_rows), list(feature_names(model)))
    fits = (request.trials or model.spec.training.search.trials) + _FITS
    return Costs(0.5, fits * fit_s / part.num_rows)


def _find_pool(workspace: Workspace, request: TrainingRequest, spec: ModelSpec) -> int | None:
    """The pooled version that candidates are judged against: the champion, or the one that is to move with them."""
    if not spec.has_whole:
        return None
    champion = read_champion(workspace, request.key.pool)
    number = champion.version if champion else None
    folder = folder_of(workspace, request)
    moves = spec.waits_for_all and folder.get(VERDICT) and folder.need_json(VERDICT)["outcome"] == "promote"
    if moves and not is_wanted(spec.rollout, number):
        return registered(workspace, request).number
    return number
