"""Tables, snapshots, model versions and records as OpenLineage's datasets.

They are named as OpenLineage's naming rules say, by where they are, so that what Spark or a warehouse says of the same
files meets it; a model version is a dataset of its registry.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from openlineage.client.event_v2 import Dataset, InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    DatasetFacet,
    column_lineage_dataset,
    data_quality_assertions_dataset,
    data_quality_metrics_input_dataset,
    dataset_type_dataset,
    dataset_version_dataset,
    output_statistics_output_dataset,
    schema_dataset,
    storage_dataset,
    symlinks_dataset,
)

from include.ratchet.data.snapshots import Snapshot
from include.ratchet.data.tables import Table
from include.ratchet.exports.columns import trace_features
from include.ratchet.exports.facets import NAME, ModelVersionDatasetFacet, place_schema
from include.ratchet.features.definition import define
from include.ratchet.registry.versions import Version
from include.ratchet.settings import Settings
from include.ratchet.spec import Model


def describe_table(table: Table, version: int | None = None) -> Dataset:
    """A versioned table, at its newest version or at one; one that has never been written has neither."""
    number = table.version() if version is None else version
    schema = table.schema(number) if number is not None else None
    facets: dict[str, DatasetFacet] = {
        "storage": storage_dataset.StorageDatasetFacet("delta", "parquet"),
        "datasetType": dataset_type_dataset.DatasetTypeDatasetFacet("TABLE"),
        "symlinks": _symlink(table.name, "TABLE"),
    }
    if number is not None and schema is not None:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(str(number))
        facets["schema"] = _schema((field.name, str(field.type)) for field in schema)
    return Dataset(*name_place(table.location), facets=facets)


def describe_snapshot(snapshot: Snapshot, model: Model | None = None) -> Dataset:
    """A training set: its content's hash is its version. With the model, where each of its columns comes from."""
    facets: dict[str, DatasetFacet] = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(snapshot.content_hash),
        "schema": _schema(snapshot.columns),
        "datasetType": dataset_type_dataset.DatasetTypeDatasetFacet("FILE"),
        "symlinks": _symlink(f"{snapshot.key.slug}.snapshots.{snapshot.id}", "SNAPSHOT"),
    }
    if model is not None:
        root = snapshot.location.partition("/snapshots/")[0]
        facets["columnLineage"] = _column_lineage(model, root, [name for name, _ in snapshot.columns])
    return Dataset(*name_place(f"{snapshot.location}/data.parquet"), facets=facets)


def describe_version(version: Version, settings: Settings, alias: str | None = None) -> Dataset:
    """A model version; with an alias, the alias as a dataset of its own, whose version is the one it points to."""
    lineage, key = version.lineage, version.key
    facet = ModelVersionDatasetFacet(
        model=key.model, segment=key.segment, version=version.number, asOf=version.as_of.isoformat(),
        snapshot=lineage.snapshot, specHash=lineage.spec_hash, codeHash=lineage.code_hash, lockHash=lineage.lock_hash,
        gitCommit=lineage.git_commit, seed=lineage.seed, verdict=version.outcome,
        metrics={name: value for name, value in version.metrics.items() if math.isfinite(value)},
        url=_public_url(version.url),
        alias=alias,
    )  # fmt: skip
    facets: dict[str, DatasetFacet] = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(str(version.number)),
        "datasetType": dataset_type_dataset.DatasetTypeDatasetFacet("MODEL"),
        NAME: place_schema(facet, settings.airflow_url),
    }
    return Dataset(name_registry(settings), key.slug if alias is None else f"{key.slug}@{alias}", facets=facets)


def read_from(dataset: Dataset, results: Mapping[str, Any] | None = None) -> InputDataset:
    """A dataset that was read; with what a validation said of it, if it was validated.

    Args:
        dataset: which.
        results: of the validation, as its JSON holds them.
    """
    if results is None:
        return InputDataset(dataset.namespace, dataset.name, facets=dataset.facets)
    checked = [one for suite in results["results"] for one in suite["results"]]
    return InputDataset(
        dataset.namespace, dataset.name, facets=dataset.facets,
        inputFacets={
            "dataQualityMetrics": data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet(
                rowCount=results["rows"], columnMetrics={}
            ),
            "dataQualityAssertions": data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
                [_assertion(one) for one in checked]
            ),
        },
    )  # fmt: skip


def write_to(dataset: Dataset, rows: int | None = None) -> OutputDataset:
    """A dataset that was written, and how many rows at that."""
    counted = {} if rows is None else {
        "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=rows)
    }  # fmt: skip
    return OutputDataset(dataset.namespace, dataset.name, facets=dataset.facets, outputFacets=dict(counted))


def name_place(location: str) -> tuple[str, str]:
    """Namespace and name of a folder or file of the store."""
    if location.startswith("s3://"):
        bucket, _, key = location.removeprefix("s3://").partition("/")
        return f"s3://{bucket}", key
    return "file", location


def name_registry(settings: Settings) -> str:
    """Namespace of model versions, without the login that an address may hold."""
    parts = urlsplit(settings.mlflow_url)
    host = parts.hostname or "local"
    return f"mlflow://{host}:{parts.port}" if parts.port else f"mlflow://{host}"


def _public_url(url: str) -> str | None:
    """An address that a browser opens, without a login; a registry that is a database has none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return None
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _schema(columns: Iterable[tuple[str, str]]) -> schema_dataset.SchemaDatasetFacet:
    return schema_dataset.SchemaDatasetFacet(
        [schema_dataset.SchemaDatasetFacetFields(name, kind) for name, kind in columns]
    )


def _symlink(name: str, kind: str) -> symlinks_dataset.SymlinksDatasetFacet:
    return symlinks_dataset.SymlinksDatasetFacet([symlinks_dataset.Identifier("ratchet", name, kind)])


def _assertion(checked: Mapping[str, Any]) -> data_quality_assertions_dataset.Assertion:
    config = checked["expectation_config"]
    severity = "error" if config.get("severity") == "critical" else "warn"
    return data_quality_assertions_dataset.Assertion(
        assertion=config["type"], success=bool(checked["success"]), column=config["kwargs"].get("column"),
        severity=severity,
    )  # fmt: skip


def _column_lineage(
    model: Model, root: str, columns: Sequence[str]
) -> column_lineage_dataset.ColumnLineageDatasetFacet:
    """Of every feature its columns; of keys, times and label the same columns of the model's own table."""
    traced = trace_features(define(model))

    def field(table: str, column: str, kind: str, subtype: str) -> column_lineage_dataset.InputField:
        namespace, name = name_place(f"{root}/tables/{model.name}/{table}")
        return column_lineage_dataset.InputField(
            namespace, name, column, [column_lineage_dataset.Transformation(kind, subtype)]
        )

    own = {*model.spec.keys, model.spec.event_time, model.spec.label.column}
    fields = {name: [field(model.name, name, "DIRECT", "IDENTITY")] for name in columns if name in own - set(traced)}
    for name, found in traced.items():
        direct = "IDENTITY" if found.is_plain else "TRANSFORMATION"
        fields[name] = [
            *(field(one.table, one.column, "DIRECT", direct) for one in found.values),
            *(field(one.table, one.column, "INDIRECT", "JOIN") for one in found.keys),
        ]
    return column_lineage_dataset.ColumnLineageDatasetFacet(
        {name: column_lineage_dataset.Fields(inputs) for name, inputs in fields.items() if name in columns}
    )
