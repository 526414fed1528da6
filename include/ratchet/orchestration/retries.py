"""Which failures are worth another try: faults that pass. A task that was killed is tried again by Airflow itself."""

from __future__ import annotations

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from include.ratchet.errors import (
    CommitConflictError,
    ContainerError,
    PartitionUnavailableError,
    RatchetError,
    SourceError,
    StoreError,
)

TRANSIENT = ExceptionRetryPolicy(
    rules=[
        RetryRule(PartitionUnavailableError, RetryAction.FAIL, reason="the source has nothing for it"),
        RetryRule(
            [SourceError, StoreError, CommitConflictError, ContainerError],
            reason="a source, the store or a container was not available",
        ),
        RetryRule(RatchetError, RetryAction.FAIL, reason="trying again would find the same"),
        RetryRule(
            [FileNotFoundError, IsADirectoryError, PermissionError], RetryAction.FAIL, reason="a file is missing"
        ),
        RetryRule([OSError, ConnectionError, TimeoutError], reason="the network or a disk was not available"),
        RetryRule("sqlalchemy.exc.OperationalError", reason="the database was not available"),
        RetryRule(
            [ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError, ImportError],
            RetryAction.FAIL,
            reason="trying again would find the same",
        ),
    ],
    default=RetryAction.RETRY,
)
"""Asked in order; the first rule that fits decides."""
