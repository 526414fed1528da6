"""Versioned tables: Delta Lake on a folder or a bucket, one Delta partition for each partition of event time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from include.ratchet.data.store import delta_options, explain_failure
from include.ratchet.errors import CommitConflictError, RatchetError
from include.ratchet.settings import Settings

PARTITION_COLUMN = "_partition"
"""The technical column of every landed row: the key of its partition."""
_ATTEMPTS = 40
_FAILURES = 5
"""How often a cycle of reads and a commit may be cut off; each time the store is given `store.PATIENCE_S`."""
_FOREVER = "interval 36500 days"
_CONFIGURATION = {
    # By default a table forgets its versions after a month; a model must be reproducible for as long as it is known.
    "delta.logRetentionDuration": _FOREVER,
    "delta.deletedFileRetentionDuration": _FOREVER,
}
_Result = TypeVar("_Result")


class Table:
    """One Delta table of a model."""

    def __init__(self, settings: Settings, model_name: str, table: str) -> None:
        self.location = f"{settings.store}/tables/{model_name}/{table}"
        self.name = f"{model_name}.{table}"
        self._options = delta_options(settings.storage_options) if settings.store.startswith("s3://") else {}

    def version(self) -> int | None:
        """The newest version, None before the first landing."""
        delta = self.open()
        return None if delta is None else int(delta.version())

    def open(self, version: int | None = None) -> Any | None:
        """The `DeltaTable`, at its newest or at one version; None before the first landing.

        Raises:
            StoreError: the bucket cannot be read.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            return DeltaTable(self.location, version=version, storage_options=self._options or None)
        except TableNotFoundError:
            return None
        except OSError as error:
            if not self._options:
                raise
            raise explain_failure(error, self.location, self._options.get("AWS_ENDPOINT_URL", "")) from error

    def schema(self, version: int | None = None) -> pa.Schema | None:
        """Column names and Arrow types, without the technical column; None before the first landing."""
        delta = self.open(version)
        return None if delta is None else read_schema(delta)

    def dataset(self, version: int | None = None) -> pads.Dataset:
        """The table as a pyarrow dataset, to scan parts of it.

        Raises:
            FileNotFoundError: nothing has been landed yet.
        """
        return self._require(version).to_pyarrow_dataset()

    def files(self, version: int | None = None) -> list[str]:
        """The Parquet files that make up a version, as paths or `s3://` addresses.

        `_partition` stands in the paths only (`.../_partition=2013-01-05/...`), and a file written before a column
        was added does not have it: read them by name, with Hive partitioning.
        """
        return sorted(self._require(version).file_uris())

    def read(
        self, partitions: Sequence[str] | None = None, version: int | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Rows of some partitions (all, if none are named), with the technical column unless `columns` leaves it out.

        Raises:
            FileNotFoundError: nothing has been landed yet.
        """
        return read_partitions(self._require(version), partitions, columns)

    def row_counts(self, version: int | None = None) -> dict[str, int]:
        """Rows of each partition, from the table's log alone; empty before the first landing."""
        delta = self.open(version)
        return {} if delta is None else count_rows(delta)

    def _require(self, version: int | None) -> Any:
        delta = self.open(version)
        if delta is None:
            message = f"{self.name}: nothing has been landed at {self.location} yet; land a partition first"
            raise FileNotFoundError(message)
        return delta

    def commit(
        self,
        delta: Any | None,
        rows: pa.Table | pa.RecordBatchReader,
        keys: Sequence[str],
        metadata: Mapping[str, str],
        marks: Mapping[str, int],
    ) -> int:
        """Replace whole partitions in one commit, on top of what `delta` has read.

        Args:
            delta: the table as it was read; None to create it.
            rows: all rows of the partitions, with the technical column; of a reader only a part is in memory at a time.
            keys: the partitions that are replaced.
            metadata: what the commit's log entry says.
            marks: numbers to remember by name, see `read_mark`.

        Returns:
            The new version.

        Raises:
            deltalake.exceptions.DeltaError: another writer was faster; see `retry_commits`.
        """
        from deltalake import CommitProperties, Transaction, write_deltalake

        properties = CommitProperties(
            custom_metadata=dict(metadata),
            app_transactions=[Transaction(name, number) for name, number in marks.items()] or None,
            # Of two writers that create the table at once, a retry would append the second one's rows to the first's.
            max_commit_retries=0 if delta is None else None,
        )
        if delta is None:
            write_deltalake(
                self.location, rows, mode="error", partition_by=[PARTITION_COLUMN], commit_properties=properties,
                storage_options=self._options or None, configuration=_CONFIGURATION,
            )  # fmt: skip
            return 0
        listed = ", ".join(f"'{key}'" for key in keys)
        grown = set(rows.schema.names) - {PARTITION_COLUMN} - set(read_schema(delta).names)
        write_deltalake(
            delta, rows, mode="overwrite", predicate=f"{PARTITION_COLUMN} IN ({listed})", commit_properties=properties,
            schema_mode="merge" if grown else None,
        )  # fmt: skip
        return int(delta.version())

    def merge(self, rows: pa.Table, on: Sequence[str], *, updates: bool = False) -> int:
        """Insert the rows that are not there yet, in one commit; with `updates`, write the others anew.

        Args:
            rows: each value of `on` once; no technical column.
            on: the columns that say which row is which, none of them null.
            updates: otherwise what is there stays as it is.

        Returns:
            The new version.

        Raises:
            deltalake.exceptions.DeltaError: another writer was faster; see `retry_commits`.
        """
        from deltalake import CommitProperties, write_deltalake

        delta = self.open()
        if delta is None:
            write_deltalake(
                self.location, rows, mode="error", storage_options=self._options or None,
                configuration=_CONFIGURATION, commit_properties=CommitProperties(max_commit_retries=0),
            )  # fmt: skip
            return 0
        same = " AND ".join(f"old.{name} = new.{name}" for name in on)
        merging = delta.merge(rows, same, source_alias="new", target_alias="old").when_not_matched_insert_all()
        (merging.when_matched_update_all() if updates else merging).execute()
        return int(delta.version())


def read_schema(delta: Any) -> pa.Schema:
    """A Delta table's columns without the technical one."""
    schema = pa.schema(delta.schema().to_arrow())
    return pa.schema([field for field in schema if field.name != PARTITION_COLUMN])


def count_rows(delta: Any) -> dict[str, int]:
    """Rows of each partition of an open Delta table."""
    actions = pa.table(delta.get_add_actions(flatten=True))
    counts: dict[str, int] = {}
    keys = actions[f"partition.{PARTITION_COLUMN}"].to_pylist()
    for key, rows in zip(keys, actions["num_records"].to_pylist(), strict=True):
        counts[key] = counts.get(key, 0) + rows
    return dict(sorted(counts.items()))


def read_mark(delta: Any | None, name: str) -> int | None:
    """A number that an earlier commit remembered by name."""
    return None if delta is None else delta.transaction_version(name)


def read_partitions(
    delta: Any, partitions: Iterable[str] | None, columns: Sequence[str] | None = None,
    where: pads.Expression | None = None,
) -> pa.Table:  # fmt: skip
    """Rows of some partitions of an open Delta table; of `where` those alone, without holding the others."""
    keys = None if partitions is None else list(partitions)
    # Files are chosen before pyarrow describes each of them, which is slow over thousands of partitions.
    pruned = [(PARTITION_COLUMN, "in", keys)] if keys else None
    dataset = delta.to_pyarrow_dataset(file_pruning_predicate=pruned)
    chosen = None if keys is None else pads.field(PARTITION_COLUMN).isin(pa.array(keys, pa.string()))
    if where is not None:
        chosen = where if chosen is None else chosen & where
    return dataset.to_table(columns=None if columns is None else list(columns), filter=chosen)


def split_partitions(rows: pa.Table) -> dict[str, pa.Table]:
    """Rows by the key of their partition, without the technical column."""
    keys = rows[PARTITION_COLUMN]
    bare = rows.drop_columns([PARTITION_COLUMN])
    order = pc.sort_indices(keys)
    sorted_keys, sorted_rows = keys.take(order), bare.take(order)
    found, offset = {}, 0
    for run in pc.run_end_encode(sorted_keys.combine_chunks()).values.to_pylist() if rows.num_rows else ():
        length = pc.sum(pc.equal(sorted_keys, run)).as_py()
        found[run] = sorted_rows.slice(offset, length)
        offset += length
    return found


def retry_commits(attempt: Callable[[], _Result], name: str, *, attempts: int = _ATTEMPTS) -> _Result:
    """Run a read-merge-commit cycle again for as long as other writers win, or the store loses its thread.

    Whoever got no answer to a commit does not know whether it was made: the cycle must read that from the table.

    Raises:
        CommitConflictError: they kept winning.
        StoreError: the store went away again and again, or for too long.
    """
    from deltalake.exceptions import CommitFailedError, DeltaError

    failures = 0
    for tried in range(attempts):
        try:
            return attempt()
        except CommitFailedError:
            pass
        except DeltaError as error:
            # Two writers that create the table at once: the slower one learns that it exists now.
            if "already exists" not in str(error):
                raise
        except OSError as error:
            if isinstance(error, RatchetError) or "S3" not in str(error):
                raise
            failures += 1
            if failures > _FAILURES:
                raise explain_failure(error, name) from error
        time.sleep(random.uniform(0, min(2.0, 0.02 * 2**tried)))  # noqa: S311
    message = f"{name}: other writers won {attempts} commits in a row; run it again when they are done"
    raise CommitConflictError(message)
