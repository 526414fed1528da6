"""Registering versions in MLflow, with all that is known of them: one by itself, or those of a fleet's batch."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.ratchet.data.snapshots import Snapshot, load_snapshot
from include.ratchet.evaluation.report import EvaluationReport
from include.ratchet.evaluation.verdict import Verdict
from include.ratchet.registry.bundle import BUNDLE, BUNDLE_TAG, pack
from include.ratchet.registry.datasets import SNAPSHOT_TAG, describe_inputs
from include.ratchet.registry.formats import Format
from include.ratchet.registry.lineage import Lineage
from include.ratchet.registry.mlmodel import pack_model, render_environment, save_model
from include.ratchet.registry.versions import (
    FINGERPRINT_TAG,
    MODEL_FILES,
    TRAINING_TAG,
    Version,
    client_of,
    find_by_training,
    get_version,
    version_of,
    version_url,
)
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey, ModelSpec

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import RunInfo

SEGMENT_TAG = "ratchet.segment"


@dataclass(frozen=True)
class Submission:
    """A judged candidate, ready to be registered."""

    training_id: str
    lineage: Lineage
    report: EvaluationReport
    verdict: Verdict
    model: bytes
    estimator: Any
    """What the bytes load as."""
    form: Format
    example: pd.DataFrame
    files: Mapping[str, bytes]
    """Further artifacts by path: card, plots, reports."""
    reason: str
    requests: Sequence[Mapping[str, Any]] = ()
    """What asked for the training: cause, window and signals of each request, and the run that found them."""


def register(model: Model, submission: Submission, settings: Settings) -> Version:
    """Register a candidate with its verdict. The same training is registered once, however often this is called."""
    client = client_of(settings)
    key = submission.lineage.key
    found = find_by_training(key, submission.training_id, settings)
    if found is not None:
        return found
    run_id = _open_run(client, key, submission, settings)
    _log_numbers(client, run_id, submission)
    source = _log_model(client, run_id, model, submission, settings)
    _ensure_model(client, model.spec, key)
    tags = _version_tags(submission)
    created = client.create_model_version(
        key.slug, source, run_id, tags=tags, description=f"{submission.verdict.outcome}: {submission.verdict.reason}"
    )
    client.set_terminated(run_id)
    return get_version(key, int(created.version), settings)


class Registrar:
    """Registers the versions of one batch of a fleet's keys: what they share is asked for once, and little is sent.

    A version of a segment is a run of its model's experiment, with the model as MLflow wants it and everything else in
    one archive. After a first attempt that was cut off, what it left is found and taken up.

    Args:
        model: whose segments.
        training_id: of the training.
        settings: where MLflow is.
        known: segments that have a version already.
        is_retry: whether an earlier attempt may have left something.
    """

    def __init__(
        self, model: Model, training_id: str, settings: Settings, *, known: Collection[str], is_retry: bool
    ) -> None:  # fmt: skip
        self._model, self._settings = model, settings
        self._client = client_of(settings)
        self._environment = render_environment()
        self._experiment = _open_experiment(self._client, model.name, settings)
        self._training = training_id.replace("'", "")
        self._known = known
        self._snapshot: Snapshot | None = None
        self._versions: dict[str, Any] = {}
        self._runs: dict[str, RunInfo] = {}
        if is_retry:
            wanted = f"tags.`{TRAINING_TAG}` = '{self._training}'"
            self._versions = {one.name: one for one in search_all(self._client.search_model_versions, wanted)}
            for run in search_all(self._client.search_runs, wanted, experiment_ids=[self._experiment]):
                self._runs[run.data.tags.get(SEGMENT_TAG, "")] = run.info

    def register(self, submission: Submission) -> Version:
        """Register a candidate with its verdict; the same training's again is found."""
        key = submission.lineage.key
        known = self._versions.get(key.slug)
        if known is not None:
            return version_of(key, known, self._settings)
        client, tags = self._client, {**_version_tags(submission), BUNDLE_TAG: BUNDLE}
        run = self._runs.get(key.segment) or self._create_run(key, submission)
        run_id = str(run.run_id)
        _log_numbers(client, run_id, submission)
        inputs = describe_inputs(self._load_snapshot(submission.lineage), key, submission.report.rows)
        client.log_inputs(run_id, datasets=inputs)
        self._store(run, submission)
        if key.segment not in self._known:
            _create_model(client, self._model.spec, key)
        created = client.create_model_version(
            key.slug, f"runs:/{run_id}/model", run_id, tags=tags, await_creation_for=0,
            description=f"{submission.verdict.outcome}: {submission.verdict.reason}",
        )  # fmt: skip
        client.set_terminated(run_id)
        return Version(key, int(created.version), submission.verdict.outcome, submission.lineage.as_of,
                       submission.lineage, json.loads(tags["ratchet.metrics"]), run_id,
                       version_url(key, int(created.version), self._settings), tags)  # fmt: skip

    def _store(self, run: RunInfo, submission: Submission) -> None:
        """Leave a run's files where MLflow keeps them; its client would first ask again where that is."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        model = pack_model(submission.estimator, submission.model, submission.form, submission.example,
                           self._model.spec, self._environment)  # fmt: skip
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "model").mkdir()
            (folder / BUNDLE).write_bytes(pack(submission.files))
            for path, content in model.items():
                (folder / "model" / path).write_bytes(content)
            get_artifact_repository(run.artifact_uri, self._settings.mlflow_url).log_artifacts(str(folder))

    def _load_snapshot(self, lineage: Lineage) -> Snapshot:
        if self._snapshot is None or self._snapshot.id != lineage.snapshot:
            self._snapshot = load_snapshot(lineage.key.pool, lineage.snapshot, self._settings)
        return self._snapshot

    def _create_run(self, key: ModelKey, submission: Submission) -> RunInfo:
        tags = {TRAINING_TAG: self._training, SEGMENT_TAG: key.segment}
        name = f"{submission.training_id} {key.segment}"[:250]
        return self._client.create_run(self._experiment, run_name=name, tags=tags).info


def search_all(search: Any, wanted: str, **further: Any) -> Sequence[Any]:
    """Every page of one of MLflow's searches."""
    found, token = [], None
    while True:
        page = search(filter_string=wanted, page_token=token, max_results=1000, **further)
        found += page
        token = page.token
        if not token:
            return found


