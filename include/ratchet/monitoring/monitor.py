"""Monitoring a model: which partitions are looked at, by whom asked, and what follows.

    plan -> profile (many) -> compare -> judge -> report -> act

Each step takes names and finds what the earlier ones left: profiles in a table, looks in the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from include.ratchet.data.records import RecordTable
from include.ratchet.monitoring import store
from include.ratchet.monitoring.compare import compare as compare_looks
from include.ratchet.monitoring.incidents import Incident, follow
from include.ratchet.monitoring.observe import observe, observe_labels, records_of
from include.ratchet.monitoring.policy import Decision, PastRequest, decide
from include.ratchet.monitoring.service import USUAL
from include.ratchet.monitoring.signals import Look
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.fleet import read_champions
from include.ratchet.registry.ledger import CHAMPION, Entry
from include.ratchet.rollout.revert import revert
from include.ratchet.rollout.transitions import Order
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey, ModelSpec, partition_of

BATCH_KEYS = 200
"""Model keys of one task: a day of so many small ones takes some ten seconds."""
LOOKS = 60
"""Looks that a policy sees."""
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Judgement:
    """What a look led to.

    Attributes:
        look: at the newest partition.
        decision: of the policy.
        incident: as this look wrote it, now or before; None if it changed nothing.
        done: what was done about it, in words; empty if nothing.
        request: idempotency key of the retraining request, if one was made.
    """

    look: Look
    decision: Decision
    incident: Incident | None
    done: str
    request: str | None = None


def keys_of(settings: Settings, model: str) -> tuple[ModelKey, ...]:
    """The model's keys that have a champion; the whole model where none has."""
    return tuple(ModelKey(model, segment) for segment in sorted(read_champions(model, settings))) or (ModelKey(model),)


def is_in_use(workspace: Workspace, model: str, partition: str) -> bool:
    """Whether the model answered anything in a partition or in the `USUAL` before it: by then its silence is known."""
    one = workspace.model(model)
    table = RecordTable(workspace.settings, one, records_of(workspace.settings, one))
    first = partition_of(one.spec, partition_of(one.spec, partition).start - USUAL * one.spec.partition_length).key
    return any(first <= key <= partition for key in table.row_counts())


def batches_of(keys: Sequence[ModelKey]) -> list[list[str]]:
    """Segments as tasks take them."""
    names = [key.segment for key in keys]
    return [names[start : start + BATCH_KEYS] for start in range(0, len(names), BATCH_KEYS)]


def profile(
    workspace: Workspace, model: str, segments: Sequence[str], partition: str, as_of: datetime,
    service: Mapping[str, float] = MappingProxyType({}),
) -> int:  # fmt: skip
    """Read a partition's records once, keep their profiles, and bring earlier looks up to date with late labels.

    Args:
        workspace: the installation.
        model: whose records.
        segments: of its keys.
        partition: to read.
        as_of: labels that became available then or later are not seen.
        service: what the prediction service says of itself now (`scrape`), if it was asked.

    Returns:
        Rows that were read.
    """
    settings, one = workspace.settings, workspace.model(model)
    day, keys = partition_of(one.spec, partition), [ModelKey(model, segment) for segment in segments]
    looks = observe(settings, one, keys, day, as_of, service)
    late = [
        look for key in keys for look in store.read_looks(key, day.start, _late(one.spec), settings)
        if look.maturity < 1 and look.rows and look.as_of < min(as_of, look.end + one.spec.label.lateness + DAY)
    ]  # fmt: skip
    for name in sorted({look.partition for look in late}):
        waiting = [look for look in late if look.partition == name]
        store.write_looks(observe_labels(settings, one, waiting, partition_of(one.spec, name), as_of), settings)
    return sum(look.rows for look in looks)


def compare(workspace: Workspace, model: str, segments: Sequence[str], partition: str) -> tuple[Look, ...]:
    """Hold what was seen of a partition against what is normal, and keep the signals."""
    one = workspace.model(model)
    keys = [ModelKey(model, segment) for segment in segments]
    looks = compare_looks(workspace.settings, one, keys, partition_of(one.spec, partition))
    store.write_looks(looks, workspace.settings)
    return looks


