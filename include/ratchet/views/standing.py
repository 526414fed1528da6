"""How models stand, as the database has it: champions, trainings, incidents and hand-overs, by few queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, and_, func, select

from include.ratchet.monitoring.incidents import Incident
from include.ratchet.registry.database import aliases, engine_of, incidents, ledger, looks, rollouts
from include.ratchet.registry.ledger import CHAMPION, utc
from include.ratchet.rollout.state import ACTIVE, RolloutState
from include.ratchet.settings import Settings
from include.ratchet.spec import WHOLE, ModelKey

_TRAINED = ("verdict", "failure")


@dataclass(frozen=True)
class Training:
    """The last one that ended with a verdict, or failed."""

    at: datetime
    version: int | None
    outcome: str
    reason: str


@dataclass
class Standing:
    """What is known of one key.

    Attributes:
        champion: its alias's row with `since`, and `partition` and `summary` of the newest look.
        training: the last one.
        incident: the open one.
        rollout: the active one.
    """

    champion: Mapping[Any, Any] | None = None
    training: Training | None = None
    incident: Incident | None = None
    rollout: RolloutState | None = None


def read_standings(settings: Settings, names: Sequence[str]) -> dict[ModelKey, Standing]:
    """What the database knows of the models of some names, by key."""
    found: dict[ModelKey, Standing] = {}
    with engine_of(settings.database_url).connect() as connection:
        for row in _read_champions(connection, names):
            found.setdefault(_key(row), Standing()).champion = row
        for row in _read_trainings(connection, names, {key.model for key in found if key.is_pool}):
            found.setdefault(_key(row), Standing()).training = _training_of(row)
        is_open = select(incidents.c.state).where(incidents.c.model.in_(names), incidents.c.closed_at.is_(None))
        for content in connection.execute(is_open).scalars():
            incident = Incident.from_dict(content)
            found.setdefault(incident.key, Standing()).incident = incident
        is_active = rollouts.c.state["status"].as_string().in_(sorted(ACTIVE))
        for content in connection.execute(
            select(rollouts.c.state).where(rollouts.c.model.in_(names), is_active)
        ).scalars():
            state = RolloutState.from_dict(content)
            found.setdefault(state.key, Standing()).rollout = state
    return found


def _training_of(row: Mapping[Any, Any]) -> Training:
    outcome, _, reason = row["reason"].partition(": ")
    if row["kind"] != "verdict":
        outcome, reason = "failed", row["reason"]
    return Training(utc(row["recorded_at"]) or datetime.min.replace(tzinfo=UTC), row["version"], outcome, reason)


def _read_champions(connection: Connection, names: Sequence[str]) -> Sequence[Mapping[Any, Any]]:
    """Every champion, since when it is, and the newest look at its key. Each is found by index, whatever was before."""
    same = [looks.c.model == aliases.c.model, looks.c.segment == aliases.c.segment]
    newest = select(func.max(looks.c.started_at)).where(*same).correlate(aliases).scalar_subquery()
    query = (
        select(aliases.c.model, aliases.c.segment, aliases.c.version, ledger.c.recorded_at.label("since"),
               looks.c.partition, looks.c.summary)
        .join(ledger, ledger.c.id == aliases.c.ledger_id, isouter=True)
        .join(looks, and_(*same, looks.c.started_at == newest), isouter=True)
        .where(aliases.c.alias == CHAMPION, aliases.c.model.in_(names))
    )  # fmt: skip
    return connection.execute(query).mappings().all()


def _read_trainings(
    connection: Connection, names: Sequence[str], with_champion: set[str]
) -> Sequence[Mapping[Any, Any]]:  # fmt: skip
    """The newest verdict or failure of every key with a champion, and of the models without one."""
    columns = [ledger.c[name] for name in ("model", "segment", "kind", "version", "reason", "recorded_at")]
    of_kind = ledger.c.kind.in_(_TRAINED)
    is_champion = (aliases.c.alias == CHAMPION, aliases.c.model.in_(names))
    keys = select(aliases.c.model, aliases.c.segment).where(*is_champion).subquery()
    other = ledger.alias()
    last = (
        select(func.max(other.c.id))
        .where(other.c.model == keys.c.model, other.c.segment == keys.c.segment, other.c.kind.in_(_TRAINED))
        .correlate(keys).scalar_subquery()
    )  # fmt: skip
    found = [*connection.execute(select(*columns).join(keys, ledger.c.id == last)).mappings()]
    without = [name for name in names if name not in with_champion]
    if without:
        ids = (
            select(func.max(ledger.c.id))
            .where(ledger.c.model.in_(without), ledger.c.segment == WHOLE, of_kind)
            .group_by(ledger.c.model)
        )
        found += connection.execute(select(*columns).where(ledger.c.id.in_(ids))).mappings()
    return found


def _key(row: Mapping[Any, Any]) -> ModelKey:
    return ModelKey(row["model"], row["segment"])
