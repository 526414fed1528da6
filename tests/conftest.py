"""What all tests share: an Airflow home of their own, set before anything imports airflow."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from hypothesis import settings

PROJECT = Path(__file__).resolve().parents[1]
# A process of pytest-xdist has a main module without a file. Spark takes that for its own doctests, and ends it.
sys.modules["__main__"].__dict__.setdefault("__file__", __file__)

# How long an example takes says how busy the machine is.
settings.register_profile("ratchet", deadline=None)
settings.load_profile("ratchet")

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="ratchet-airflow-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(PROJECT / "dags")
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(PROJECT / "plugins")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{os.environ['AIRFLOW_HOME']}/airflow.db"
for name in ("RATCHET_HOME", "RATCHET_STORE", "RATCHET_DATABASE_URL", "RATCHET_MODELS_DIR", "MLFLOW_TRACKING_URI",
             "COLUMNS", "LINES"):  # fmt: skip
    os.environ.pop(name, None)
