"""What is validated: one landed partition, many of them at once, and a snapshot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from include.ratchet.data.blobs import open_blobs
from include.ratchet.data.snapshots import Snapshot
from include.ratchet.data.tables import Table
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, Partition
from include.ratchet.validation.checks import Check, CheckResult, run_checks
from include.ratchet.validation.frames import to_frame
from include.ratchet.validation.history import RowHistory
from include.ratchet.validation.pages import draw_page
from include.ratchet.validation.reports import ValidationReport
from include.ratchet.validation.suites import (
    expect_columns,
    expect_counts,
    expect_filled,
    expect_freshness,
    expect_keys,
    expect_label,
    expect_rows,
    expect_some_rows,
    expect_times,
    load_own,
)

SNAPSHOT = "snapshot"
"""The name under which a model's own expectations are asked for a snapshot."""


def validate_partition(
    model: Model, table: str, partition: Partition, *, settings: Settings, run_id: str, as_of: datetime
) -> ValidationReport:
    """Validate one landed partition; a partition that is not there has no rows, which its row count tells.

    Args:
        model: whose table it is.
        table: the table's name.
        partition: what has been landed; a static table's is `landing.static_partition()`.
        settings: where the table is, and where results go.
        run_id: names the results' folder.
        as_of: the instant at which freshness is judged.
    """
    spec = model.spec.table(table)
    landed = Table(settings, model.name, table)
    rows = _read_rows(model, table, landed, [partition])
    bounds = RowHistory(model, table, landed.row_counts()).find_range(partition)
    expectations = [
        *_expect_table(model, table, rows),
        *([expect_times(spec.event_time, partition.start, partition.end)] if spec.event_time else []),
        *expect_freshness(spec, partition, as_of),
        expect_rows(spec, bounds),
    ]
    check = Check(f"{table} {partition.key}", to_frame(rows), expectations)
    return _conclude(model, table, partition.key, [check], rows.num_rows, settings, run_id, as_of)


def validate_partitions(
    model: Model, table: str, partitions: Sequence[Partition], *, settings: Settings, run_id: str, as_of: datetime
) -> ValidationReport:
    """Validate many landed partitions in one pass: all their rows together, and each one's row count by itself.

    `max_null_share` is judged over the rows together, freshness at the last partition's end.
    """
    if len(partitions) == 1:
        return validate_partition(model, table, partitions[0], settings=settings, run_id=run_id, as_of=as_of)
    spec = model.spec.table(table)
    landed = Table(settings, model.name, table)
    rows = _read_rows(model, table, landed, partitions)
    first, last = partitions[0], partitions[-1]
    expectations = [
        *_expect_table(model, table, rows),
        *([expect_times(spec.event_time, first.start, last.end)] if spec.event_time else []),
        *expect_freshness(spec, last, as_of),
    ]
    subject = name_subject(partitions)
    checks = [
        Check(f"{table} {subject}", to_frame(rows), expectations),
        Check(f"{table} row counts", _count_frame(model, table, partitions, landed), list(expect_counts(spec))),
    ]
    return _conclude(model, table, subject, checks, rows.num_rows, settings, run_id, as_of)


def validate_snapshot(model: Model, snapshot: Snapshot, *, settings: Settings, run_id: str) -> ValidationReport:
    """Validate a training set: the spec's rules for the columns it has, keys, window, label, and no empty feature."""
    table = snapshot.read()
    spec = model.spec.table(model.name)
    names = table.column_names
    keys = [key for key in spec.keys if key in names]
    known = {*spec.columns, *spec.keys, model.spec.event_time, model.spec.label.column}
    expectations = [
        expect_some_rows(),
        *expect_columns(spec, (), table, is_partial=True),
        *([expect_keys(keys)] if len(keys) == len(spec.keys) else []),
        *(
            [expect_times(model.spec.event_time, snapshot.window_start, snapshot.as_of)]
            if model.spec.event_time in names
            else []
        ),
        *(expect_label(model) if model.spec.label.column in names else []),
        *expect_filled([name for name in names if name not in known]),
        *load_own(model, SNAPSHOT),
    ]
    check = Check(f"snapshot {snapshot.id[:12]}", to_frame(table), expectations)
    return _conclude(model, SNAPSHOT, snapshot.id, [check], table.num_rows, settings, run_id, snapshot.as_of)


