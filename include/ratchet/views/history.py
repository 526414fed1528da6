"""What happened to a model key, and what was seen of it over time: events, the metric, and drift by column and day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select

from include.ratchet.monitoring.signals import Look
from include.ratchet.monitoring.store import read_incidents, read_looks
from include.ratchet.registry.database import engine_of, ledger
from include.ratchet.registry.ledger import Entry, entry_of
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey, ModelSpec
from include.ratchet.spec.training import LOWER_IS_BETTER

COLUMNS = 40
"""Of a heat map: those that moved most."""
EVER = datetime.max.replace(tzinfo=UTC)
"""Later than everything."""


@dataclass(frozen=True)
class Event:
    """A row of the ledger, or an incident's beginning or end.

    Attributes:
        id: of the ledger's row; None of an incident.
        at: when it was entered; of an incident, in the records' time.
        kind: verdict, promotion, revert, rollout, request, approval, incident and others.
        title: in a few words.
        reason: why.
        actor: who or what did it.
        version: that it is about.
        as_of: what that version knew.
        run: of Airflow, if the row names one: DAG and run.
    """

    id: int | None
    at: datetime
    kind: str
    title: str
    reason: str
    actor: str
    version: int | None
    as_of: datetime | None
    run: tuple[str, str] | None = None


@dataclass(frozen=True)
class Timeline:
    """A page of events, newest first; `total`, `offset` and `limit` count the ledger's rows."""

    events: tuple[Event, ...]
    total: int
    offset: int
    limit: int


@dataclass(frozen=True)
class Point:
    """What was seen of one partition.

    Attributes:
        partition: its key.
        start: when it began.
        version: the champion.
        rows: records.
        maturity: share of labels that had come.
        actual: the metric on them.
        estimate: as the scores let expect.
        window: the metric over the window.
        expected: what was to be expected of the window.
        low: lower end of the interval that it was to be expected in.
        high: upper end.
        threshold: where the metric has fallen too far, by the spec's margin.
        fired: kinds of signals that counted.
        has_report: whether a report of what moved may have been drawn.
    """

    partition: str
    start: datetime
    version: int | None
    rows: int
    maturity: float
    actual: float | None
    estimate: float | None
    window: float | None
    expected: float | None
    low: float | None
    high: float | None
    threshold: float | None
    fired: tuple[str, ...]
    has_report: bool


@dataclass(frozen=True)
class Series:
    """The metric over time, oldest first."""

    metric: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class HeatMap:
    """Drift of each column on each day: how far it was from the reference.

    Attributes:
        partitions: keys, oldest first.
        columns: names, those that moved most first.
        effects: (n_columns, n_partitions) population stability index beyond what days explain; null if not judged.
        drifted: (n_columns, n_partitions) whether it counted.
        threshold: of the spec, from which on it may count.
        hidden: columns that moved less and are left out.
    """

    partitions: tuple[str, ...]
    columns: tuple[str, ...]
    effects: tuple[tuple[float | None, ...], ...]
    drifted: tuple[tuple[bool, ...], ...]
    threshold: float
    hidden: int


def read_timeline(settings: Settings, key: ModelKey, offset: int, limit: int) -> Timeline:
    """Events of a model key: a page of its ledger, with the alarms of the same time among them."""
    own = [ledger.c.model == key.model, ledger.c.segment == key.segment]
    with engine_of(settings.database_url).connect() as connection:
        total = connection.execute(select(func.count()).select_from(ledger).where(*own)).scalar_one()
        # With the row before the page: alarms between the two belong here.
        first = max(offset - 1, 0)
        query = select(ledger).where(*own).order_by(ledger.c.id.desc()).offset(first).limit(limit + offset - first)
        rows = [entry_of(row) for row in connection.execute(query).mappings()]
    page = rows[offset - first :]
    until = rows[0].recorded_at if first < offset and rows else EVER
    since = page[-1].recorded_at if page and offset + len(page) < total else datetime.min.replace(tzinfo=UTC)
    alarms = [one for one in _alarms(settings, key) if since < one.at <= until] if page or not total else []
    events = sorted([*map(_event, page), *alarms], key=lambda event: event.at, reverse=True)
    return Timeline(tuple(events), total, offset, limit)