def _open_run(client: MlflowClient, key: ModelKey, submission: Submission, settings: Settings) -> str:
    """The MLflow run of a training, made anew only if no earlier attempt left one."""
    experiment_id = _open_experiment(client, key.slug, settings)
    quoted = submission.training_id.replace("'", "")
    left = client.search_runs([experiment_id], f"tags.`{TRAINING_TAG}` = '{quoted}'", max_results=1)
    if left:
        return str(left[0].info.run_id)
    run = client.create_run(experiment_id, run_name=submission.training_id, tags={TRAINING_TAG: quoted})
    return str(run.info.run_id)


def _open_experiment(client: MlflowClient, name: str, settings: Settings) -> str:
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)

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
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    metrics = [
        Metric(f"{name}{suffix}", value, now, 0)
        for name, interval in submission.report.metrics.items()
        for suffix, value in (("", interval.value), ("_low", interval.low), ("_high", interval.high))
        if value == value
    ]
    lineage = submission.lineage
    params = [Param("candidate", lineage.candidate), *(Param(k, str(v)) for k, v in lineage.params.items())]
    client.log_batch(run_id, metrics=metrics, params=params)


def _log_model(client: MlflowClient, run_id: str, model: Model, submission: Submission, settings: Settings) -> str:
    """Store the model and its files; returns where MLflow finds the model."""
    from mlflow.entities import RunTag

    lineage = submission.lineage
    snapshot = load_snapshot(lineage.key.pool, lineage.snapshot, settings)
    client.log_inputs(run_id, datasets=describe_inputs(snapshot, lineage.key, submission.report.rows))
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in _version_tags(submission).items()])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fitted = f"fitted/{MODEL_FILES[submission.form]}"
        for path, content in {fitted: submission.model, **submission.files}.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        save_model(submission.estimator, submission.form, submission.example, model.spec, folder / "model")
        client.log_artifacts(run_id, str(folder))
    return f"{client.get_run(run_id).info.artifact_uri}/model"


def _ensure_model(client: MlflowClient, spec: ModelSpec, key: ModelKey) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(key.slug)
    except MlflowException:
        _create_model(client, spec, key)


def _create_model(client: MlflowClient, spec: ModelSpec, key: ModelKey) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(key.slug, {"ratchet.owner": spec.owner}, spec.description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version_tags(submission: Submission) -> dict[str, str]:
    lineage = submission.lineage
    return {
        TRAINING_TAG: submission.training_id,
        FINGERPRINT_TAG: lineage.fingerprint,
        "ratchet.verdict": submission.verdict.outcome,
        "ratchet.reason": submission.reason,
        "ratchet.requests": json.dumps(list(submission.requests))[:5000],
        "ratchet.format": submission.form,
        "ratchet.as_of": lineage.as_of.isoformat(),
        SNAPSHOT_TAG: lineage.snapshot,
        SEGMENT_TAG: lineage.key.segment,
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
