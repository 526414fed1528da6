"""Request records and feedback as tables: everything about each prediction, and what became known of it later.

Two Delta tables for each model, `requests` and `feedback`, partitioned by the day of event time. Rows are only
appended, each log's exactly once: a commit carries the log's name and its last number, so that a shipment cut off
between the commit and the log's own note is not repeated. A third one, `scores`, has the records of batch scoring,
which replaces whole partitions (`Table.commit`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from include.ratchet.data.tables import PARTITION_COLUMN, Table, count_rows, read_mark, read_partitions, read_schema
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelSpec, partition_of

Kind = Literal["requests", "scores", "feedback"]
FEATURE = "feature_"
"""Prefix of the columns that hold a prediction's feature row."""
_TIME = pa.timestamp("us", "UTC")
_PLAIN = r"^[ !#-\[\]-~]*$"
"""Text that JSON writes as it stands."""

REQUESTS = pa.schema([
    ("request_id", pa.string()),  # the caller's, or made
    ("row", pa.int32()),  # of the request
    ("model", pa.string()),
    ("segment", pa.string()),  # of the model that answered: `version` is one of its
    ("pooled_for", pa.string()),  # the row's own segment where the pooled model stood in for it
    ("key", pa.string()),  # by which the label comes, see `record_key`
    ("event_time", _TIME),
    ("prediction_time", _TIME),
    ("received_at", _TIME),
    ("answered_at", _TIME),
    ("latency_ms", pa.float64()),
    ("version", pa.int32()),
    ("route", pa.string()),  # champion, challenger, shadow, defer, holdout, pinned or batch
    ("mode", pa.string()),  # of the hand-over: direct, shadow, canary, ab, blue_green, defer
    ("deployed_at", _TIME),  # when this version was loaded
    ("score", pa.float64()),  # probability of the positive class, or of the likeliest one, or the value
    ("output", pa.string()),  # JSON of what was answered, or, held out, would have been; null if nothing was
    ("error", pa.string()),  # why there is no score
    ("payload", pa.string()),  # JSON of the row as it came, masked as the spec says
    ("known_until", _TIME),  # what the online features knew
    ("is_stale", pa.bool_()),
    ("caller", pa.string()),  # name of the API key
    ("code_hash", pa.string()),
    ("lock_hash", pa.string()),
    ("kernels", pa.string()),  # that the score was computed with, see `registry.lineage.read_kernels`
    ("holdout", pa.float64()),  # share of the keys that were held out when it was drawn whether this one is; else null
])  # fmt: skip
"""Columns of a request record, followed by `feature_<name>` for each feature."""

FEEDBACK = pa.schema([
    ("feedback_id", pa.string()),
    ("request_id", pa.string()),  # one of the two
    ("row", pa.int32()),
    ("key", pa.string()),
    ("kind", pa.string()),  # label, human (a person's answer to a deferred request) or unhelpful
    ("value", pa.string()),  # JSON
    ("available_time", _TIME),  # when it became known
    ("received_at", _TIME),
    ("caller", pa.string()),
])  # fmt: skip
"""Columns of what callers say of a prediction afterwards."""

SCHEMAS: dict[Kind, pa.Schema] = {"requests": REQUESTS, "scores": REQUESTS, "feedback": FEEDBACK}


