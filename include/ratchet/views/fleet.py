"""Every model at a glance: one row a model, or one a segment; found, sorted and cut to a page by few queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from include.ratchet.registry.ledger import utc
from include.ratchet.rollout.state import RolloutState
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey
from include.ratchet.views.health import ORDER, Health, Known, judge
from include.ratchet.views.standing import Standing, Training, read_standings

Sort = Literal["model", "health", "champion", "trained", "metric", "signal", "next"]


@dataclass(frozen=True)
class DagFacts:
    """What Airflow knows of a model.

    Attributes:
        owner: of its DAGs.
        description: of its training.
        next_training: when its schedule trains it next; None: on request only.
        is_paused: whether its training is paused.
        is_asked: whether one of its runs waits for a person's word.
    """

    owner: str = ""
    description: str = ""
    next_training: datetime | None = None
    is_paused: bool = False
    is_asked: bool = False


@dataclass(frozen=True)
class Share:
    """A version's part of the live traffic, from 0 to 1."""

    version: int
    role: Literal["champion", "challenger", "person"]
    share: float


@dataclass(frozen=True)
class Measure:
    """The metric as it is now.

    Attributes:
        kind: on labels that have come, or as the scores let expect.
        value: over the window.
        expected: what was to be expected of it.
        low: lower end of the interval that it was to be expected in.
        high: upper end.
    """

    kind: Literal["actual", "estimated"]
    value: float
    expected: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Finding:
    """The strongest signal of the newest look; `strength` is its value in thresholds."""

    kind: str
    subject: str
    words: str
    strength: float
    is_fired: bool


