"""Loading heavy libraries once, in the process that tasks are forked from.

Importing pandas, scikit-learn, MLflow and the others takes seconds; a forked task inherits what its parent has loaded.
The parent only imports: a thread, a pool, a connection or a runtime started here would be broken in the fork.
"""

from __future__ import annotations

import gc
import importlib
import logging
import sys
import warnings
from collections.abc import Sequence

from include.ratchet.imports import without_spark

# Not the engine itself: a task sees its code as it is now, without a restart.
LIBRARIES = (
    "numpy", "pandas", "pyarrow", "pyarrow.compute", "pyarrow.dataset", "pyarrow.parquet",
    "sqlalchemy", "psycopg2", "deltalake", "duckdb", "ibis", "ibis.backends.duckdb", "sqlglot",
    "sklearn.pipeline", "sklearn.compose", "sklearn.ensemble", "sklearn.linear_model", "sklearn.impute",
    "sklearn.preprocessing", "sklearn.model_selection", "lightgbm", "threadpoolctl", "scipy.stats",
    "optuna", "optuna.storages", "fairlearn.metrics", "skops.io", "markdown", "matplotlib.figure",
    "matplotlib.backends.backend_agg", "mlflow", "mlflow.sklearn", "mlflow.models", "mlflow.artifacts",
    "mlflow.data.meta_dataset", "mlflow.pyfunc", "mlflow.tracking.request_header.registry",
    "great_expectations", "great_expectations.expectations",
    "airflow.providers.standard.operators.python", "airflow.providers.slack.notifications.slack",
)  # fmt: skip
PARENTS = ("scheduler", "celery")
"""Airflow's commands whose processes fork tasks."""


def preload(argv: Sequence[str] | None = None, libraries: Sequence[str] = LIBRARIES) -> bool:
    """Load the libraries if this process is one that forks tasks; returns whether it did."""
    words = sys.argv if argv is None else argv
    if not any(word in PARENTS for word in words[1:3]):
        return False
    for name in ("great_expectations", "py4j", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with without_spark(), warnings.catch_warnings():
        # Some ask every module for every name they know, and Airflow's answer each time that a name is an old one.
        warnings.simplefilter("ignore")
        for library in libraries:
            try:
                importlib.import_module(library)
            except ImportError as error:  # a task that needs it will say so; the others go on
                logging.getLogger(__name__).warning("cannot preload %s: %s", library, error)
    # What is loaded now lives as long as the process; collecting it again and again would only copy its pages.
    gc.freeze()
    return True