def _expect_table(model: Model, table: str, rows: pa.Table) -> list[object]:
    """What holds for a table's rows wherever they lie."""
    spec = model.spec.table(table)
    label = model.spec.label
    outcomes = (label.column, *label.outcomes, label.available_time or "") if table == model.name else ()
    if outcomes and label.annotations and label.column not in rows.column_names:
        # People give it all alone.
        spec = spec.model_copy(update={"columns": {k: v for k, v in spec.columns.items() if k != label.column}})
    return [*expect_columns(spec, outcomes, rows), expect_keys(spec.keys), *load_own(model, table)]


def _read_rows(model: Model, table: str, landed: Table, partitions: Sequence[Partition]) -> pa.Table:
    if landed.version() is not None:
        return landed.read([partition.key for partition in partitions])
    from include.ratchet.data.schemas import frame_table

    frame = frame_table(model, table, None)
    types = dict.fromkeys(frame.required, pa.string()) | frame.fixed_types()
    return pa.table({name: pa.nulls(0, kind) for name, kind in types.items()})


def _count_frame(model: Model, table: str, partitions: Sequence[Partition], landed: Table) -> object:
    counts = landed.row_counts()
    history = RowHistory(model, table, counts)
    ranges = [history.find_range(partition) for partition in partitions]
    return to_frame(
        pa.table(
            {
                "partition": [partition.key for partition in partitions],
                "rows": pa.array([counts.get(partition.key, 0) for partition in partitions], pa.int64()),
                "low": pa.array([bounds.low for bounds in ranges], pa.int64()),
                "high": pa.array([bounds.high for bounds in ranges], pa.int64()),
            }
        )
    )


def _conclude(
    model: Model,
    table: str,
    subject: str,
    checks: Sequence[Check],
    rows: int,
    settings: Settings,
    run_id: str,
    as_of: datetime,
) -> ValidationReport:
    results = run_checks(checks, model.name)
    blobs = open_blobs(settings)
    folder = f"{folder_of(model.name, table, subject)}/{_safe(run_id)}"
    report = ValidationReport(
        model=model.name,
        table=table,
        subject=subject,
        run_id=run_id,
        as_of=as_of.astimezone(UTC).isoformat(),
        rows=rows,
        checked=sum(len(check.expectations) for check in checks),
        failed=tuple(finding for result in results for finding in result.failed),
        warned=tuple(finding for result in results for finding in result.warned),
        results_path=blobs.address(f"{folder}/results.json"),
        docs_path=blobs.address(f"{folder}/index.html"),
    )
    blobs.put(f"{folder}/results.json", _render_json(report, results))
    blobs.put(f"{folder}/index.html", _render_page(report, results))
    return report


def _render_json(report: ValidationReport, results: Sequence[CheckResult]) -> bytes:
    whole = {**report.to_dict(), "results": [result.result.to_json_dict() for result in results]}
    return json.dumps(whole, indent=1, default=str).encode()


def _render_page(report: ValidationReport, results: Sequence[CheckResult]) -> bytes:
    facts = [
        ("Result", "passed" if report.passed else "failed"),
        ("Rows", str(report.rows)),
        ("Expectations", f"{report.checked} checked, {len(report.failed)} failed, {len(report.warned)} warned"),
        ("As of", report.as_of),
        ("Run", report.run_id),
        *(("Failed", str(finding)) for finding in report.failed),
        *(("Warned", str(finding)) for finding in report.warned),
    ]
    return draw_page(f"{report.model}: {report.table} {report.subject}", facts, results).encode()


def folder_of(model: str, table: str, subject: str) -> str:
    """Where the results of a partition, of several or of a snapshot are, by run."""
    return f"validation/{model}/{table}/{_safe(subject)}"


def read_results(settings: Settings, model: str, table: str, subject: str, run_id: str) -> dict[str, Any] | None:
    """What a validation found: its report, and under `results` every expectation; None if there was none.

    Args:
        settings: where results are.
        model: the model's name.
        table: the table's, or `snapshot`.
        subject: the partition's key, the range of keys, or the snapshot's id.
        run_id: the run that asked.
    """
    content = open_blobs(settings).get(f"{folder_of(model, table, subject)}/{_safe(run_id)}/results.json")
    return None if content is None else dict(json.loads(content))


def name_subject(partitions: Sequence[Partition]) -> str:
    """What a report calls some partitions that were validated together."""
    first, last = partitions[0].key, partitions[-1].key
    return first if len(partitions) == 1 else f"{first}..{last}"


def _safe(text: str) -> str:
    """A name for a folder: run ids hold colons and plus signs."""
    return "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in text)
