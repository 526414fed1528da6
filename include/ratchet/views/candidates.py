"""A version and how it was judged: gates, metrics, slices, fairness, and what it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from include.ratchet.errors import VersionNotFoundError
from include.ratchet.registry import ledger
from include.ratchet.registry.artifacts import open_version
from include.ratchet.registry.database import engine_of
from include.ratchet.registry.database import ledger as rows_of
from include.ratchet.registry.versions import version_url
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey


@dataclass(frozen=True)
class Candidate:
    """A judged version, as lists show it.

    Attributes:
        version: its number.
        at: when it was judged.
        as_of: what it knew.
        outcome: promote, hold or reject.
        reason: why.
        judged_against: the champion then.
        aliases: that name it now.
        metrics: by name.
        failed: names of the gates that it did not pass.
        gates: how many there were.
    """

    version: int
    at: datetime
    as_of: datetime | None
    outcome: str
    reason: str
    judged_against: int | None
    aliases: tuple[str, ...]
    metrics: Mapping[str, float]
    failed: tuple[str, ...]
    gates: int


@dataclass(frozen=True)
class Candidates:
    """A page of a model key's judged versions, newest first."""

    rows: tuple[Candidate, ...]
    total: int
    offset: int
    limit: int


@dataclass(frozen=True)
class CandidateDetails:
    """Everything about one version.

    Attributes:
        version: its number.
        gates: of its verdict: name, passed, found, expected, refusal.
        outcome: promote, hold or reject.
        report: its evaluation: metrics with intervals, champion, slices, weak spots, fairness, calibration, cost.
        lineage: what it was made from: snapshot, table versions, window, search, parameters, commit, hashes.
        snapshot: of its training set: rows, partitions and columns.
        url: its page in MLflow.
        card: path of its model card below the plugin's own.
    """

    version: int
    gates: tuple[Mapping[str, Any], ...]
    outcome: str
    report: Mapping[str, Any]
    lineage: Mapping[str, Any]
    snapshot: Mapping[str, Any]
    url: str
    card: str


def read_candidates(settings: Settings, key: ModelKey, offset: int, limit: int) -> Candidates:
    """A page of the judged versions of a model key."""
    own = [rows_of.c.model == key.model, rows_of.c.segment == key.segment, rows_of.c.kind == "verdict"]
    with engine_of(settings.database_url).connect() as connection:
        total = connection.execute(select(func.count()).select_from(rows_of).where(*own)).scalar_one()
        query = select(rows_of).where(*own).order_by(rows_of.c.id.desc()).offset(offset).limit(limit)
        rows = [ledger.entry_of(row) for row in connection.execute(query).mappings()]
    names: dict[int, list[str]] = {}
    for alias, one in sorted(ledger.read_aliases(key, settings).items()):
        names.setdefault(one.version, []).append(alias)
    return Candidates(
        tuple(_candidate(row, names.get(row.version or 0, [])) for row in rows), total, offset, limit
    )  # fmt: skip


def read_candidate(settings: Settings, key: ModelKey, number: int) -> CandidateDetails:
    """One version, out of MLflow's server.

    Raises:
        VersionNotFoundError: there is no such version, or its files were removed.
        RegistryUnavailableError: the server cannot be reached or does not answer in order.
    """
    held = open_version(key.slug, number, settings)
    files = {name: json.loads(held.read(f"{name}.json")) for name in ("report", "verdict", "snapshot")}
    try:
        lineage = json.loads(held.tags["ratchet.lineage"])
    except KeyError:
        message = f"{held.name} has no lineage: it was not registered by a training; see {held.settings.mlflow_url}"
        raise VersionNotFoundError(message) from None
    return CandidateDetails(
        number, tuple(files["verdict"]["gates"]), files["verdict"]["outcome"], files["report"], lineage,
        files["snapshot"], version_url(key, number, settings), f"cards/{key.slug}/{number}/",
    )  # fmt: skip


def _candidate(row: ledger.Entry, aliases: list[str]) -> Candidate:
    outcome, _, reason = row.reason.partition(": ")
    gates = row.details.get("gates", ())
    return Candidate(
        row.version or 0, row.recorded_at, row.as_of, outcome, reason, row.details.get("judged_against"),
        tuple(aliases), row.details.get("metrics", {}), tuple(one["name"] for one in gates if not one["passed"]),
        len(gates),
    )  # fmt: skip
