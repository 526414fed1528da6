"""Batch scoring: partitions of a model's rows through its champion, recorded like the rows of requests.

The features' tables are opened once for all partitions, at one version; rows go through in chunks, from the table's
files to the record's, so that memory does not grow with their number. Partitions are replaced whole. One that was
scored before by the same version, from the same tables with the same code, is left as it stands: scoring twice, or
in two runs at once, gives the same table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from include.ratchet.data.records import RecordTable
from include.ratchet.data.tables import Table, count_rows, read_mark, retry_commits
from include.ratchet.errors import PartitionUnavailableError, SchemaChangedError, VersionNotFoundError
from include.ratchet.features import Inputs, Scorer, feature_names
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import CHAMPION
from include.ratchet.registry.lineage import hash_code, hash_lock
from include.ratchet.registry.versions import Version, get_version, load_estimator
from include.ratchet.scoring.records import RecordWriter, record_schema
from include.ratchet.scoring.spool import spool
from include.ratchet.scoring.stream import group_partitions, read_chunks
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey, partition_of
from include.ratchet.training.fit import predict, steady
from include.ratchet.training.frames import features_frame

CHUNK_ROWS = 25_000
COMMIT_ROWS = 25_000
"""Small partitions share a commit up to so many rows. The writer keeps a file open for each of them, with buffers for
every column: 100,000 rows of flights took 570 MB, a quarter of that is no slower."""
Progress = Callable[[str, int, int], None]
_FORMAT = 1
"""Raised when records change their form, so that what was scored before is scored again."""


@dataclass(frozen=True)
class ScoringReport:
    """What became of some partitions.

    Attributes:
        model: name.
        version: the champion that scored.
        version_as_of: what it knew. Of partitions before that it may have learned; their scores are no forecast.
        scored: partitions that were written.
        unchanged: partitions that stood there already, from the same version, tables and code.
        unavailable: partitions that have not landed.
        learned: of the scored ones, how many the version may have learned from.
        rows: that were written.
        table_version: of the scores, afterwards.
        location: of the scores.
    """

    model: str
    version: int
    version_as_of: datetime
    scored: tuple[str, ...]
    unchanged: tuple[str, ...]
    unavailable: tuple[str, ...]
    learned: int
    rows: int
    table_version: int | None
    location: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "version_as_of": self.version_as_of.isoformat()}


def find_champion(settings: Settings, key: ModelKey) -> Version | None:
    """The version that answers now, if there is one yet."""
    state = ledger.read_aliases(key, settings).get(CHAMPION)
    return None if state is None else get_version(key, state.version, settings)


def score_partitions(
    workspace: Workspace, key: ModelKey, partitions: Sequence[str], *, progress: Progress = lambda *_: None,
    chunk_rows: int = CHUNK_ROWS,
) -> ScoringReport:  # fmt: skip
    """Score partitions of a model's landed rows with the present champion, also those of the past.

    Features see what was known before each row's prediction time, as in training; label and outcomes are not read.

    Args:
        workspace: the installation.
        key: whose rows.
        partitions: their keys.
        progress: called as (what, partitions done, partitions in all).
        chunk_rows: rows in memory at a time.

    Raises:
        VersionNotFoundError: there is no champion yet.
        PartitionUnavailableError: none of the partitions has landed.
        SchemaChangedError: the champion needs a feature that the code no longer gives.
        CommitConflictError: other writers kept winning the table.
    """
    model = workspace.model(key.model)
    version = find_champion(workspace.settings, key)
    if version is None:
        message = f"{key} has no champion yet, so there is nothing to score with; train it first: ./ratchet run {key}"
        raise VersionNotFoundError(message)
    own = Table(workspace.settings, model.name, model.name)
    counts = own.row_counts()
    present = {name: counts[name] for name in dict.fromkeys(partitions) if counts.get(name)}
    if not present:
        message = (
            f"{key}: found no rows of {', '.join(partitions)} in {own.location}; expected landed partitions. Ingest "
            f"them first: ./ratchet backfill {key.model} FROM TO"
        )
        raise PartitionUnavailableError(message)
    unavailable = tuple(name for name in dict.fromkeys(partitions) if name not in present)
    with closing(_Scoring(workspace, model, version, chunk_rows)) as scoring:
        for group in group_partitions(present, COMMIT_ROWS):
            scoring.score(group)
            progress("score", scoring.done, len(present))
        return scoring.report(unavailable)


class _Scoring:
    """One call's work: a version, the tables that its features read, and what has been written."""

    def __init__(self, workspace: Workspace, model: Model, version: Version, chunk_rows: int) -> None:
        self._workspace, self._model, self._version, self._chunk_rows = workspace, model, version, chunk_rows
        settings = workspace.settings
        self._estimator = load_estimator(model, version, settings)
        self._needed = _check_features(model, version)
        self._versions = _read_versions(settings, model)
        self._source = Table(settings, model.name, model.name).open(self._versions[model.name])
        self._counts = count_rows(self._source)
        self._target = RecordTable(settings, model, "scores")
        classes = getattr(self._estimator, "classes_", ())
        hashes = {"code_hash": hash_code(model), "lock_hash": hash_lock()}
        self._mark = _fingerprint(version, self._versions, hashes)
        self._records = RecordWriter(model, version, classes, hashes, workspace.clock(), settings)
        self._scored: dict[str, None] = {}
        self._unchanged: dict[str, None] = {}
        self._scorer: Scorer | None = None

    @property
    def done(self) -> int:
        """Partitions so far."""
        return len(self._scored) + len(self._unchanged)

    def score(self, keys: Sequence[str]) -> None:
        """Score some partitions and replace them in one commit, again for as long as another writer is faster."""
        written = retry_commits(lambda: self._attempt(keys), self._target.name)
        self._scored |= dict.fromkeys(written)
        self._unchanged |= dict.fromkeys(key for key in keys if key not in written)

    def report(self, unavailable: tuple[str, ...]) -> ScoringReport:
        """What became of them."""
        spec, version = self._model.spec, self._version
        return ScoringReport(
            model=self._model.name,
            version=version.number,
            version_as_of=version.as_of,
            scored=tuple(self._scored),
            unchanged=tuple(self._unchanged),
            unavailable=unavailable,
            learned=sum(partition_of(spec, key).start < version.as_of for key in self._scored),
            rows=sum(self._counts[key] for key in self._scored),
            table_version=self._target.version(),
            location=self._target.location,
        )

    def close(self) -> None:
        """Let go of the tables."""
        self._records.close()
        if self._scorer is not None:
            self._scorer.close()

    def _attempt(self, keys: Sequence[str]) -> tuple[str, ...]:
        delta = self._target.open()
        stale = tuple(key for key in keys if read_mark(delta, _mark_name(key)) != self._mark)
        if not stale:
            return ()
        about = {"version": str(self._version), "as_of": self._version.as_of.isoformat(),
                 "sources": json.dumps(self._versions)}  # fmt: skip
        marks = {_mark_name(key): self._mark for key in stale}
        folder = self._workspace.settings.home / "spill"
        with spool(record_schema(self._model), self._stream(stale), folder) as records:
            self._target.commit(delta, records, stale, about, marks)
        return stale

    def _stream(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Records of some partitions, chunk by chunk."""
        for rows in read_chunks(self._model, self._source, keys, self._chunk_rows):
            features = self._features(rows)
            frame = features_frame(features, self._needed)
            with steady(self._model):
                scores = predict(self._estimator, frame, self._model.spec.task)
            records = self._records.write(rows, features, scores)
            yield from records.to_batches()

    def _features(self, rows: pa.Table) -> pa.Table:
        if self._scorer is None:
            # Not before there is something to score: reading the history is most of the work for a single day.
            settings = self._workspace.settings
            inputs = Inputs.open(settings, self._model, self._versions)
            self._scorer = Scorer(self._model, self._version.key, inputs, settings=settings)
        return self._scorer.score(rows)


def _check_features(model: Model, version: Version) -> tuple[str, ...]:
    """The features that a version needs, all of which the code must still give."""
    missing = [name for name in version.lineage.features if name not in feature_names(model)]
    if missing:
        message = (
            f"{version} needs {', '.join(missing)}; found features {', '.join(feature_names(model))}. "
            f"Give them again in {model.folder / 'features.py'}, or train a new version"
        )
        raise SchemaChangedError(message)
    return version.lineage.features


def _read_versions(settings: Settings, model: Model) -> dict[str, int]:
    found = {name: Table(settings, model.name, name).version() for name in model.spec.table_names}
    return {name: version for name, version in found.items() if version is not None}


def _fingerprint(version: Version, versions: Mapping[str, int], hashes: Mapping[str, str]) -> int:
    """The same for everything that gives the same records, as a number that a table can remember."""
    decisive = [_FORMAT, str(version), version.run_id, dict(sorted(versions.items())), dict(sorted(hashes.items()))]
    return int(hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:15], 16)


def _mark_name(partition: str) -> str:
    return f"scored:{partition}"
