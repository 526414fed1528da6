"""Segments that come and go: new ones appear by themselves, those without rows for long are retired."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from include.ratchet.data.segments import segments_of
from include.ratchet.data.tables import Table
from include.ratchet.pipeline.requests import TrainingRequest
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.aliases import follow
from include.ratchet.registry.fleet import pending_requests, read_champions, read_newest, record_all, retire
from include.ratchet.registry.ledger import Entry
from include.ratchet.spec import WHOLE, ModelKey, ModelSpec

EVENT = "event"


def follow_segments(
    workspace: Workspace, request: TrainingRequest, present: dict[str, tuple[int, datetime]]
) -> set[str]:
    """Enter in the ledger which segments have appeared, come back or gone, and retire those that have.

    Args:
        workspace: the installation.
        request: of the whole training; a backfill changes nothing.
        present: of each segment of the snapshot its rows, and the newest event time.

    Returns:
        The segments that are retired now.
    """
    spec, settings = workspace.model(request.key.model).spec, workspace.settings
    known = read_newest(spec.name, "segment", settings)
    retired = {segment for segment, entry in known.items() if entry.details.get(EVENT) == "retired"}
    if spec.segments is None or request.is_backfill:
        return retired
    since = request.as_of - spec.segments.retire_after
    fresh = {segment for segment, (_, newest) in present.items() if newest >= since}
    idle = (known.keys() - retired | read_champions(spec.name, settings).keys()) - fresh - {WHOLE}
    if idle:
        idle -= _seen(workspace, spec, since, request.as_of)
    appeared = [
        _entry(workspace, request, segment, "returned" if segment in retired else "appeared", known.get(segment),
               f"{present[segment][0]} labelled rows")
        for segment in sorted(fresh - (known.keys() - retired))
    ]  # fmt: skip
    record_all(appeared, settings)
    answers = pending_requests(spec.name, settings) if idle else ()
    for segment in sorted(idle):
        reason = f"no rows since {since:%Y-%m-%d}"
        entry = _entry(workspace, request, segment, "retired", known.get(segment), reason,
                       answers=[one.idempotency_key for one in answers if one.key.segment == segment])  # fmt: skip
        follow(entry.key, retire(entry, settings), settings)
    return (retired - fresh) | idle


def _seen(workspace: Workspace, spec: ModelSpec, since: datetime, until: datetime) -> set[str]:
    """Segments of rows that have landed since an instant, labelled or not."""
    by = spec.segments.by if spec.segments else ()
    time = pc.field(spec.event_time)
    landed = Table(workspace.settings, spec.name, spec.name).dataset()
    rows = landed.to_table(columns=list(by), filter=(time >= since) & (time < until))
    return set(segments_of(rows, by).dictionary.to_pylist())


def _entry(workspace: Workspace, request: TrainingRequest, segment: str, event: str, before: Entry | None,
           reason: str, **details: Any) -> Entry:  # fmt: skip
    key = ModelKey(request.key.model, segment)
    return Entry(
        key=key, kind="segment", idempotency_key=f"segment:{key.slug}:{event}:{before.id if before else 0}",
        actor=request.actor, reason=f"{event}: {reason}", recorded_at=workspace.clock(), as_of=request.as_of,
        details={EVENT: event, **details},
    )  # fmt: skip
