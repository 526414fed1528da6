"""Every asset, tag and connection name of the DAGs, written once."""

from __future__ import annotations

from airflow.sdk import Asset

from include.ratchet.spec import ModelSpec

INGEST, TRAIN, ROLLOUT = "ingest", "train", "rollout"
SCORE, REPLAY, RECORD = "score", "replay", "record"
MONITOR, BACKTEST, ERASE = "monitor", "backtest", "erase"
TAG = "ratchet"
"""Of every DAG of ours."""


def dag_id(kind: str, model: str) -> str:
    """Name of a model's DAG of one kind, such as `train_flight_delay`."""
    return f"{kind}_{model}"


def data_asset(model: str) -> Asset:
    """A model's landed and validated partitions."""
    return Asset(name=f"{model}_data", uri=f"ratchet://{model}/data", group="ratchet")


def scores_asset(model: str) -> Asset:
    """Partitions that batch scoring has answered."""
    return Asset(name=f"{model}_scores", uri=f"ratchet://{model}/scores", group="ratchet")


def requests_asset(model: str) -> Asset:
    """Request records of a model have been shipped to its table."""
    return Asset(name=f"{model}_requests", uri=f"ratchet://{model}/requests", group="ratchet")


def retraining_asset(model: str) -> Asset:
    """The word "look": a request to train stands in the ledger."""
    return Asset(name=f"{model}_retraining", uri=f"ratchet://{model}/retraining", group="ratchet")


def champion_asset(model: str) -> Asset:
    """A model's champion has changed."""
    return Asset(name=f"{model}_champion", uri=f"ratchet://{model}/champion", group="ratchet")


def tags(spec: ModelSpec, kind: str) -> list[str]:
    """Of a DAG: the system, the kind, the model and its own tags."""
    return [TAG, kind, spec.name, *spec.tags]
