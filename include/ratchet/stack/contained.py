"""`python -m include.ratchet.stack.contained STEP`: a step of a training by itself, without network.

What it needs lies in its home folder as files, as on a laptop: the model's room, the snapshot, what earlier steps left,
and the study in a SQLite file. What it leaves there goes back. `pack` and `unpack` are the worker's side of it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from include.ratchet import errors
from include.ratchet.data.blobs import Blobs, open_blobs
from include.ratchet.data.connections import MappedConnections
from include.ratchet.pipeline import judge, train
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.settings import read_settings

REQUEST, RESULT, STUDY, RUNS = "request.json", "result.json", "ratchet.db", "store/runs"
STEPS = {
    "plan_trials": lambda workspace, request: list(range(len(train.plan_trials(workspace, request, 1).quotas))),
    "run_trials": lambda workspace, request: train.run_trials(workspace, request, 0),
    "fit": judge.fit,
}
"""A search is one batch: its container has as many processors as the spec says."""
_KERNELS = (
    "BLIS_ARCH_TYPE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES",
    "OPENBLAS_CORETYPE",
)  # fmt: skip
"""What chooses the numeric kernels where the processor does not, and so the last bits of a fit."""


def environment(home: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What a step finds in its environment: its home, and the kernels of the worker whose environment is given."""
    chosen = {name: environ[name] for name in _KERNELS if name in environ}
    return {**chosen, "RATCHET_HOME": home, "RATCHET_MODELS_DIR": f"{home}/models"}


def pack(workspace: Workspace, request: TrainingRequest) -> dict[str, bytes]:
    """What a step needs, by its path in the container's home."""
    blobs, model = open_blobs(workspace.settings), workspace.model(request.key.model)
    snapshot = train.snapshot_of(workspace, request)
    inner = f"snapshots/{snapshot.key.slug}/{snapshot.id}"
    paths = [
        *_paths(blobs, train.folder_of(workspace, request).path),
        *(f"{inner}/{name}" for name in blobs.names(inner)),
    ]
    files = {f"store/{path}": content for path in paths if (content := blobs.get(path)) is not None}
    files |= {
        f"models/{model.name}/{path.relative_to(model.folder)}": path.read_bytes()
        for path in sorted(model.folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    study = _export(workspace, request)
    return {**files, REQUEST: json.dumps(request.to_dict()).encode(), **({STUDY: study} if study else {})}


def unpack(workspace: Workspace, request: TrainingRequest, files: Mapping[str, bytes]) -> Any:
    """Take back what a step has left, and what it returned.

    Raises:
        RatchetError: what the step raised.
    """
    result = json.loads(files[RESULT])
    if error := result.get("error"):
        known = getattr(errors, error["type"], None)
        if isinstance(known, type) and issubclass(known, errors.RatchetError):
            raise known(error["message"])
        message = f"{error['type']}: {error['message']}"
        raise RuntimeError(message)
    blobs = open_blobs(workspace.settings)
    for path, content in files.items():
        if path.startswith(f"{RUNS}/"):
            blobs.put(path.removeprefix("store/"), content)
    if STUDY in files:
        _import(workspace, request, files[STUDY])
    return result["value"]


def main(step: str) -> None:
    """Run a step here, and leave its result or its error."""
    settings = read_settings(os.environ)
    request = TrainingRequest.from_dict(json.loads((settings.home / REQUEST).read_bytes()))
    workspace = Workspace(settings, MappedConnections({}), lambda: datetime.now(UTC))
    try:
        result = {"value": STEPS[step](workspace, request)}
    except Exception as error:  # it goes back as it is: the worker decides whether it is worth another try
        traceback.print_exc()
        result = {"error": {"type": type(error).__name__, "message": str(error)}}
    (settings.home / RESULT).write_text(json.dumps(result, default=str))


def _paths(blobs: Blobs, folder: str) -> list[str]:
    """Every file below a folder."""
    found = []
    for name in blobs.names(folder):
        inner = _paths(blobs, f"{folder}/{name}")
        found += inner or [f"{folder}/{name}"]
    return found


def _export(workspace: Workspace, request: TrainingRequest) -> bytes | None:
    """The study as a SQLite file; None before there is one."""
    import optuna

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / STUDY
        try:
            optuna.copy_study(
                from_study_name=request.study, from_storage=workspace.settings.database_url,
                to_storage=f"sqlite:///{path}",
            )  # fmt: skip
        except KeyError:
            return None
        return path.read_bytes()


def _import(workspace: Workspace, request: TrainingRequest, content: bytes) -> None:
    """Put the study in the place of what was sent."""
    import optuna

    url = workspace.settings.database_url
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / STUDY
        path.write_bytes(content)
        known = {study.study_name for study in optuna.get_all_study_summaries(url, include_best_trial=False)}
        if request.study in known:
            optuna.delete_study(study_name=request.study, storage=url)
        optuna.copy_study(from_study_name=request.study, from_storage=f"sqlite:///{path}", to_storage=url)


if __name__ == "__main__":
    main(sys.argv[1])
