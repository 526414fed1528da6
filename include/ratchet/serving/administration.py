"""Handing over and going back by the API, for callers of scope `admin`: what the command line does, in a key's name.

The database decides and the service follows it; a move needs nothing else. MLflow is told afterwards. If it cannot be,
the move stands all the same, the answer says `is_registry_behind`, and the same order again (by its `X-Request-Id`) or
the model's next move makes up for it.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request, Response

from include.ratchet.errors import ModelNotFoundError, RegistryUnavailableError, RolloutError
from include.ratchet.registry import ledger
from include.ratchet.rollout import actions, store
from include.ratchet.rollout.orders import Order
from include.ratchet.rollout.revert import revert
from include.ratchet.rollout.routes import Route, read_routes
from include.ratchet.rollout.state import RolloutState, finite
from include.ratchet.rollout.words import title_of
from include.ratchet.serving.alarms import ReportMove
from include.ratchet.serving.gate import Gate, Refusal, respond
from include.ratchet.serving.openapi import ADMIN_CALL, ADMIN_READ, SEGMENT_QUERY, documented
from include.ratchet.serving.payload import Problem
from include.ratchet.serving.protocols import invalid, read_key, read_text
from include.ratchet.serving.segments import explain_unknown, has_segment
from include.ratchet.serving.service import Service
from include.ratchet.settings import Settings
from include.ratchet.spec import WHOLE, ModelKey, get_model

_log = logging.getLogger(__name__)
_REASON_LENGTH = 1000
Step = Callable[[Settings, ModelKey, Order], str]
"""Does what is ordered, and says what came of it."""


def add_routes(app: FastAPI, service: Service, gate: Gate, report: ReportMove) -> None:
    """Add administration to an application; every order that was carried out is reported."""

    @app.get(
        "/v1/models/{model}/rollout", tags=["administration"], **documented("Rollout", ADMIN_READ, query=SEGMENT_QUERY)
    )
    async def get_rollout(model: str, request: Request) -> Response:
        """Where the hand-over stands: aliases, routes, state, and what its evidence asks for now."""
        gate.admit(request, "admin")
        return respond(await _run(_look_up, service.settings, await _known(service, model, request)))

    def add(path: str, words: str, step: Step) -> None:
        @app.post(f"/v1/models/{{model}}/{path}", tags=["administration"], description=words,
                  name=path.replace("/", "_"),
                  **documented("Moved", ADMIN_CALL, request="Order", takes_id=True, query=SEGMENT_QUERY))  # fmt: skip
        async def move(model: str, request: Request) -> Response:
            caller = gate.admit(request, "admin")
            order = _read_order(await gate.read_json(request), caller, path, request.headers.get("x-request-id"))
            key = await _known(service, model, request)
            return respond(await _run(_carry_out, service.settings, key, step, order, report))

    add("revert", "End the hand-over that is under way; without one, make the previous version the champion.", _go_back)
    add("rollout/look", "Look at the evidence and do what it asks for: go on, finish, ask, revert, or wait.", _look)
    add("rollout/advance", "Go on to the next stage, or finish, whatever the evidence.", _advance)
    add("rollout/pause", "Stay in the present stage until somebody resumes.", _pause)
    add("rollout/resume", "Go on where the hand-over was paused.", _resume)
    add("rollout/revert", "End the hand-over: the champion answers all.", _end)


async def _known(service: Service, model: str, request: Request) -> ModelKey:
    """A model that has a folder, or its segment that the request names, if that ever had a version in hand.

    One whose spec is broken, or that cannot be loaded, can go back too.
    """
    key, names = read_key(model), service.model_names()
    if key.model not in names:
        message = f"no model {model!r}; expected one of {', '.join(names) or 'none'}"
        raise ModelNotFoundError(message)
    segment = request.query_params.get("segment", WHOLE)
    if segment == WHOLE:
        return key
    return ModelKey(*await _run(_find_segment, service.settings, ModelKey(key.model, segment)))


def _find_segment(settings: Settings, key: ModelKey) -> ModelKey:
    if not has_segment(settings, key):
        known = [one.segment for one in read_routes(settings) if one.model == key.model]
        raise Refusal(404, "unknown_segment", explain_unknown(key, known))
    return key


def _read_order(content: dict[str, Any], caller: str, path: str, given_id: str | None) -> Order:
    unknown = content.keys() - {"reason"}
    if unknown:
        raise invalid([Problem((name,), repr(content[name])[:80], "reason only") for name in sorted(unknown)])
    reason = read_text("reason", content.get("reason"), _REASON_LENGTH)
    if reason is None:
        raise invalid([Problem(("reason",), "nothing", "why, in a sentence; it is kept in the ledger")])
    name = read_text("X-Request-Id", given_id) or uuid.uuid4().hex
    return Order(caller, reason, datetime.now(UTC), once=f"api:{path}:{name}")


async def _run(work: Callable[..., Any], *arguments: Any) -> Any:
    """Off the event loop, which predictions need."""
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)


def _carry_out(settings: Settings, key: ModelKey, step: Step, order: Order, report: ReportMove) -> dict[str, Any]:
    try:
        words, is_behind = step(settings, key, order), False
    except RegistryUnavailableError as error:
        _log.warning("%s moved, but MLflow's aliases do not follow yet: %s", key, error)
        words, is_behind = order.reason, True
    report(key, order)
    return {"words": words, "is_registry_behind": is_behind, "rollout": _describe(settings, key)}


def _look_up(settings: Settings, key: ModelKey) -> dict[str, Any]:
    state, evidence = store.read_active(key, settings), None
    if state is not None:
        model = get_model(settings.models_dir, key.model)
        as_of = actions.read_clock(settings, model, key, datetime.now(UTC))
        asked = actions.decide(settings, model, state, as_of)
        evidence = {"as_of": as_of.isoformat(), "asks_for": asked.action, "reason": asked.reason,
                    "numbers": finite(asked.numbers)}  # fmt: skip
    return {**_describe(settings, key), "evidence": evidence}


def _describe(settings: Settings, key: ModelKey) -> dict[str, Any]:
    state, route = store.read(key, settings), read_routes(settings).get(key)
    return {
        "model": key.model,
        "segment": key.segment,
        "aliases": {alias: one.version for alias, one in ledger.read_aliases(key, settings).items()},
        "route": route.to_dict() if route else None,
        "weights": _weigh(route) if route else {},
        "title": title_of(state) if state else None,
        "state": state.to_dict() if state else None,
    }


def _weigh(route: Route) -> dict[str, float]:
    """The share of the keys that each version answers, and that is left to people."""
    if route.mode == "defer":
        return {str(route.champion): route.share, "defer": 1 - route.share}
    if route.challenger is None or route.mode in ("direct", "shadow"):
        return {str(route.champion): 1.0}
    return {str(route.champion): 1 - route.share, str(route.challenger): route.share}


def _go_back(settings: Settings, key: ModelKey, order: Order) -> str:
    return revert(settings, key, order).words


def _look(settings: Settings, key: ModelKey, order: Order) -> str:
    state = store.read(key, settings)
    # The same order again, after the look that ended the hand-over, gets the first answer.
    if state is None or not (state.is_active or state.once == order.once):
        message = f"no version of {key} is being handed over; see GET /v1/models/{key.model}/rollout"
        raise RolloutError(message)
    model = get_model(settings.models_dir, key.model)
    as_of = actions.read_clock(settings, model, key, order.recorded_at)
    return actions.step(settings, model, key, as_of, order).decision.reason


def _advance(settings: Settings, key: ModelKey, order: Order) -> str:
    model = get_model(settings.models_dir, key.model)
    as_of = actions.read_clock(settings, model, key, order.recorded_at)
    return _title(actions.advance(settings, model, key, as_of, order).state)


def _pause(settings: Settings, key: ModelKey, order: Order) -> str:
    return _title(actions.pause(settings, key, order).state)


def _resume(settings: Settings, key: ModelKey, order: Order) -> str:
    return _title(actions.resume(settings, key, order).state)


def _end(settings: Settings, key: ModelKey, order: Order) -> str:
    return _title(actions.revert(settings, key, order).state)


def _title(state: RolloutState | None) -> str:
    return title_of(state) if state else ""