def read_series(settings: Settings, key: ModelKey, spec: ModelSpec, until: datetime, count: int) -> Series:
    """The metric on the newest partitions that began before an instant."""
    margin = spec.margin * (1 if spec.metric in LOWER_IS_BETTER else -1)
    return Series(spec.metric, tuple(_point(look, margin) for look in read_looks(key, until, count, settings)))


def read_heat_map(settings: Settings, key: ModelKey, threshold: float, until: datetime, count: int) -> HeatMap:
    """Drift on the newest partitions, of the columns that moved most."""
    looks = read_looks(key, until, count, settings)
    drawn: list[Mapping[str, Any]] = [look.numbers.get("drift") or {} for look in looks]
    most = {name: 0.0 for day in drawn for name in day}
    for day in drawn:
        for name, one in day.items():
            most[name] = max(most[name], one["effect"] + one["is_drifted"])
    columns = sorted(most, key=lambda name: (-most[name], name))
    shown = columns[:COLUMNS]
    return HeatMap(
        tuple(look.partition for look in looks), tuple(shown),
        tuple(tuple(day[name]["effect"] if name in day else None for day in drawn) for name in shown),
        tuple(tuple(bool(name in day and day[name]["is_drifted"]) for day in drawn) for name in shown),
        threshold, len(columns) - len(shown),
    )  # fmt: skip


def _alarms(settings: Settings, key: ModelKey) -> list[Event]:
    """Beginnings and ends of a model key's incidents, in the records' time."""
    found = []
    for one in read_incidents(key, settings):
        begin = (f"incident {one.number}: {', '.join(one.kinds)}", one.opened_at)
        end = (f"incident {one.number} is over", one.closed_at)
        found += [Event(None, at, "incident", title, one.words, "monitor", one.version, None)
                  for title, at in (begin, end) if at is not None]  # fmt: skip
    return found


def _event(row: Entry) -> Event:
    return Event(row.id, row.recorded_at, row.kind, _title(row), row.reason, row.actor, row.version, row.as_of,
                 _run_of(row))  # fmt: skip


def _title(row: Entry) -> str:
    subject = f"version {row.version}" if row.version is not None else ""
    match row.kind:
        case "verdict":
            return f"{subject}: {row.reason.partition(':')[0]}"
        case "promotion":
            return f"{subject} became champion"
        case "revert":
            return f"back to {subject}"
        case "rollout":
            return f"hand-over{f' to {subject}' if subject else ''}: {row.details.get('action', '')}"
        case "request":
            return "a retraining was asked for"
        case "acknowledgement":
            return f"incident {row.details.get('incident')} acknowledged"
        case "silence":
            return f"silence until {row.details.get('until', '')[:16].replace('T', ' ')}"
        case "action":
            return str(row.details.get("action", "action"))
        case _:
            return f"{row.kind} {subject}".strip()


def _run_of(row: Entry) -> tuple[str, str] | None:
    """The run that a row names: its own, or that of the training whose verdict it is."""
    if isinstance(run := row.details.get("run"), str):
        return str(row.details.get("dag")), run
    if row.kind in ("verdict", "approval", "failure"):
        training = row.idempotency_key.partition(f":{row.key.slug}:")[2]
        if training and not training.startswith("local__"):
            return f"train_{row.key.model}", training
    return None


def _point(look: Look, margin: float) -> Point:
    numbers = look.numbers
    name = "metric" if "metric_window" in numbers else "estimate"
    expected = numbers.get(f"{name}_expected")
    return Point(
        look.partition, look.start, look.version, look.rows, look.maturity, numbers.get("metric"),
        numbers.get("estimate"), numbers.get(f"{name}_window"), expected, numbers.get(f"{name}_low"),
        numbers.get(f"{name}_high"), None if expected is None else expected + margin, tuple(sorted(look.kinds)),
        bool(look.fired),
    )  # fmt: skip
