"""The API's orders: confirmed by a person with a reason, carried out by Airflow in their name, and kept in the ledger.

What trains, hands over or replays is a run of the model's own DAGs, so that it is seen, retried and told like any
other. What people say of alarms is only written down.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, status
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from include.ratchet.monitoring import notes
from include.ratchet.orchestration.assets import REPLAY, ROLLOUT, TRAIN, dag_id
from include.ratchet.orchestration.pages.access import KeyDep, need_right
from include.ratchet.orchestration.pages.caller import CallerDep
from include.ratchet.orchestration.pages.reads import SettingsDep
from include.ratchet.orchestration.steps import APPROVE, DECLINE
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import Entry
from include.ratchet.rollout.orders import Order
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey, get_model

router = APIRouter(tags=["actions"])
_LEAVING_S = 8.0
"""Airflow 3.3.2 loses an answer that comes while the worker that asked is leaving, and asks again."""
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=1000)]
Once = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{8,64}$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Asked(_Body):
    """What every order has.

    Attributes:
        reason: why; it is kept in the ledger.
        once: names the order: sent twice, it is carried out once.
    """

    reason: Reason
    once: Once


class Retrain(Asked):
    """A training by hand; what is left out is as in the spec."""

    as_of: str | None = Field(default=None, max_length=40, description="Know only what was known then: 2013-12-31")
    window: str | None = Field(default=None, pattern=r"^\d+[mhdw]$", description="How far back: 180d")
    strategy: Literal["grid", "random", "tpe", "halving"] | None = None
    trials: int | None = Field(default=None, ge=1, le=10_000, description="Budget of the search")
    force: bool = Field(default=False, description="Train even if nothing has changed")
    segments: list[str] | None = Field(default=None, max_length=1000, description="Only these")


class Approval(Asked):
    """A person's word, for a run that waits for it."""

    dag: str
    run: str
    task: str
    map_index: int = -1
    is_approved: bool


class Replay(_Body):
    """Answering a recorded request again."""

    once: Once
    request_id: str = Field(min_length=1, max_length=500)
    origin: Literal["requests", "scores"] = "requests"
    with_version: int | None = Field(default=None, ge=1, description="Another version to ask as well")


class Acknowledgement(Asked):
    """A person knows of an incident; `reason` is the note."""

    incident: int = Field(ge=1)


class Hush(Asked):
    """Nobody is called about the model for so long; 0 ends the silence that is."""

    hours: float = Field(ge=0, le=24 * 30)


class Run(BaseModel):
    """A run of Airflow that an order started."""

    dag: str
    run: str


class Done(BaseModel):
    """What came of an order."""

    message: str
    run: Run | None = None


class Question(BaseModel):
    """A run that waits for a person's word."""

    dag: str
    run: str
    task: str
    map_index: int
    subject: str
    body: str | None
    since: datetime


@router.get("/models/{model}/questions")
async def list_questions(key: KeyDep, caller: CallerDep) -> list[Question]:
    """The runs of a model that wait for a person's word."""
    found = []
    for kind in (TRAIN, ROLLOUT):
        dag = dag_id(kind, key.model)
        waiting = await caller.get(f"/dags/{dag}/dagRuns/~/hitlDetails", response_received=False, limit=100)
        for one in waiting["hitl_details"]:
            task = one["task_instance"]
            if task["state"] in ("awaiting_input", "deferred"):
                found.append(Question(dag=dag, run=task["dag_run_id"], task=task["task_id"],
                                      map_index=task["map_index"], subject=one["subject"], body=one["body"],
                                      since=one["created_at"]))  # fmt: skip
    return found


@router.post("/models/{model}/actions/retrain")
async def retrain(
    body: Retrain, key: KeyDep, caller: CallerDep, settings: SettingsDep, user: Annotated[Any, need_right("retrain")]
) -> Done:  # fmt: skip
    """Start a training."""
    asked = body.model_dump(exclude={"once"}, exclude_none=True)
    if not key.is_pool:
        asked["segments"] = [key.segment]
    return await _start(settings, caller, user, key, "retrain", TRAIN, asked, body)


