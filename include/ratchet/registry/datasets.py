"""The rows that a version learned from and was judged on, as MLflow's datasets of its run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from include.ratchet.data.snapshots import Snapshot
from include.ratchet.spec import ModelKey

if TYPE_CHECKING:
    from mlflow.entities import Dataset, DatasetInput

DIGEST_LENGTH = 36
"""As long as MLflow takes a digest; the snapshot's whole id is a tag of the input, and of run and version."""
SNAPSHOT_TAG = "ratchet.snapshot"
TRAINING, EVALUATION = "training", "evaluation"
"""What MLflow calls the two uses."""


def describe_inputs(snapshot: Snapshot, key: ModelKey, test_rows: int) -> list[DatasetInput]:
    """A snapshot as what a version comes from, and its test rows as what the version was evaluated on.

    Args:
        snapshot: the training set; all segments of a model share it.
        key: whose version it is.
        test_rows: how many of its rows were kept back to judge the version on.
    """
    from mlflow.entities import DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    parts = [(snapshot.key.slug, snapshot.rows, TRAINING), (f"{key.slug}.test", test_rows, EVALUATION)]
    return [
        DatasetInput(
            _describe(snapshot, name, rows),
            [InputTag(MLFLOW_DATASET_CONTEXT, context), InputTag(SNAPSHOT_TAG, snapshot.id)],
        )
        for name, rows, context in parts
    ]


def _describe(snapshot: Snapshot, name: str, rows: int) -> Dataset:
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.entities import Dataset

    source = resolve_dataset_source(f"{snapshot.location}/data.parquet")
    columns = [{"name": column, "type": _mlflow_type(kind), "required": False} for column, kind in snapshot.columns]
    return Dataset(
        name=name,
        digest=snapshot.id[:DIGEST_LENGTH],
        source_type=source._get_source_type(),
        source=source.to_json(),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": rows, "num_elements": rows * len(columns)}),
    )


def _mlflow_type(kind: str) -> str:
    """MLflow's name of an Arrow type, as its own `Schema` has it."""
    named = {"int64": "long", "int32": "integer", "double": "double", "float": "float", "bool": "boolean"}
    return "datetime" if kind.startswith(("timestamp", "date")) else named.get(kind, "string")
