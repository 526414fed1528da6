"""Batch scoring: partitions of a model's rows through its champions, recorded like the rows of requests.

The features' tables are opened once for all partitions, at one version; rows go through in chunks, from the table's
files to the record's, so that memory does not grow with their number. Partitions are replaced whole. One that was
scored before by the same versions, from the same tables with the same code, is left as it stands: scoring twice, or
in two runs at once, gives the same table. Of a model divided into segments, the champion of any of them that moves
makes partitions stale.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.records import RecordTable
from include.ratchet.data.tables import Table, count_rows, read_mark, retry_commits
from include.ratchet.errors import PartitionUnavailableError, VersionNotFoundError
from include.ratchet.features import Inputs, Scorer, read_versions
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import CHAMPION, AliasState
from include.ratchet.registry.lineage import hash_code, hash_lock, read_kernels
from include.ratchet.registry.versions import Version, get_version
from include.ratchet.scoring.champions import Champions, find_champions
from include.ratchet.scoring.records import RecordWriter, record_schema
from include.ratchet.scoring.spool import Spool
from include.ratchet.scoring.stream import ahead, group_partitions, read_chunks
from include.ratchet.settings import Settings
from include.ratchet.spec import WHOLE, Model, ModelKey, partition_of

CHUNK_ROWS = 25_000
COMMIT_ROWS = 25_000
"""Small partitions share a commit up to so many rows. The writer keeps a file open for each of them, with buffers for
every column: 100,000 rows of flights took 570 MB, a quarter of that is no slower."""
Progress = Callable[[str, int, int], None]
_KINDS = ("own", "pooled", "unanswered")
_FORMAT = 1
"""Raised when records change their form, so that what was scored before is scored again."""


@dataclass(frozen=True)
class ScoringReport:
    """What became of some partitions.

    Attributes:
        model: name.
        version: the champion that scored; of a model divided into segments the pooled one, None if there is none.
        version_as_of: what it knew, or the newest of the segments' champions. Of partitions before that they may have
            learned; their scores are no forecast.
        scored: partitions that were written.
        unchanged: partitions that stood there already, from the same versions, tables and code.
        unavailable: partitions that have not landed.
        learned: of the scored ones, how many the version may have learned from.
        rows: that were written.
        table_version: of the scores, afterwards.
        location: of the scores.
        own_rows: of the written ones, those that models of segments scored.
        pooled_rows: those that the pooled model of a divided model scored.
        unanswered_rows: those that no model scored, as it has no pooled one; recorded with the reason.
    """

    model: str
    version: int | None
    version_as_of: datetime | None
    scored: tuple[str, ...]
    unchanged: tuple[str, ...]
    unavailable: tuple[str, ...]
    learned: int
    rows: int
    table_version: int | None
    location: str
    own_rows: int = 0
    pooled_rows: int = 0
    unanswered_rows: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "version_as_of": self.version_as_of.isoformat() if self.version_as_of else None}

    def summary(self) -> str:
        """What was scored, in a sentence."""
        by = "models of segments" if self.version is None else f"version {self.version}"
        told = {"own": "models of segments", "pooled": "the pooled model", "unanswered": "none"}
        rows = {kind: getattr(self, f"{kind}_rows") for kind in _KINDS}
        parts = ", ".join(f"{count} by {told[kind]}" for kind, count in rows.items() if count)
        return (
            f"scored {self.rows} rows of {len(self.scored)} partitions with {by}, which knew the world as of "
            f"{self.version_as_of}{f': {parts}' if parts else ''}"
        )


def find_champion(settings: Settings, key: ModelKey) -> Version | None:
    """The version that answers now, if there is one yet."""
    state = ledger.read_aliases(key, settings).get(CHAMPION)
    return None if state is None else get_version(key, state.version, settings)


def score_partitions(
    workspace: Workspace, key: ModelKey, partitions: Sequence[str], *, progress: Progress = lambda *_: None,
    chunk_rows: int = CHUNK_ROWS,
) -> ScoringReport:  # fmt: skip
    """Score partitions of a model's landed rows with the present champions, also those of the past.

    Each row of a model divided into segments is its segment's champion's, or the pooled one's where there is none.

    Features see what was known before each row's prediction time, as in training; label and outcomes are not read.

    Args:
        workspace: the installation.
        key: of the whole model.
        partitions: their keys.
        progress: called as (what, partitions done, partitions in all).
        chunk_rows: rows in memory at a time.

    Raises:
        VersionNotFoundError: there is no champion yet.
        PartitionUnavailableError: none of the partitions has landed.
        SchemaChangedError: a champion needs a feature that the code no longer gives.
        CommitConflictError: other writers kept winning the table.
    """
    model = workspace.model(key.model)
    champions = find_champions(workspace.settings, model)
    if not champions:
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
    with closing(_Scoring(workspace, model, champions, chunk_rows)) as scoring:
        for done in scoring.score(group_partitions(present, COMMIT_ROWS)):
            progress("score", done, len(present))
        return scoring.report(unavailable)


@dataclass(frozen=True)
class _Chunk:
    """Some rows of a group of partitions."""

    keys: tuple[str, ...]
    rows: pa.Table
    features: pa.Table


class _Scoring:
    """One call's work: the champions, the tables that their features read, and what has been written."""

    def __init__(
        self, workspace: Workspace, model: Model, champions: Mapping[str, AliasState], chunk_rows: int
    ) -> None:
        self._workspace, self._model, self._chunk_rows = workspace, model, chunk_rows
        settings = workspace.settings
        self._champions = Champions(settings, model, champions)
        self._versions = read_versions(settings, model)
        self._source = Table(settings, model.name, model.name).open(self._versions[model.name])
        self._counts = count_rows(self._source)
        self._target = RecordTable(settings, model, "scores")
        hashes = {"code_hash": hash_code(model), "lock_hash": hash_lock()}
        self._mark = _fingerprint(self._champions, self._versions, hashes)
        # Another worker's kernels round otherwise, and are no reason to score everything again.
        here = {**hashes, "kernels": read_kernels()}
        self._records = RecordWriter(model, here, workspace.clock(), settings)
        self._answered: dict[tuple[str, ...], Counter[str]] = {}
        self._told: Counter[str] = Counter()
        self._scored: dict[str, None] = {}
        self._unchanged: dict[str, None] = {}
        self._scorer: Scorer | None = None
        self._seen: int | None = None
        """The table's version that this call has looked through, or made."""

    def score(self, groups: Iterable[Sequence[str]]) -> Iterator[int]:
        """Score groups of partitions, each replaced in one commit; yields how many partitions are done.

        Three things go on at once: the features of a chunk, the answers to the one before, and the commit of those
        before that.
        """
        for keys, spool in ahead(self._spool(ahead(self._read(groups)))):
            with closing(spool):
                written = retry_commits(partial(self._commit, keys, spool), self._target.name)
            self._scored |= dict.fromkeys(written)
            self._told += self._answered.pop(keys) if written else Counter()
            self._unchanged |= dict.fromkeys(key for key in keys if key not in written)
            yield len(self._scored) + len(self._unchanged)

    def report(self, unavailable: tuple[str, ...]) -> ScoringReport:
        """What became of them."""
        spec, champions, as_of = self._model.spec, self._champions, self._champions.as_of
        return ScoringReport(
            model=self._model.name,
            version=champions.whole.number if champions.whole else None,
            version_as_of=as_of,
            scored=tuple(self._scored),
            unchanged=tuple(self._unchanged),
            unavailable=unavailable,
            learned=sum(as_of is not None and partition_of(spec, key).start < as_of for key in self._scored),
            rows=sum(self._counts[key] for key in self._scored),
            table_version=self._target.version(),
            location=self._target.location,
            **({} if spec.segments is None else {f"{kind}_rows": self._told[kind] for kind in _KINDS}),
        )

    def close(self) -> None:
        """Let go of the tables."""
        self._records.close()
        if self._scorer is not None:
            self._scorer.close()

    def _read(self, groups: Iterable[Sequence[str]]) -> Iterator[_Chunk]:
        """The rows of what is not there yet, with their features; a group without rows to score gives none."""
        delta = self._target.open()
        self._seen = None if delta is None else int(delta.version())
        for keys in groups:
            stale = self._find_stale(delta, keys)
            self._unchanged |= dict.fromkeys(key for key in keys if key not in stale)
            if stale:
                for rows in read_chunks(self._model, self._source, stale, self._chunk_rows):
                    yield _Chunk(stale, rows, self._features(rows))

    def _spool(self, chunks: Iterator[_Chunk]) -> Iterator[tuple[tuple[str, ...], Spool]]:
        """The records of each group on the disk."""
        folder = self._workspace.settings.home / "spill"
        for keys, group in groupby(chunks, attrgetter("keys")):
            self._answered[keys] = Counter()
            yield keys, Spool(record_schema(self._model), self._answer(group), folder)

    def _answer(self, chunks: Iterable[_Chunk]) -> Iterator[pa.RecordBatch]:
        for chunk in chunks:
            answers = list(self._champions.score(chunk.rows, chunk.features))
            for one in answers:
                pooled = pc.sum(pc.equal(one.segments, WHOLE), min_count=0).as_py()
                found = {"own": len(one.places) - pooled, "pooled": pooled}
                self._answered[chunk.keys].update(found if one.error is None else {"unanswered": len(one.places)})
            yield from self._records.write(chunk.rows, chunk.features, answers).to_batches()

    def _commit(self, keys: tuple[str, ...], spool: Spool) -> tuple[str, ...]:
        """Replace partitions, unless another run was faster with the same; returns those that were."""
        delta = self._target.open()
        is_known = delta is None or delta.version() == self._seen
        if not is_known and not self._find_stale(delta, keys):
            return ()
        whole, as_of = self._champions.whole, self._champions.as_of
        about = {
            "version": str(whole or f"segments of {self._model.name}"), "as_of": as_of.isoformat() if as_of else "",
            "sources": json.dumps(self._versions),
        }  # fmt: skip
        with spool.open() as records:
            marks = {_mark_name(key): self._mark for key in keys}
            self._seen = self._target.commit(delta, records, keys, about, marks)
        return keys

    def _find_stale(self, delta: Any | None, keys: Sequence[str]) -> tuple[str, ...]:
        return tuple(key for key in keys if read_mark(delta, _mark_name(key)) != self._mark)

    def _features(self, rows: pa.Table) -> pa.Table:
        if self._scorer is None:
            # Not before there is something to score: reading the history is most of the work for a single day.
            settings = self._workspace.settings
            inputs = Inputs.open(settings, self._model, self._versions)
            self._scorer = Scorer(self._model, ModelKey(self._model.name), inputs, settings=settings)
        return self._scorer.score(rows)


def _fingerprint(champions: Champions, versions: Mapping[str, int], hashes: Mapping[str, str]) -> int:
    """The same for everything that gives the same records, as a number that a table can remember."""
    decisive = [_FORMAT, *champions.identity, dict(sorted(versions.items())), dict(sorted(hashes.items()))]
    return int(hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:15], 16)


def _mark_name(partition: str) -> str:
    return f"scored:{partition}"
