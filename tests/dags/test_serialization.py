"""Parsing never makes a new DAG version: two processes serialise to the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.dags.test_integrity import DAGS

PROJECT = Path(__file__).resolve().parents[2]
PROGRAM = """
import hashlib, json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
bag = DagBag("dags")
assert not bag.import_errors, bag.import_errors
texts = {name: json.dumps(DagSerialization.to_dict(dag), sort_keys=True) for name, dag in bag.dags.items()}
heavy = {"pandas", "numpy", "sklearn", "mlflow", "evidently", "great_expectations", "duckdb", "ibis",
         "openlineage.client"}
print("RESULT " + json.dumps({
    "texts": texts, "heavy": sorted(heavy & set(sys.modules)),
}))
"""


def parse(seed: str) -> dict[str, object]:
    environ = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, cwd=PROJECT, env=environ
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    return json.loads(line.removeprefix("RESULT "))


def test_two_processes_serialise_the_same_bytes_and_load_nothing_heavy():
    first, second = parse("1"), parse("2")
    assert set(first["texts"]) == DAGS
    assert first["texts"] == second["texts"]
    assert first["heavy"] == []
