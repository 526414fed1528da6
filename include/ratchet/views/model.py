"""One model: how it is, what it is made to do, what is under way, and what people have said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.ratchet.monitoring import store as watched
from include.ratchet.monitoring.incidents import Incident
from include.ratchet.monitoring.notes import Silence, find_silence, read_acknowledged, read_silences
from include.ratchet.registry import ledger
from include.ratchet.registry.versions import version_url
from include.ratchet.rollout import store
from include.ratchet.rollout.guard import find_trip
from include.ratchet.rollout.state import RolloutState
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey, ModelSpec, format_duration
from include.ratchet.spec.training import LOWER_IS_BETTER
from include.ratchet.views.fleet import DagFacts, FleetRow, read_row

INCIDENTS = 20
"""The newest that a page shows."""


@dataclass(frozen=True)
class SpecView:
    """What the spec says, as far as a page shows it."""

    description: str
    problem: str | None
    worth: str | None
    task: str
    metric: str
    lower_is_better: bool
    label: str
    partition: str
    timezone: str
    strategy: str
    trials: int
    search: str
    window: str
    schedule: str | None
    needs_approval: bool
    segments_by: tuple[str, ...]
    tables: tuple[str, ...]


@dataclass(frozen=True)
class AliasView:
    """A version that has a name.

    Attributes:
        alias: champion, previous or challenger.
        version: its number.
        as_of: what it knew.
        url: its page in MLflow.
    """

    alias: str
    version: int
    as_of: datetime | None
    url: str


@dataclass(frozen=True)
class RolloutView:
    """A hand-over, the present or the last one.

    Attributes:
        strategy: as its spec said when it began.
        status: running, waiting_approval, paused, finished or reverted.
        is_active: whether it is still in hand.
        champion: answers until it is over.
        challenger: may become champion.
        stages: names of all.
        stage: position of the present one.
        started_at: in the records' time.
        stage_since: in the records' time.
        action: what moved it last.
        actor: who or what did.
        reason: why.
        evidence: on which numbers.
    """

    strategy: str
    status: str
    is_active: bool
    champion: int
    challenger: int | None
    stages: tuple[str, ...]
    stage: int
    started_at: datetime
    stage_since: datetime
    action: str
    actor: str
    reason: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class IncidentView:
    """One problem, and who has acknowledged it, when and with which note."""

    number: int
    is_open: bool
    opened_at: datetime
    closed_at: datetime | None
    kinds: tuple[str, ...]
    worst: str
    cause: str
    words: str
    version: int | None
    partition: str
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    note: str | None = None


@dataclass(frozen=True)
class SilenceView:
    """Until when nobody is called, who wanted it, and why."""

    until: datetime
    by: str
    reason: str
    since: datetime


@dataclass(frozen=True)
class Wish:
    """A request to retrain that no verdict has answered yet."""

    id: str
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True)
class ModelView:
    """A model's page.

    Attributes:
        row: as the fleet lists it.
        spec: None if it cannot be read.
        problem: why it cannot.
        aliases: versions with a name.
        rollout: the present hand-over, or the last one.
        guard: why the fleet's guard has stopped all hand-overs; None if it has not.
        incidents: newest first.
        silence: that it is under.
        wishes: requests to retrain that wait.
        mlflow: the model's page there.
    """

    row: FleetRow
    spec: SpecView | None
    problem: str | None
    aliases: tuple[AliasView, ...]
    rollout: RolloutView | None
    guard: str | None
    incidents: tuple[IncidentView, ...]
    silence: SilenceView | None
    wishes: tuple[Wish, ...]
    mlflow: str


def read_model(
    settings: Settings, dags: Mapping[str, DagFacts], key: ModelKey, spec: ModelSpec | Exception, now: datetime
) -> ModelView:  # fmt: skip
    """The page of one model key.

    Args:
        settings: of the installation.
        dags: what Airflow knows, by model.
        key: of the model.
        spec: its spec, or why that cannot be read.
        now: for silences.
    """
    state, trip = store.read(key, settings), find_trip(settings, key.model)
    return ModelView(
        row=read_row(settings, dags, key),
        spec=_view_spec(spec) if isinstance(spec, ModelSpec) else None,
        problem=str(spec) if isinstance(spec, Exception) else None,
        aliases=tuple(
            AliasView(alias, one.version, one.as_of, version_url(key, one.version, settings))
            for alias, one in sorted(ledger.read_aliases(key, settings).items())
        ),
        rollout=_view_rollout(state) if state is not None else None,
        guard=trip.reason if trip is not None else None,
        incidents=_read_incidents(settings, key),
        silence=_view_silence(find_silence(read_silences(key.model, settings, now), key)),
        wishes=tuple(
            Wish(one.idempotency_key, one.recorded_at, one.actor, one.reason)
            for one in ledger.pending_requests(key, settings)
        ),
        mlflow=f"{settings.mlflow_url}/#/models/{key.slug}",
    )


def _view_spec(spec: ModelSpec) -> SpecView:
    training = spec.training
    business = spec.business
    return SpecView(
        description=spec.description, problem=spec.scope.problem if spec.scope else None,
        worth=f"{business.name}, {business.unit} a prediction" if business else None, task=spec.task,
        metric=spec.metric, lower_is_better=spec.metric in LOWER_IS_BETTER, label=spec.label.column,
        partition=spec.partition, timezone=spec.timezone, strategy=spec.rollout.strategy, trials=training.search.trials,
        search=training.search.strategy, window=f"{training.window.kind}, {format_duration(training.window.length)}",
        schedule=spec.schedule.train, needs_approval=spec.gates.approval.required,
        segments_by=spec.segments.by if spec.segments else (), tables=spec.table_names,
    )  # fmt: skip


def _view_rollout(state: RolloutState) -> RolloutView:
    return RolloutView(
        state.strategy, state.status, state.is_active, state.champion, state.challenger,
        tuple(stage.name for stage in state.stages), state.stage, state.started_at, state.stage_since, state.action,
        state.actor, state.reason, state.to_dict()["numbers"],
    )  # fmt: skip


def _read_incidents(settings: Settings, key: ModelKey) -> tuple[IncidentView, ...]:
    newest: Sequence[Incident] = watched.read_incidents(key, settings)[-INCIDENTS:][::-1]
    entry = read_acknowledged(key.model, settings).get(key)
    found = []
    for one in newest:
        is_known = entry is not None and entry.details["incident"] == one.number
        noted = (entry.actor, entry.recorded_at, entry.reason) if entry is not None and is_known else (None, None, None)
        found.append(IncidentView(
            one.number, one.is_open, one.opened_at, one.closed_at, one.kinds, one.worst, one.cause, one.words,
            one.version, one.partition, *noted,
        ))  # fmt: skip
    return tuple(found)


def _view_silence(silence: Silence | None) -> SilenceView | None:
    if silence is None:
        return None
    return SilenceView(silence.until, silence.actor, silence.reason, silence.since)
