"""Faults that pass are tried again; everything that would come out the same is not."""

from __future__ import annotations

import sys

import pytest
from airflow.sdk import RetryAction
from sqlalchemy.exc import OperationalError

from include.ratchet import errors
from include.ratchet.orchestration.preload import preload
from include.ratchet.orchestration.retries import TRANSIENT

AGAIN = [
    errors.SourceError("x"), errors.CommitConflictError("x"), errors.StoreError("x"), ConnectionResetError(),
    TimeoutError(), OSError("disk"), OperationalError("x", None, Exception()), RuntimeError("of a library"),
]  # fmt: skip
NEVER = [
    errors.GateRefusedError("x"), errors.ValidationFailedError("x"), errors.SchemaChangedError("x"),
    errors.PartitionUnavailableError("x"), errors.TooFewRowsError("x"), errors.SpecError("x"),
    errors.QuarantineLimitError("x"), errors.LeakageError("x"), FileNotFoundError("x"), KeyError("x"), TypeError("x"),
]  # fmt: skip


@pytest.mark.parametrize("error", AGAIN, ids=lambda error: type(error).__name__)
def test_fault_that_passes_is_tried_again(error):
    assert TRANSIENT.evaluate(error, 1, 3).action is RetryAction.RETRY


@pytest.mark.parametrize("error", NEVER, ids=lambda error: type(error).__name__)
def test_what_would_come_out_the_same_is_not(error):
    assert TRANSIENT.evaluate(error, 1, 3).action is RetryAction.FAIL


def test_only_parents_of_tasks_preload():
    loaded = ["json"]
    assert preload(["airflow", "scheduler"], loaded)
    assert preload(["airflow", "celery", "worker"], loaded)
    assert not preload(["airflow", "api-server"], loaded)
    assert not preload(["airflow", "dag-processor"], loaded)
    assert not preload(["pytest"], loaded)


def test_spark_is_not_taken_along_and_can_be_imported_afterwards(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "pyspark", raising=False)
    (tmp_path / "takes_spark.py").write_text("try:\n    import pyspark\nexcept ImportError:\n    pyspark = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert preload(["airflow", "scheduler"], ["takes_spark"])
    assert sys.modules["takes_spark"].pyspark is None
    assert "pyspark" not in sys.modules
