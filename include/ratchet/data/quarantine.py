"""The quarantine: rows that could not be landed, with the reason and the place where they stood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from include.ratchet.data.batches import QuarantinedRow
from include.ratchet.data.tables import PARTITION_COLUMN, Table, read_partitions, retry_commits
from include.ratchet.settings import Settings

_CONTENT = ("reason", "position", "row")
_SCHEMA = pa.schema(
    [(PARTITION_COLUMN, pa.string()), ("reason", pa.string()), ("position", pa.string()), ("row", pa.string()),
     ("run", pa.string())]
)  # fmt: skip


def quarantine_table(settings: Settings, model_name: str, table: str) -> Table:
    """The quarantine of one table: `reason`, `position`, `row` (JSON) and `run`, by partition."""
    return Table(settings, model_name, f"{table}__quarantine")


def keep_quarantined(target: Table, found: Mapping[str, Sequence[QuarantinedRow]], run_id: str) -> int:
    """Make the quarantine of some partitions hold exactly the rows found.

    A partition that holds them already is left alone, with the run that found them first; one whose rows have been
    repaired at the source is emptied (its past stays in the table's history).

    Returns:
        How many partitions changed.
    """
    return retry_commits(lambda: _replace(target, found, run_id), target.name)


def _replace(target: Table, found: Mapping[str, Sequence[QuarantinedRow]], run_id: str) -> int:
    delta = target.open()
    held: dict[str, list[tuple[str, ...]]] = {}
    if delta is not None:
        present = read_partitions(delta, found).to_pylist()
        for row in present:
            held.setdefault(row[PARTITION_COLUMN], []).append(tuple(row[name] for name in _CONTENT))
    wanted = {key: sorted((row.reason, row.position, row.raw) for row in rows) for key, rows in found.items()}
    changed = [key for key in wanted if sorted(held.get(key, [])) != wanted[key]]
    if not changed:
        return 0
    rows = [
        {PARTITION_COLUMN: key, "run": run_id, **dict(zip(_CONTENT, content, strict=True))}
        for key in changed
        for content in wanted[key]
    ]
    target.commit(delta, pa.Table.from_pylist(rows, _SCHEMA), changed, {"run": run_id}, {})
    return len(changed)