@router.post("/models/{model}/actions/{action}")
async def hand_over(
    action: Literal["look", "advance", "pause", "resume", "revert"], body: Asked, key: KeyDep, caller: CallerDep,
    settings: SettingsDep, user: Annotated[Any, need_right("rollout")],
) -> Done:  # fmt: skip
    """Move a hand-over; `revert` without one makes the previous champion the champion again.

    Of a divided model's name alone: every hand-over of its segments.
    """
    conf = {"action": action, "reason": body.reason, **({} if key.is_pool else {"segment": key.segment})}
    return await _start(settings, caller, user, key, action, ROLLOUT, conf, body)


@router.post("/models/{model}/approval")
async def approve(
    body: Approval, key: KeyDep, caller: CallerDep, settings: SettingsDep,
    user: Annotated[Any, need_right("approve")],
) -> Done:  # fmt: skip
    """Answer a run that waits for a person's word."""
    if body.dag not in (dag_id(TRAIN, key.model), dag_id(ROLLOUT, key.model)):
        message = f"dag: found {body.dag!r}; expected the training or the hand-over of {key.model}"
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, message)
    chosen = APPROVE if body.is_approved else DECLINE
    path = f"/dags/{body.dag}/dagRuns/{quote(body.run, safe='')}/taskInstances/{quote(body.task, safe='')}"
    path = f"{path}/{body.map_index}/hitlDetails"
    asked_at = datetime.fromisoformat((await caller.get(path))["created_at"])
    await asyncio.sleep(max(0.0, _LEAVING_S - (datetime.now(UTC) - asked_at).total_seconds()))
    await caller.send("PATCH", path, {"chosen_options": [chosen]})
    word = "approve" if body.is_approved else "decline"
    _record(settings, user, key, word, body, {"dag": body.dag, "run": body.run})
    return Done(message=f"{word}d; the run goes on", run=Run(dag=body.dag, run=body.run))


@router.post("/models/{model}/replay")
async def replay(
    body: Replay, key: KeyDep, caller: CallerDep, user: Annotated[Any, need_right("replay")]
) -> Done:  # fmt: skip
    """Answer a recorded request again; the run's state has the result."""
    conf = {"request_id": body.request_id, "records": body.origin, "with_version": body.with_version}
    if not key.is_pool:
        conf["segment"] = key.segment
    run = Run(dag=dag_id(REPLAY, key.model), run=f"page__{body.once}")
    await caller.trigger(run.dag, run.run, conf, f"asked for by {user.get_name()} on the requests page")
    return Done(message="the request is answered again", run=run)


@router.post("/models/{model}/acknowledgement")
def acknowledge(
    body: Acknowledgement, key: KeyDep, settings: SettingsDep, user: Annotated[Any, need_right("note")]
) -> Done:  # fmt: skip
    """Say that a person knows of an incident: its further messages call for nobody."""
    notes.acknowledge(settings, key, body.incident, _order(user, body))
    return Done(message=f"incident {body.incident} is acknowledged")


@router.post("/models/{model}/silence")
def silence(body: Hush, key: KeyDep, settings: SettingsDep, user: Annotated[Any, need_right("note")]) -> Done:
    """Let nobody be called about a model key for a time; what lasts then is told."""
    order = _order(user, body)
    found = notes.silence(settings, key, order.recorded_at + timedelta(hours=body.hours), order)
    return Done(message=f"silent until {found.until:%Y-%m-%d %H:%M} UTC" if body.hours else "not silent any more")


async def _start(
    settings: Settings, caller: CallerDep, user: Any, key: ModelKey, action: str, kind: str, conf: dict[str, Any],
    body: Asked,
) -> Done:  # fmt: skip
    """Start a run in the caller's name and keep who wanted it and why."""
    get_model(settings.models_dir, key.model)
    run = Run(dag=dag_id(kind, key.model), run=f"page__{action}__{body.once}")
    await caller.trigger(run.dag, run.run, conf, f"{action}: {body.reason}")
    _record(settings, user, key, action, body, {"dag": run.dag, "run": run.run, "conf": conf})
    return Done(message=f"{action} was asked for", run=run)


def _record(
    settings: Settings, user: Any, key: ModelKey, action: str, body: Asked, details: dict[str, Any]
) -> None:  # fmt: skip
    order = _order(user, body)
    ledger.record(Entry(
        key=key, kind="action", idempotency_key=f"action:{key.slug}:{action}:{body.once}", actor=order.actor,
        reason=order.reason, recorded_at=order.recorded_at, details={"action": action, **details},
    ), settings)  # fmt: skip


def _order(user: Any, body: Asked) -> Order:
    return Order(str(user.get_name()), body.reason, datetime.now(UTC), once=body.once)
