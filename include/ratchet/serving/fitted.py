"""Versions as the service holds them: loaded out of the registry, held to their own example before they answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.errors import RegistryUnavailableError, VersionNotFoundError, WarmUpError
from include.ratchet.registry.artifacts import open_version
from include.ratchet.registry.example import BACKGROUND, EXAMPLE, load_example
from include.ratchet.registry.formats import load_model
from include.ratchet.registry.versions import MODEL_FILES
from include.ratchet.rollout.routes import Route
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey
from include.ratchet.training.fit import predict
from include.ratchet.training.frames import features_frame

if TYPE_CHECKING:
    import pandas as pd

_HELD = 4.0
"""How much more memory a loaded estimator takes than its file, roughly."""


@dataclass(frozen=True)
class Fitted:
    """One version, ready to predict.

    Attributes:
        number: of the version.
        estimator: fitted.
        features: columns in the order in which it takes them.
        classes: of a multiclass task, in the order of its probabilities.
        deployed_at: when it was loaded.
        size_mb: memory that it takes, roughly.
        code_hash: of the code that made it.
        lock_hash: of the lock that it was made with.
    """

    number: int
    estimator: Any = field(repr=False)
    features: tuple[str, ...]
    classes: tuple[Any, ...]
    deployed_at: datetime
    size_mb: float
    code_hash: str
    lock_hash: str

    def predict(self, features: pa.Table, task: str) -> npt.NDArray[np.float64]:
        """Scores of some rows of features; see `training.fit.predict`."""
        return predict(self.estimator, features_frame(features, self.features), task)


@dataclass(frozen=True)
class Deployment:
    """What answers for one model key now. Replaced as a whole, so that a row sees one state only.

    Attributes:
        key: of the model, or of one of its segments.
        route: how rows are divided.
        fitted: by version.
    """

    key: ModelKey
    route: Route
    fitted: Mapping[int, Fitted]

    @property
    def size_mb(self) -> float:
        """Memory that it takes, roughly."""
        return sum(one.size_mb for one in self.fitted.values())


Fetch = Callable[[str], bytes]


def load_version(model: Model, key: ModelKey, number: int, settings: Settings) -> Fitted:
    """Load a version and hold it to the scores that it gave when it was registered.

    Raises:
        VersionNotFoundError: the registry has no such version.
        RegistryUnavailableError: the registry does not answer.
        FormatNotAllowedError: the spec does not consent to its format.
        WarmUpError: it does not predict what it did.
    """
    tags, fetch = _open(key, number, settings)
    lineage = json.loads(tags["ratchet.lineage"])
    form: Any = tags["ratchet.format"]
    content = fetch(f"fitted/{MODEL_FILES[form]}")
    estimator = load_model(content, form, model.spec)
    fitted = Fitted(
        number, estimator, tuple(lineage["features"]),
        tuple(estimator.classes_.tolist()) if model.spec.task == "multiclass" else (), datetime.now(UTC),
        len(content) * _HELD / 1e6, lineage["code_hash"], lineage["lock_hash"],
    )  # fmt: skip
    warm_up(fitted, str(key), model.spec.task, fetch)
    return fitted


def load_background(key: ModelKey, number: int, settings: Settings) -> pd.DataFrame:
    """The training rows that a version is explained against.

    Raises:
        VersionNotFoundError: it was registered before such rows were kept.
        RegistryUnavailableError: the registry does not answer.
    """
    _, fetch = _open(key, number, settings)
    return load_example(fetch(BACKGROUND))[0]


def warm_up(fitted: Fitted, name: str, task: str, fetch: Fetch) -> None:
    """Predict the example that was registered with a version.

    Raises:
        WarmUpError: the scores are not those of then, or nothing can be predicted.
    """
    try:
        rows, expected = load_example(fetch(EXAMPLE))
    except VersionNotFoundError:
        return  # registered before examples were
    try:
        found = predict(fitted.estimator, rows[list(fitted.features)], task)
    except Exception as error:
        message = f"{name}@{fitted.number}: cannot predict its own example: {type(error).__name__}: {error}"
        raise WarmUpError(message) from error
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-9, atol=0, equal_nan=True):
        message = (
            f"{name}@{fitted.number}: predicts {found.tolist()} for its own example; expected {expected.tolist()}, as "
            "when it was registered. Serve it with the libraries of its lock, or train it again"
        )
        raise WarmUpError(message)


def _open(key: ModelKey, number: int, settings: Settings) -> tuple[Mapping[str, str], Fetch]:
    """A version's tags, and how its files are had: from MLflow's server, or by its client where there is none."""
    if settings.mlflow_url.startswith("http"):
        held = open_version(key.slug, number, settings)
        return held.tags, held.read
    try:
        from include.ratchet.registry.versions import get_version, read_artifact
    except ImportError as error:
        message = f"the registry is {settings.mlflow_url}; expected the address of an MLflow server"
        raise RegistryUnavailableError(message) from error
    version = get_version(key, number, settings)
    return version.tags, lambda path: read_artifact(version, path, settings)
