"""Versions in MLflow's registry: registering one with all that is known of it, finding it, loading it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.ratchet.errors import VersionNotFoundError
from include.ratchet.evaluation.gates import Verdict
from include.ratchet.evaluation.report import EvaluationReport
from include.ratchet.registry.formats import Format, load_model, trusted_types
from include.ratchet.registry.lineage import Lineage
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey, ModelSpec

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

TRAINING_TAG = "ratchet.training"
_REQUIREMENTS = ("scikit-learn", "lightgbm", "skops", "numpy", "pandas", "scipy")
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

    def __str__(self) -> str:
        return f"{self.key}@{self.number}"


@dataclass(frozen=True)
class Submission:
    """A judged candidate, ready to be registered."""

    training_id: str
    lineage: Lineage
    report: EvaluationReport
    verdict: Verdict
    model: bytes
    form: Format
    example: pd.DataFrame
    files: Mapping[str, bytes]
    """Further artifacts by path: card, plots, reports."""
    reason: str
    requests: Sequence[Mapping[str, Any]] = ()
    """What asked for the training: cause, window and signals of each request, and the run that found them."""


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


def register(model: Model, submission: Submission, settings: Settings) -> Version:
    """Register a candidate with its verdict. The same training is registered once, however often this is called."""
    client = client_of(settings)
    key = submission.lineage.key
    found = find_by_training(key, submission.training_id, settings)
    if found is not None:
        return found
    run_id = _open_run(client, key, submission, settings)
    _log_numbers(client, run_id, submission)
    source = _log_model(run_id, model, submission, settings)
    _ensure_model(client, model.spec, key)
    tags = _version_tags(submission)
    created = client.create_model_version(
        key.slug, source, run_id, tags=tags, description=f"{submission.verdict.outcome}: {submission.verdict.reason}"
    )
    client.set_terminated(run_id)
    return get_version(key, int(created.version), settings)


def find_by_training(key: ModelKey, training_id: str, settings: Settings) -> Version | None:
    """The version that a training run registered, if it did."""
    return _find(key, TRAINING_TAG, training_id, settings)


def find_by_fingerprint(key: ModelKey, fingerprint: str, settings: Settings) -> Version | None:
    """The newest version of the same data, code, lock, spec and seed, if there is one."""
    return _find(key, "ratchet.fingerprint", fingerprint, settings)


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
    return _version(key, found, settings)


def load_estimator(model: Model, version: Version, settings: Settings) -> Any:
    """The fitted estimator of a version, in so far as the spec consents to its format."""
    import mlflow.artifacts

    form: Format = _tag(version, "ratchet.format", settings)
    with tempfile.TemporaryDirectory() as folder:
        path = mlflow.artifacts.download_artifacts(
            run_id=version.run_id,
            artifact_path=f"fitted/{MODEL_FILES[form]}",
            dst_path=folder,
            tracking_uri=settings.mlflow_url,
        )
        return load_model(Path(path).read_bytes(), form, model.spec)


def read_artifact(version: Version, path: str, settings: Settings) -> bytes:
    """One of a version's files, such as `card.md`.

    Raises:
        VersionNotFoundError: it has no such file.
    """
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            found = mlflow.artifacts.download_artifacts(
                run_id=version.run_id, artifact_path=path, dst_path=folder, tracking_uri=settings.mlflow_url
            )
        except (MlflowException, FileNotFoundError) as error:
            message = f"{version} has no file {path}: {error}; train it again"
            raise VersionNotFoundError(message) from error
        return Path(found).read_bytes()


def version_url(key: ModelKey, number: int, settings: Settings) -> str:
    """Where MLflow shows a version."""
    return f"{settings.mlflow_url}/#/models/{key.slug}/versions/{number}"


def card_url(version: Version, settings: Settings) -> str:
    """Where Airflow shows a version's card."""
    return f"{settings.airflow_url}/ratchet/cards/{version.key.slug}/{version.number}/"


def _open_run(client: MlflowClient, key: ModelKey, submission: Submission, settings: Settings) -> str:
    """The MLflow run of a training, made anew only if no earlier attempt left one."""
    experiment = client.get_experiment_by_name(key.slug)
    experiment_id = experiment.experiment_id if experiment else _create_experiment(client, key.slug, settings)
    quoted = submission.training_id.replace("'", "")
    left = client.search_runs([experiment_id], f"tags.`{TRAINING_TAG}` = '{quoted}'", max_results=1)
    if left:
        return str(left[0].info.run_id)
    run = client.create_run(experiment_id, run_name=submission.training_id, tags={TRAINING_TAG: quoted})
    return str(run.info.run_id)


