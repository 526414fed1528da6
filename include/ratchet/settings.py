"""Where things are. Read from the environment once, at the border, and handed on as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Settings:
    """Paths, addresses and limits of one installation.

    Attributes:
        home: folder of everything local (`.ratchet/`).
        store: root of tables, snapshots and run artifacts: a folder or an `s3://` URL, without a slash at the end.
        models_dir: the users' room.
        database_url: SQLAlchemy URL of the database `ratchet` (ledger, search storage).
        mlflow_url: MLflow's tracking and registry URL.
        mlflow_login: name and password of a server that asks for them, as MLflow's own client reads them.
        airflow_url: base URL of Airflow's UI and REST API, for links.
        storage_options: credentials and endpoint of an object store, in delta-rs' words: `AWS_*` variables, under what
            the connection of `RATCHET_STORE_CONNECTION` says (`data.connections.find_settings`).
        duckdb_memory: memory that one feature query may hold before it spills, as DuckDB writes it.
        duckdb_threads: threads of one feature query.
        spark_master: where Spark runs, for the models whose `training.backend` it is.
        online_url: Redis for the online histories (`redis://host:6379/0`); empty: the database holds them.
    """

    home: Path
    store: str
    models_dir: Path
    database_url: str
    mlflow_url: str
    airflow_url: str
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    duckdb_memory: str = "2GB"
    duckdb_threads: int = 2
    spark_master: str = "local[*]"
    online_url: str = field(default="", repr=False)
    mlflow_login: tuple[str, str] | None = field(default=None, repr=False)


def read_settings(environ: Mapping[str, str], project: Path = PROJECT) -> Settings:
    """Settings from `RATCHET_*` variables, with the embedded stack's places as defaults.

    Whoever opens the store takes `data.connections.find_settings`, which looks its connection up besides.
    """
    home = Path(environ.get("RATCHET_HOME", project / ".ratchet"))
    storage = {k: v for k, v in environ.items() if k.startswith("AWS_")}
    name = environ.get("MLFLOW_TRACKING_USERNAME")
    return Settings(
        home=home,
        store=environ.get("RATCHET_STORE", str(home / "store")).rstrip("/"),
        models_dir=Path(environ.get("RATCHET_MODELS_DIR", project / "include" / "models")),
        database_url=environ.get("RATCHET_DATABASE_URL", f"sqlite:///{home}/ratchet.db"),
        mlflow_url=environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db"),
        airflow_url=environ.get("RATCHET_AIRFLOW_URL", "http://127.0.0.1:8080"),
        storage_options=storage,
        duckdb_memory=environ.get("RATCHET_DUCKDB_MEMORY", "2GB"),
        duckdb_threads=int(environ.get("RATCHET_DUCKDB_THREADS", "2")),
        spark_master=environ.get("RATCHET_SPARK_MASTER", "local[*]"),
        online_url=environ.get("RATCHET_ONLINE_URL", ""),
        mlflow_login=(name, environ.get("MLFLOW_TRACKING_PASSWORD", "")) if name else None,
    )