class RecordTable(Table):
    """A model's request records, batch scores or feedback."""

    def __init__(self, settings: Settings, model: Model, kind: Kind) -> None:
        super().__init__(settings, model.name, kind)
        self.location = f"{settings.store}/{kind}/{model.name}"
        self._spec, self._kind = model.spec, kind

    def append(self, rows: Sequence[Mapping[str, Any]], log: str, last: int) -> bool:
        """Append a log's rows, unless they are there already.

        Args:
            rows: by column name; features as `feature_<name>`. Their times are aware datetimes.
            log: the log's name.
            last: the log's number of the last row.

        Returns:
            Whether anything was appended.
        """
        return self.append_table(to_table(self._spec, self._kind, rows), log, last)

    def append_table(self, rows: pa.Table, log: str, last: int) -> bool:
        """The same for rows that are a table already, with the technical column."""
        from deltalake import CommitProperties, Transaction, write_deltalake

        delta = self.open()
        if _last_of(delta, log) >= last:
            return False
        write_deltalake(
            delta or self.location, rows, mode="append", partition_by=[PARTITION_COLUMN], schema_mode="merge",
            storage_options=self._options or None,
            commit_properties=CommitProperties(app_transactions=[Transaction(log, last)]),
        )  # fmt: skip
        return True

    def last_of(self, log: str) -> int:
        """The number of the last row that a log has appended; -1 before the first."""
        return _last_of(self.open(), log)

    def compact(self) -> int:
        """Make few files of many, and remove those that no version of the last week needs; returns how many went."""
        delta = self.open()
        if delta is None:
            return 0
        delta.optimize.compact()
        removed: list[str] = delta.vacuum(dry_run=False)
        return len(removed)

    def expire(self, before: datetime) -> int:
        """Remove the rows that were recorded before an instant, whatever day they are about; returns how many."""
        delta = self.open()
        if delta is None:
            return 0
        instant = before.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
        removed: int = delta.delete(f"received_at < arrow_cast('{instant}', 'Timestamp(Microsecond, Some(\"UTC\"))')")[
            "num_deleted_rows"
        ]
        return removed

    def between(
        self, start: datetime, end: datetime, columns: Sequence[str] | None = None,
        where: pads.Expression | None = None,
    ) -> pa.Table:  # fmt: skip
        """Rows whose event time (of feedback: time of arrival) lies in `[start, end)`; no row before the first append.

        Columns that no row has yet are null. Of `where` those rows alone are read, without holding the others.
        """
        delta = self.open()
        if delta is None:
            schema = SCHEMAS[self._kind]
            return schema.empty_table().select(columns or schema.names)
        time = _time_of(self._kind)
        first, last = partition_of(self._spec, start).key, partition_of(self._spec, end).key
        inside = [key for key in count_rows(delta) if first <= key <= last]
        there = {*read_schema(delta).names, PARTITION_COLUMN}
        wanted = None if columns is None else [name for name in dict.fromkeys([*columns, time]) if name in there]
        rows = read_partitions(delta, inside or [""], wanted, where)
        known = pc.and_(
            pc.greater_equal(rows[time], pa.scalar(start, _TIME)), pc.less(rows[time], pa.scalar(end, _TIME))
        )
        rows = rows.filter(known)
        if columns is None:
            return rows
        for field in SCHEMAS[self._kind]:
            if field.name in columns and field.name not in rows.column_names:
                rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
        return rows.select([name for name in columns if name in rows.column_names])


def to_table(spec: ModelSpec, kind: Kind, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows in a table's types, with the technical column."""
    columns = {field.name: pa.array([row.get(field.name) for row in rows], field.type) for field in SCHEMAS[kind]}
    names = dict.fromkeys(name for row in rows for name in row if name.startswith(FEATURE))
    columns |= {name: pa.array([row.get(name) for row in rows]) for name in names}
    keys = [partition_of(spec, row[_time_of(kind)]).key for row in rows]
    return pa.table({**columns, PARTITION_COLUMN: pa.array(keys, pa.string())})


def _time_of(kind: Kind) -> str:
    """The column whose day is a row's partition."""
    return "received_at" if kind == "feedback" else "event_time"


def _last_of(delta: Any | None, log: str) -> int:
    found = read_mark(delta, log)
    return -1 if found is None else found


def record_key(spec: ModelSpec, row: Mapping[str, Any]) -> str:
    """What ties a prediction to its label: the row's keys, as JSON. Times are ISO 8601 in UTC."""
    values = [row.get(name) for name in spec.keys]
    return json.dumps([value.isoformat() if isinstance(value, datetime) else value for value in values])


def record_keys(spec: ModelSpec, rows: pa.Table) -> pa.Array:
    """`record_key` of many rows, (n_rows,) of strings: a single key of plain text or whole numbers at once."""
    column = rows[spec.keys[0]].combine_chunks()
    if len(spec.keys) == 1 and not column.null_count:
        if pa.types.is_integer(column.type):
            return pc.binary_join_element_wise("[", pc.cast(column, pa.string()), "]", "")
        is_text = pa.types.is_string(column.type)
        if is_text and pc.all(pc.match_substring_regex(column, _PLAIN), min_count=0).as_py():
            return pc.binary_join_element_wise('["', column, '"]', "")
    return pa.array([record_key(spec, row) for row in rows.select(list(spec.keys)).to_pylist()], pa.string())
