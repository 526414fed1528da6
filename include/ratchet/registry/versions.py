"""Versions in MLflow's registry: finding one with all that is known of it, and loading it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from include.ratchet.errors import VersionNotFoundError
from include.ratchet.registry.artifacts import Held
from include.ratchet.registry.bundle import locate
from include.ratchet.registry.formats import Format, load_model
from include.ratchet.registry.lineage import Lineage
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey

if TYPE_CHECKING:
    from mlflow import MlflowClient

TRAINING_TAG = "ratchet.training"
FINGERPRINT_TAG = "ratchet.fingerprint"
MODEL_FILES = {"skops": "model.skops", "pickle": "model.pkl", "cloudpickle": "model.pkl"}


@dataclass(frozen=True)
class Version:
    """One registered version of a model key."""

    key: ModelKey
    number: int
    outcome: str
    as_of: datetime
    lineage: Lineage
    metrics: Mapping[str, float]
    run_id: str
    url: str
    tags: Mapping[str, str] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.key}@{self.number}"


def client_of(settings: Settings) -> MlflowClient:
    """MLflow's client, without the bars and notices that it prints."""
    import logging

    from mlflow import MlflowClient
    from mlflow.environment_variables import (
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
    )

    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return MlflowClient(settings.mlflow_url, settings.mlflow_url)


def find_by_training(key: ModelKey, training_id: str, settings: Settings) -> Version | None:
    """The version that a training run registered, if it did."""
    return _find(key, TRAINING_TAG, training_id, settings)


def find_by_fingerprint(key: ModelKey, fingerprint: str, settings: Settings) -> Version | None:
    """The newest version of the same data, code, lock, spec and seed, if there is one."""
    return _find(key, FINGERPRINT_TAG, fingerprint, settings)


def get_version(key: ModelKey, number: int, settings: Settings) -> Version:
    """One version.

    Raises:
        VersionNotFoundError: the registry has no such version.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = client_of(settings).get_model_version(key.slug, str(number))
    except MlflowException as error:
        message = f"{key} has no version {number}; see ./ratchet history {key.model}"
        raise VersionNotFoundError(message) from error
    return version_of(key, found, settings)


def load_estimator(model: Model, version: Version, settings: Settings) -> Any:
    """The fitted estimator of a version, in so far as the spec consents to its format."""
    form = cast("Format", version.tags["ratchet.format"])
    return load_model(read_artifact(version, f"fitted/{MODEL_FILES[form]}", settings), form, model.spec)


def read_artifact(version: Version, path: str, settings: Settings) -> bytes:
    """One of a version's files, such as `card.md`.

    Raises:
        VersionNotFoundError: it has no such file.
    """
    if settings.mlflow_url.startswith("http"):
        return Held(str(version), version.run_id, version.tags, settings).read(path)
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    place = locate(version.tags, path)
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = mlflow.artifacts.download_artifacts(
                run_id=version.run_id, artifact_path=place.artifact, dst_path=folder, tracking_uri=settings.mlflow_url
            )
            return place.read(Path(found).read_bytes())
        except (MlflowException, FileNotFoundError, KeyError) as error:
            message = f"{version} has no file {path}: {error}; train it again"
            raise VersionNotFoundError(message) from error


def version_url(key: ModelKey, number: int, settings: Settings) -> str:
    """Where MLflow shows a version."""
    return f"{settings.mlflow_url}/#/models/{key.slug}/versions/{number}"


def card_url(version: Version, settings: Settings) -> str:
    """Where Airflow shows a version's card."""
    return f"{settings.airflow_url}/ratchet/cards/{version.key.slug}/{version.number}/"


def _find(key: ModelKey, tag: str, value: str, settings: Settings) -> Version | None:
    quoted = value.replace("'", "")
    wanted = f"name = '{key.slug}' and tags.`{tag}` = '{quoted}'"
    found = client_of(settings).search_model_versions(wanted, max_results=1, order_by=["version_number DESC"])
    return version_of(key, found[0], settings) if found else None


def version_of(key: ModelKey, found: Any, settings: Settings) -> Version:
    """A version as MLflow holds it."""
    lineage = Lineage.from_dict(json.loads(found.tags["ratchet.lineage"]))
    return Version(
        key=key,
        number=int(found.version),
        outcome=found.tags["ratchet.verdict"],
        as_of=lineage.as_of,
        lineage=lineage,
        metrics=json.loads(found.tags["ratchet.metrics"]),
        run_id=found.run_id,
        url=version_url(key, int(found.version), settings),
        tags=found.tags,
    )
