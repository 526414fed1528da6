"""Monitoring a model: which partitions are looked at, by whom asked, and what follows.

    plan -> profile (many) -> compare (many) -> judge -> report -> act

Each step takes names and finds what the earlier ones left: profiles in a table, looks in the database. What follows is
in `act`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType

from include.ratchet.data.records import RecordTable
from include.ratchet.monitoring import store
from include.ratchet.monitoring.budget import allot, wish_of
from include.ratchet.monitoring.compare import compare as compare_looks
from include.ratchet.monitoring.control import control as control_looks
from include.ratchet.monitoring.observe import observe, observe_labels, records_of
from include.ratchet.monitoring.policy import Decision, PastRequest, decide
from include.ratchet.monitoring.service import USUAL
from include.ratchet.monitoring.signals import Look
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.fleet import count_requests, read_champions, request_history
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey, ModelSpec, partition_of
from include.ratchet.spec.segments import SegmentsSpec

BATCH_KEYS = 200
"""Model keys of one task: a day of so many small ones takes some ten seconds."""
LOOKS = 60
"""Looks that a policy sees."""
DAY = timedelta(days=1)


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
    earlier = store.read_histories(model, segments, day.start, _late(one.spec), settings)
    late = [
        look for own in earlier.values() for look in own
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


def control(workspace: Workspace, model: str, partition: str) -> int:
    """Hold the looks of all keys at a partition against one another: what chance explains does not count.

    Returns:
        Looks of which a signal counts no longer, or again. Of a model without segments there are none.
    """
    spec = workspace.model(model).spec
    if spec.segments is None:
        return 0
    before = store.read_looks_at(model, partition_of(spec, partition).start, workspace.settings)
    after = control_looks(spec.monitoring, before)
    changed = [new for old, new in zip(before, after, strict=True) if new != old]
    store.write_looks(changed, workspace.settings)
    return len(changed)


def judge_all(
    workspace: Workspace, model: str, partition: str, segments: Collection[str] | None = None
) -> list[tuple[Look, Decision]]:
    """What the policy makes of the looks up to a partition, of every key that was looked at in it.

    As of the partition's own looks: requests and verdicts of later do not count. Segments share a budget.

    Args:
        workspace: the installation.
        model: whose.
        partition: the newest.
        segments: of the keys; all that are watched, if they are not named.
    """
    spec, settings = workspace.model(model).spec, workspace.settings
    day = partition_of(spec, partition)
    wanted = {key.segment for key in keys_of(settings, model)} if segments is None else segments
    newest = [look for look in store.read_looks_at(model, day.start, settings) if look.key.segment in wanted]
    # Without a signal nothing follows, whatever was before.
    moved = [look.key.segment for look in newest if look.kinds]
    histories = store.read_histories(model, moved, day.end, LOOKS, settings)
    past = past_requests(model, moved, settings)
    decisions = {
        look.key: decide(spec.monitoring.policy, histories.get(look.key, (look,)), past.get(look.key, ()), look.as_of)
        for look in newest
    }
    wanting = [histories[key] for key, one in decisions.items() if one.outcome == "retrain" and not key.is_pool]
    if spec.segments is not None and wanting:
        decisions = _share_budget(workspace, spec.segments, decisions, wanting)
    return [(look, decisions[look.key]) for look in newest]


def judge(workspace: Workspace, key: ModelKey, partition: str) -> tuple[Look, Decision] | None:
    """What the policy makes of the looks of one key up to a partition; None if it was not looked at."""
    return next(iter(judge_all(workspace, key.model, partition, [key.segment])), None)


def past_requests(model: str, segments: Sequence[str], settings: Settings) -> dict[ModelKey, list[PastRequest]]:
    """Retrainings of some segments that were asked for, by whomever, oldest first."""
    rows, answered = request_history(model, segments, settings)
    found: dict[ModelKey, list[PastRequest]] = {}
    for row in rows:
        window = row.details.get("window")
        found.setdefault(row.key, []).append(PastRequest(
            at=row.as_of or row.recorded_at,
            version=row.version,
            cause=frozenset(row.details.get("cause", ())),
            is_open=row.idempotency_key not in answered,
            start=datetime.fromisoformat(window[0]) if window else row.recorded_at,
        ))  # fmt: skip
    return found


def _share_budget(
    workspace: Workspace, segments: SegmentsSpec, decisions: dict[ModelKey, Decision],
    wanting: Sequence[Sequence[Look]],
) -> dict[ModelKey, Decision]:  # fmt: skip
    """The decisions, as far as the day's budget of all segments reaches."""
    from include.ratchet.pipeline.fleet.plan import read_costs

    newest = wanting[0][-1]
    model = workspace.model(newest.key.model)
    local = max(looks[-1].as_of for looks in wanting).astimezone(model.spec.zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    spent = count_requests(model.name, midnight, midnight + DAY, workspace.settings)
    costs = read_costs(workspace, model)
    wishes = [wish_of(model.spec, looks, costs) for looks in wanting]
    return allot(decisions, wishes, segments.budget, spent)


def _late(spec: ModelSpec) -> int:
    """Partitions before, whose labels may still come."""
    return int(spec.label.lateness / spec.partition_length) + spec.monitoring.window + 1