@dataclass(frozen=True)
class FleetRow:
    """One model key.

    Attributes:
        model: its name.
        segment: `all`: the whole or the pooled model.
        slug: its name in addresses.
        health: in a word.
        why: in a sentence.
        next: what is to be done, or will be.
        next_at: when, if that is known.
        owner: of its DAGs.
        champion: its version.
        champion_since: when it became champion.
        traffic: how answers are divided now.
        training: the last one.
        measure: its metric now.
        signal: the strongest one.
        partition: that was looked at last.
        segments: with a champion of their own.
        by_health: of those, how many are how.
    """

    model: str
    segment: str
    slug: str
    health: Health
    why: str
    next: str
    next_at: datetime | None
    owner: str
    champion: int | None = None
    champion_since: datetime | None = None
    traffic: tuple[Share, ...] = ()
    training: Training | None = None
    measure: Measure | None = None
    signal: Finding | None = None
    partition: str | None = None
    segments: int = 0
    by_health: Mapping[Health, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FleetPage:
    """Some rows of a fleet; `total` and `by_health` are of all that were searched for."""

    rows: tuple[FleetRow, ...]
    total: int
    offset: int
    limit: int
    by_health: Mapping[Health, int]


@dataclass(frozen=True)
class FleetQuery:
    """Which rows: those that hold some words, of some health, in an order, from the offset on."""

    search: str = ""
    health: Health | None = None
    sort: Sort = "health"
    is_descending: bool = False
    offset: int = 0
    limit: int = 50


def read_fleet(settings: Settings, dags: Mapping[str, DagFacts], names: Iterable[str], query: FleetQuery) -> FleetPage:
    """The models of some names.

    Args:
        settings: of the installation.
        dags: what Airflow knows, by model; a model that is not in it has no DAGs.
        names: of the models that may be seen.
        query: which of them, in which order.
    """
    return _choose(_read_models(settings, dags, sorted(set(names))), query)


def read_segments(settings: Settings, dags: Mapping[str, DagFacts], model: str, query: FleetQuery) -> FleetPage:
    """The segments of a model that have a champion of their own, as rows."""
    facts = read_standings(settings, [model])
    rows = [_row(key, one, dags.get(model)) for key, one in sorted(facts.items()) if not key.is_pool]
    return _choose(rows, query)


def read_row(settings: Settings, dags: Mapping[str, DagFacts], key: ModelKey) -> FleetRow:
    """The row of one key."""
    if key.is_pool:
        return _read_models(settings, dags, [key.model])[0]
    return _row(key, read_standings(settings, [key.model]).get(key, Standing()), dags.get(key.model))


def _read_models(settings: Settings, dags: Mapping[str, DagFacts], names: Sequence[str]) -> list[FleetRow]:
    """One row a model; of a divided one the worst of its segments decides where its pooled model is well."""
    facts = read_standings(settings, names)
    segments: dict[str, list[FleetRow]] = {}
    for key, one in facts.items():
        if not key.is_pool:
            segments.setdefault(key.model, []).append(_row(key, one, dags.get(key.model)))
    rows = []
    for name in names:
        row = _row(ModelKey(name), facts.get(ModelKey(name), Standing()), dags.get(name))
        rows.append(_with_segments(row, segments[name]) if name in segments else row)
    return rows


def _with_segments(row: FleetRow, segments: Sequence[FleetRow]) -> FleetRow:
    # Of those the row's own state speaks for all.
    counts: Counter[Health] = Counter(one.health for one in segments if one.health not in ("broken", "unwatched"))
    row = replace(row, segments=len(segments), by_health=dict(Counter(one.health for one in segments)))
    worst: Health = min(counts, key=ORDER.index, default="healthy")
    is_without_pool = row.health == "untrained"
    if ORDER.index(worst) >= ORDER.index(row.health) and not is_without_pool:
        return row
    first = next((one for one in segments if one.health == worst), segments[0])
    why = f"{counts[worst]} of {len(segments)} segments, such as {first.segment[:60]}: {first.why}"
    return replace(row, health=worst, why=why, next=first.next, next_at=first.next_at)


def _row(key: ModelKey, facts: Standing, dag: DagFacts | None) -> FleetRow:
    champion = facts.champion or {}
    summary = champion.get("summary") or {}
    condition = judge(Known(
        has_dags=dag is not None, is_paused=dag is not None and dag.is_paused,
        is_asked=dag is not None and dag.is_asked and key.is_pool, champion=champion.get("version"),
        has_look=champion.get("partition") is not None, incident=facts.incident, rollout=facts.rollout,
        next_training=dag.next_training if dag is not None else None,
    ))  # fmt: skip
    return FleetRow(
        key.model, key.segment, key.slug, condition.health, condition.why, condition.next, condition.next_at,
        dag.owner if dag is not None else "", champion.get("version"), utc(champion.get("since")),
        _traffic(champion.get("version"), facts.rollout), facts.training,
        Measure(**summary["measure"]) if summary.get("measure") else None,
        Finding(**summary["signal"]) if summary.get("signal") else None, champion.get("partition"),
    )  # fmt: skip


def _traffic(champion: int | None, state: RolloutState | None) -> tuple[Share, ...]:
    route = state.to_route() if state is not None else None
    if route is None:
        return (Share(champion, "champion", 1.0),) if champion is not None else ()
    if route.mode == "defer":
        return Share(route.champion, "champion", route.share), Share(route.champion, "person", 1 - route.share)
    shares = [Share(route.champion, "champion", 1 - route.share)]
    if route.challenger is not None:
        shares.append(Share(route.challenger, "challenger", route.share))
    return tuple(shares)


def _choose(rows: Sequence[FleetRow], query: FleetQuery) -> FleetPage:
    words = query.search.casefold().split()
    found = [row for row in rows if _holds(row, words)]
    counts: Counter[Health] = Counter(row.health for row in found)
    if query.health is not None:
        found = [row for row in found if row.health == query.health]
    valued = [(_value(row, query.sort), row) for row in found]
    known = [one for one in valued if one[0] is not None]
    # What has no value comes last in either direction.
    unknown = [row for value, row in valued if value is None]
    known.sort(key=lambda one: (one[0], one[1].model, one[1].segment), reverse=query.is_descending)
    ordered = [row for _, row in known] + unknown
    page = ordered[query.offset : query.offset + query.limit]
    by_health = {name: counts[name] for name in ORDER if counts[name]}
    return FleetPage(tuple(page), len(ordered), query.offset, query.limit, by_health)


def _holds(row: FleetRow, words: Sequence[str]) -> bool:
    """Whether a row has all of some words, which are folded."""
    if not words:
        return True
    signal = f" {row.signal.subject} {row.signal.kind}" if row.signal else ""
    text = f"{row.model} {row.segment} {row.owner} {row.health} {row.why}{signal}".casefold()
    return all(word in text for word in words)


def _value(row: FleetRow, sort: Sort) -> Any:
    match sort:
        case "health":
            return ORDER.index(row.health)
        case "champion":
            return row.champion_since
        case "trained":
            return row.training.at if row.training else None
        case "metric":
            return row.measure.value if row.measure else None
        case "signal":
            return (row.signal.is_fired, row.signal.strength) if row.signal else None
        case "next":
            return row.next_at
        case "model":
            return (row.model, row.segment)
