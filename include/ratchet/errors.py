"""Every error the engine raises on purpose.

RatchetError
├── SpecError(ValueError)            a model's spec is wrong: file, key, value, expectation, remedy
├── ModelNotFoundError(LookupError)  no such model, with the near name
├── SourceError(OSError)             a source could not be read
│   └── PartitionUnavailableError    the source has nothing (yet) for that partition
├── StoreError(OSError)              the object store refuses, or is away for too long
├── SchemaChangedError(ValueError)   a column was lost or changed its type
├── QuarantineLimitError(ValueError) too large a share of rows broke a row-level rule
├── CommitConflictError(OSError)     other writers kept winning the table; worth another try
├── ValidationFailedError(ValueError) an expectation of severity `fail` did not hold
├── RowCountError(ValueError)        a join lost or multiplied rows
├── BackendUnavailableError(ImportError) features are to be computed by an engine that is not there
├── LeakageError(ValueError)         a feature used what was not yet known
├── AnnotationError(ValueError)      labels that people gave cannot be taken: file, item, value, expectation, remedy
├── TooFewRowsError(ValueError)      not enough labelled rows to train or judge
├── SearchError(RuntimeError)        no trial succeeded
├── FormatNotAllowedError(ValueError) a model would need a format its spec does not consent to
├── GateRefusedError(RuntimeError)   a candidate did not pass its gates
├── LedgerConflictError(RuntimeError) the alias moved since it was read
├── NothingToRevertError(LookupError) no earlier champion to go back to
├── RolloutError(RuntimeError)       a hand-over cannot take the step that was asked of it
│   └── GuardTrippedError(LedgerConflictError) too many of a model's went back, so none begins
├── VersionNotFoundError(LookupError) no such version of a model
├── RecordNotFoundError(LookupError) no record of such a request
├── IncidentNotFoundError(LookupError) no open incident of that number
├── RegistryUnavailableError(OSError) the registry's server cannot be reached
├── NotReproducibleError(RuntimeError) lineage and environment differ in what decides a result
├── ServingError(RuntimeError)       the prediction service is not set up as it must be
│   ├── LogUnavailableError          a prediction cannot be recorded, and so not be given
│   ├── NotDeployedError             a model has no champion, or no online features
│   ├── WarmUpError                  a version does not predict what it did when it was registered
│   └── OverloadError                more waits than the service will hold; try again later
├── ExportError(OSError)             what other tools should read cannot be written there
├── OutOfMemoryError(MemoryError)    a fit took more memory than its container may
├── ContainerError(OSError)          a container could not be started, or was killed; worth another try
└── StackError(RuntimeError)         the local stack could not be started or reached

The message says what is wrong, the value found, what was expected and the remedy; it takes positional arguments
only, so that an error survives the pickling between processes.
"""

from __future__ import annotations


class RatchetError(Exception):
    """Base of every error that the engine raises on purpose."""


class SpecError(RatchetError, ValueError):
    """A model's spec is not valid."""


class ModelNotFoundError(RatchetError, LookupError):
    """No model of that name is defined."""


class SourceError(RatchetError, OSError):
    """A source could not be read."""


class PartitionUnavailableError(SourceError):
    """A source has nothing for the partition that it was asked for."""


class StoreError(RatchetError, OSError):
    """The object store refuses, has no such bucket, or does not answer for too long."""


class SchemaChangedError(RatchetError, ValueError):
    """A source lost a column or changed a column's type."""


class QuarantineLimitError(RatchetError, ValueError):
    """More rows broke their row-level rules than the spec allows."""


class CommitConflictError(RatchetError, OSError):
    """Other writers kept winning a table; the same call is worth another try."""


class ValidationFailedError(RatchetError, ValueError):
    """An expectation of severity `fail` did not hold."""


class RowCountError(RatchetError, ValueError):
    """A join lost or multiplied rows."""


class BackendUnavailableError(RatchetError, ImportError):
    """A model's features are to be computed by an engine that is not there."""


class LeakageError(RatchetError, ValueError):
    """A feature used what was not known at the row's prediction time."""


class AnnotationError(RatchetError, ValueError):
    """Labels that people gave cannot be taken, or a review is about no such row."""


class TooFewRowsError(RatchetError, ValueError):
    """There are not enough labelled rows to train on or to judge by."""


class SearchError(RatchetError, RuntimeError):
    """No trial of a search succeeded."""


class FormatNotAllowedError(RatchetError, ValueError):
    """A model can only be saved or loaded in a format that its spec does not consent to."""


class GateRefusedError(RatchetError, RuntimeError):
    """A candidate did not pass its gates."""


class LedgerConflictError(RatchetError, RuntimeError):
    """An alias moved since it was read."""


class NothingToRevertError(RatchetError, LookupError):
    """A model has no earlier champion to go back to."""


class RolloutError(RatchetError, RuntimeError):
    """A hand-over cannot take the step that was asked of it."""


class GuardTrippedError(RolloutError, LedgerConflictError):
    """Too many hand-overs of a model's segments went back, so none begins; whoever would begin one is held."""


class VersionNotFoundError(RatchetError, LookupError):
    """A model has no such version."""


class RecordNotFoundError(RatchetError, LookupError):
    """No record of a request by that id, or none in that time."""


class IncidentNotFoundError(RatchetError, LookupError):
    """A model key has no open incident of that number."""


class RegistryUnavailableError(RatchetError, OSError):
    """The registry's server cannot be reached or does not answer in order."""


class NotReproducibleError(RatchetError, RuntimeError):
    """What is recorded of a version differs from what stands here."""


class ServingError(RatchetError, RuntimeError):
    """The prediction service is not set up as it must be, or cannot answer now."""


class LogUnavailableError(ServingError):
    """A prediction cannot be recorded."""


class NotDeployedError(ServingError):
    """A model has no champion, or no online features, and cannot answer yet."""


class WarmUpError(ServingError):
    """A version does not predict what it did when it was registered."""


class OverloadError(ServingError):
    """More predictions wait than the service will hold."""


class ExportError(RatchetError, OSError):
    """What other tools should read cannot be written there."""


class OutOfMemoryError(RatchetError, MemoryError):
    """A fit took more memory than the spec gives its container."""


class ContainerError(RatchetError, OSError):
    """A container could not be started, or was ended from outside; worth another try."""


class StackError(RatchetError, RuntimeError):
    """The local stack could not be started, reached or stopped."""
