"""Making a version again from its lineage, and saying exactly what differs if it does not come out the same."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from include.ratchet.data.hashing import hash_content, settle_table
from include.ratchet.data.segments import part_of
from include.ratchet.errors import RatchetError
from include.ratchet.features import Inputs, training_rows
from include.ratchet.pipeline.updates import learn
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry import lineage as lineages
from include.ratchet.registry.lineage import Lineage
from include.ratchet.registry.versions import Version, get_version, read_artifact
from include.ratchet.spec import Model, ModelKey
from include.ratchet.training.fit import Candidate, predict
from include.ratchet.training.frames import features_frame, label_array
from include.ratchet.training.split import split_rows


@dataclass(frozen=True)
class Reproduction:
    """What came of making a version again.

    Attributes:
        version: such as `flight_delay@3`.
        differences: what stands here and is not what is recorded: lock, code, spec, Python, kernels, data, predictions.
        is_identical: whether the predictions on the test rows are the same to the bit.
        rows: test rows that were compared.
        largest_difference: between a recorded and a new prediction.
    """

    version: str
    differences: tuple[str, ...]
    is_identical: bool
    rows: int
    largest_difference: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def reproduce(workspace: Workspace, key: ModelKey, number: int) -> Reproduction:
    """Rebuild snapshot, features and fit of a version and compare its predictions on the test rows.

    Raises:
        VersionNotFoundError: there is no such version.
    """
    version = get_version(key, number, workspace.settings)
    model = workspace.model(key.model)
    differences = compare_environment(version.lineage, model)
    try:
        scores, found = _make_again(workspace, model, version)
    except (RatchetError, OSError, KeyError, ValueError, TypeError) as error:
        return Reproduction(str(version), (*differences, f"cannot be made again: {error}"), False, 0, float("nan"))
    recorded = np.load(io.BytesIO(read_artifact(version, "test_scores.npy", workspace.settings)), allow_pickle=False)
    differences += found
    if recorded.shape != scores.shape:
        return Reproduction(
            str(version), (*differences, f"predictions: shape {scores.shape}, recorded {recorded.shape}"), False,
            len(scores), float("nan"),
        )  # fmt: skip
    gap = float(np.max(np.abs(recorded - scores))) if len(scores) else 0.0
    same = np.array_equal(recorded, scores)
    if not same:
        differences += (f"predictions: {int((recorded != scores).sum())} of {scores.size} differ, by up to {gap:.3g}",)
    return Reproduction(str(version), differences, same, len(scores), gap)


def _make_again(workspace: Workspace, model: Model, version: Version) -> tuple[Any, tuple[str, ...]]:
    lineage = version.lineage
    manifest = json.loads(read_artifact(version, "snapshot.json", workspace.settings))
    floors = _read_floors(workspace, lineage.key)
    known = {name: max(number, floors.get(name, 0)) for name, number in lineage.source_versions.items()}
    inputs = Inputs.open(workspace.settings, model, known, as_of=lineage.as_of)
    table = settle_table(
        training_rows(
            model, lineage.key.pool, inputs, as_of=lineage.as_of, window_start=lineage.window_start,
            settings=workspace.settings,
        )
    )  # fmt: skip
    content = hash_content(table)
    found = tuple(
        f"table {name}: version {lineage.source_versions[name]} went when a person was erased, read at {number}"
        for name, number in known.items() if number != lineage.source_versions[name]
    )  # fmt: skip
    if content != manifest["content_hash"]:
        found += (f"data: the snapshot now has {table.num_rows} rows and content {content}, recorded are "
                 f"{manifest['rows']} rows and {manifest['content_hash']}",)  # fmt: skip
    table = part_of(table, model.spec, lineage.key)
    split = split_rows(table, model.spec, lineage.as_of)
    frame, label = features_frame(table, lineage.features), label_array(table, model.spec)
    candidate = Candidate(lineage.candidate, lineage.params)
    fitted = learn(workspace, lineage.key, lineage.base, candidate, table, frame, label, split)
    return predict(fitted, frame.iloc[split.test], model.spec.task), found


def _read_floors(workspace: Workspace, key: ModelKey) -> dict[str, int]:
    """The oldest version of each table that erasures have left."""
    floors: dict[str, int] = {}
    for entry in ledger.history(ModelKey(key.model), workspace.settings):
        for name, version in entry.details["floors"].items() if entry.kind == "erasure" else ():
            floors[name] = max(version, floors.get(name, 0))
    return floors


def compare_environment(lineage: Lineage, model: Model) -> tuple[str, ...]:
    """What decides a version's bits and is another here and now than when it was made."""
    now = {
        "lock": (lineages.hash_lock(), lineage.lock_hash),
        "code": (lineages.hash_code(model), lineage.code_hash),
        "spec": (model.spec.hash, lineage.spec_hash),
        "Python": (lineages.python_version(), lineage.python),
        "kernels": (lineages.read_kernels(), lineage.kernels),
    }
    return tuple(f"{name}: {here}, recorded {there}" for name, (here, there) in now.items() if there and here != there)
