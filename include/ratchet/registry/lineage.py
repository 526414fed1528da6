"""What made a version: enough to make it again."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from include.ratchet.settings import PROJECT
from include.ratchet.spec import Model, ModelKey


@dataclass(frozen=True)
class Lineage:
    """Everything that decides a version's bits.

    Attributes:
        key: of the model.
        as_of: what it knew.
        window_start: where its window begins; None: at the history's.
        snapshot: id of its training set.
        source_versions: table versions that the snapshot was read from.
        features: columns in order.
        candidate: kind of estimator.
        params: its hyperparameters.
        search: the study, its strategy and number of trials.
        seed: of everything random.
        spec_hash: of the spec's meaning.
        code_hash: of the model's own Python files and of the engine's that decide results.
        lock_hash: of requirements.txt.
        git_commit: of the project; `unknown` outside a checkout.
        is_dirty: whether the checkout differed from that commit.
        python: version of the interpreter.
        base: version that it learned on from; None: it was fitted anew.
        kernels: that matrix products were computed with; empty in versions that did not say.
    """

    key: ModelKey
    as_of: datetime
    window_start: datetime | None
    snapshot: str
    source_versions: Mapping[str, int]
    features: tuple[str, ...]
    candidate: str
    params: Mapping[str, Any]
    search: Mapping[str, Any]
    seed: int
    spec_hash: str
    code_hash: str
    lock_hash: str
    git_commit: str
    is_dirty: bool
    python: str
    base: int | None = None
    kernels: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            **asdict(self),
            "key": list(self.key),
            "as_of": self.as_of.isoformat(),
            "window_start": self.window_start.isoformat() if self.window_start else None,
            "params": dict(self.params),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Lineage:
        """The lineage back from its JSON form."""
        start = content["window_start"]
        return cls(**{
            **content,
            "key": ModelKey(*content["key"]),
            "as_of": datetime.fromisoformat(content["as_of"]),
            "window_start": datetime.fromisoformat(start) if start else None,
            "features": tuple(content["features"]),
        })  # fmt: skip

    @property
    def fingerprint(self) -> str:
        """The same for two trainings that must give the same version: data, code, lock, spec and seed agree."""
        decisive = (self.key, self.as_of.isoformat(), self.snapshot, self.spec_hash, self.code_hash, self.lock_hash,
                    self.seed, self.search.get("strategy"), self.search.get("trials"),
                    *(() if self.base is None else (self.base,)))  # fmt: skip
        return hashlib.sha256(json.dumps(decisive, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Environment:
    """What decides a version's bits beside its data and spec, as it is in this process."""

    git_commit: str
    is_dirty: bool
    code_hash: str
    lock_hash: str
    python: str
    kernels: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def read_environment(model: Model, environ: Mapping[str, str]) -> Environment:
    """The environment now; half a second, so that many keys are better told it than let read it."""
    commit, is_dirty = read_commit(environ)
    return Environment(commit, is_dirty, hash_code(model), hash_lock(), python_version(), read_kernels())


def hash_lock(project: Path = PROJECT) -> str:
    """SHA-256 of the lock that the environment was made from."""
    return hashlib.sha256((project / "requirements.txt").read_bytes()).hexdigest()


_DECISIVE = ("spec", "data", "features", "training")
"""Packages of the engine that decide what a version's bits are; the others only judge and report."""


def hash_code(model: Model) -> str:
    """SHA-256 over the model's own Python files and the engine's decisive ones, by name and content."""
    engine = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for root, folders in ((model.folder, ("",)), (engine, _DECISIVE)):
        for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def read_commit(environ: Mapping[str, str], project: Path = PROJECT) -> tuple[str, bool]:
    """Commit of the checkout and whether it has changes; images without git say it in RATCHET_GIT_COMMIT."""
    if "RATCHET_GIT_COMMIT" in environ:
        return environ["RATCHET_GIT_COMMIT"], False
    try:
        commit = _git(project, "rev-parse", "HEAD").strip()
        return commit, bool(_git(project, "status", "--porcelain").strip())
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True


def python_version() -> str:
    """Of this interpreter."""
    return platform.python_version()


@functools.cache
def read_kernels() -> str:
    """That this process computes matrix products with, such as `openblas Haswell`; others round otherwise.

    A BLAS chooses them by the processor, or as a variable such as OPENBLAS_CORETYPE says.
    """
    import numpy  # noqa: F401 - brings the library that is looked for
    from threadpoolctl import threadpool_info

    found = {f"{one['internal_api']} {one['architecture']}" for one in threadpool_info() if "architecture" in one}
    return ", ".join(sorted(found))


def _git(project: Path, *words: str) -> str:
    line = ["git", "-c", f"safe.directory={project}", "-C", str(project), *words]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout  # noqa: S603