def _create_experiment(client: MlflowClient, name: str, settings: Settings) -> str:
    from mlflow.exceptions import MlflowException

    # A server knows where its artifacts go; without one MLflow would put them into the current folder.
    place = None if settings.mlflow_url.startswith("http") else f"{settings.home}/mlruns/{name}"
    try:
        return str(client.create_experiment(name, artifact_location=place))
    except MlflowException:  # another training made it in between
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _log_numbers(client: MlflowClient, run_id: str, submission: Submission) -> None:
    import time

    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    metrics = [
        Metric(f"{name}{suffix}", value, now, 0)
        for name, interval in submission.report.metrics.items()
        for suffix, value in (("", interval.value), ("_low", interval.low), ("_high", interval.high))
        if value == value
    ]
    lineage = submission.lineage
    params = [Param("candidate", lineage.candidate), *(Param(k, str(v)) for k, v in lineage.params.items())]
    tags = [RunTag(name, value) for name, value in _version_tags(submission).items()]
    client.log_batch(run_id, metrics=metrics, params=params, tags=tags)


def _log_model(run_id: str, model: Model, submission: Submission, settings: Settings) -> str:
    """Store the model and its files; returns where MLflow finds the model."""
    import mlflow
    from mlflow.data.http_dataset_source import HTTPDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput
    from mlflow.models import infer_signature

    client = client_of(settings)
    lineage = submission.lineage
    dataset = MetaDataset(HTTPDatasetSource(f"{settings.store}/snapshots"), name=lineage.key.slug,
                          digest=lineage.snapshot[:36])  # fmt: skip
    client.log_inputs(run_id, datasets=[DatasetInput(dataset._to_mlflow_entity(), [])])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fitted = folder / "files" / "fitted" / MODEL_FILES[submission.form]
        for path, content in {f"fitted/{fitted.name}": submission.model, **submission.files}.items():
            target = folder / "files" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        client.log_artifacts(run_id, str(folder / "files"))
        estimator = load_model(submission.model, submission.form, model.spec)
        predict = "predict" if model.spec.task == "regression" else "predict_proba"
        output = getattr(estimator, predict)(submission.example)
        mlflow.sklearn.save_model(
            estimator,
            str(folder / "model"),
            serialization_format=submission.form,
            skops_trusted_types=trusted_types(model.spec) if submission.form == "skops" else None,
            signature=infer_signature(submission.example, output),
            input_example=submission.example,
            pip_requirements=[f"{name}=={installed(name)}" for name in _REQUIREMENTS],
            pyfunc_predict_fn=predict,
        )
        client.log_artifacts(run_id, str(folder / "model"), "model")
    return f"{client.get_run(run_id).info.artifact_uri}/model"


def _ensure_model(client: MlflowClient, spec: ModelSpec, key: ModelKey) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(key.slug)
    except MlflowException:
        try:
            client.create_registered_model(key.slug, {"ratchet.owner": spec.owner}, spec.description)
        except MlflowException:  # another training made it in between
            client.get_registered_model(key.slug)


def _version_tags(submission: Submission) -> dict[str, str]:
    lineage = submission.lineage
    return {
        TRAINING_TAG: submission.training_id,
        "ratchet.fingerprint": lineage.fingerprint,
        "ratchet.verdict": submission.verdict.outcome,
        "ratchet.reason": submission.reason,
        "ratchet.requests": json.dumps(list(submission.requests))[:5000],
        "ratchet.format": submission.form,
        "ratchet.as_of": lineage.as_of.isoformat(),
        "ratchet.snapshot": lineage.snapshot,
        "ratchet.segment": lineage.key.segment,
        "ratchet.git_commit": lineage.git_commit,
        "ratchet.git_dirty": str(lineage.is_dirty).lower(),
        "ratchet.spec_hash": lineage.spec_hash,
        "ratchet.code_hash": lineage.code_hash,
        "ratchet.lock_hash": lineage.lock_hash,
        "ratchet.seed": str(lineage.seed),
        "ratchet.features": json.dumps(lineage.features),
        "ratchet.search": json.dumps(dict(lineage.search)),
        "ratchet.lineage": json.dumps(lineage.to_dict()),
        "ratchet.metrics": json.dumps({name: i.value for name, i in submission.report.metrics.items()}),
    }


def _find(key: ModelKey, tag: str, value: str, settings: Settings) -> Version | None:
    quoted = value.replace("'", "")
    wanted = f"name = '{key.slug}' and tags.`{tag}` = '{quoted}'"
    found = client_of(settings).search_model_versions(wanted, max_results=1, order_by=["version_number DESC"])
    return _version(key, found[0], settings) if found else None


def _version(key: ModelKey, found: Any, settings: Settings) -> Version:
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
    )


def _tag(version: Version, name: str, settings: Settings) -> Any:
    return client_of(settings).get_model_version(version.key.slug, str(version.number)).tags[name]