def judge(workspace: Workspace, key: ModelKey, partition: str) -> tuple[Look, Decision] | None:
    """What the policy makes of the looks up to a partition; None if it was not looked at.

    As of the partition's own look: requests and verdicts of later do not count.
    """
    spec = workspace.model(key.model).spec
    looks = store.read_looks(key, partition_of(spec, partition).end, LOOKS, workspace.settings)
    if not looks or looks[-1].partition != partition:
        return None
    newest = looks[-1]
    return newest, decide(spec.monitoring.policy, looks, past_requests(key, workspace.settings), newest.as_of)


def act(
    workspace: Workspace, look: Look, decision: Decision, *, actor: str, report: str = "", is_backfill: bool = False
) -> Judgement:
    """Do what was decided, once: write the incident, ask for a retraining, or go back to the previous champion.

    A backfilled look asks for nothing, nor does one that a later look has overtaken.
    """
    settings, key = workspace.settings, look.key
    newest = store.read_looks(key, datetime.max.replace(tzinfo=look.end.tzinfo), 1, settings)
    if is_backfill or (newest and newest[-1].start > look.start):
        return Judgement(look, decision, None, "nothing: this is history")
    known = store.read_incidents(key, settings)
    quiet = workspace.model(key.model).spec.monitoring.policy.streak
    incident = follow(known[-1] if known else None, look, decision, quiet)
    if incident is not None:
        store.write_incident(incident, settings)
    elif known and known[-1].partition == look.partition:
        # This look wrote it before and may have been cut off before it could say so.
        incident = known[-1]
    if decision.outcome == "retrain":
        request = _request(workspace, look, decision, actor, report)
        ledger.record(request, settings)
        return Judgement(look, decision, incident, "a retraining was asked for", request.idempotency_key)
    if decision.outcome == "revert":
        return Judgement(look, decision, incident, _go_back(workspace, look, decision, actor))
    return Judgement(look, decision, incident, "")


def past_requests(key: ModelKey, settings: Settings) -> list[PastRequest]:
    """Retrainings that were asked for, by whomever, oldest first."""
    rows = ledger.history(key, settings)
    answered = ledger.answered_requests(rows)
    return [
        PastRequest(
            at=row.as_of or row.recorded_at,
            version=row.version,
            cause=frozenset(row.details.get("cause", ())),
            is_open=row.idempotency_key not in answered,
            start=datetime.fromisoformat(row.details["window"][0]) if row.details.get("window") else row.recorded_at,
        )
        for row in rows if row.kind == "request"
    ]  # fmt: skip


def _request(workspace: Workspace, look: Look, decision: Decision, actor: str, report: str) -> Entry:
    start, cause = decision.start or look.start, "+".join(sorted(decision.cause))
    details: dict[str, Any] = {
        "window": [start.isoformat(), look.end.isoformat()], "cause": sorted(decision.cause),
        "signals": [signal.words for signal in look.fired if signal.kind in decision.cause], "report": report,
    }  # fmt: skip
    return Entry(
        key=look.key, kind="request", actor=actor, reason=decision.reason, recorded_at=workspace.clock(),
        idempotency_key=f"request:{look.key.slug}:{start:%Y%m%dT%H%M}:{cause}:{look.version}:{decision.attempt}",
        version=look.version, as_of=look.as_of, details=details,
    )  # fmt: skip


def _go_back(workspace: Workspace, look: Look, decision: Decision, actor: str) -> str:
    """Bring the previous champion back, if the one that was watched is still the champion."""
    from include.ratchet.errors import NothingToRevertError

    state = ledger.read_aliases(look.key, workspace.settings).get(CHAMPION)
    if state is None or state.version != look.version:
        return "nothing: the champion has changed since"
    order = Order(actor, decision.reason, workspace.clock(), once=f"monitor/{look.key.slug}/{look.partition}")
    try:
        return revert(workspace.settings, look.key, order).words
    except NothingToRevertError as error:
        return f"nothing: {error}"


def _late(spec: ModelSpec) -> int:
    """Partitions before, whose labels may still come."""
    return int(spec.label.lateness / spec.partition_length) + spec.monitoring.window + 1
