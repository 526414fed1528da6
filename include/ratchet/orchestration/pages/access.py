"""Who may see and do what: Airflow's own rights on a model's DAGs decide."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, HTTPException, Request, status

from include.ratchet.orchestration.assets import MONITOR, REPLAY, ROLLOUT, TRAIN, dag_id
from include.ratchet.spec import WHOLE, ModelKey

_RIGHTS: dict[str, tuple[str, ResourceMethod, DagAccessEntity | None]] = {
    "retrain": (TRAIN, "POST", DagAccessEntity.RUN),
    "rollout": (ROLLOUT, "POST", DagAccessEntity.RUN),
    "approve": (ROLLOUT, "PUT", DagAccessEntity.HITL_DETAIL),
    "replay": (REPLAY, "POST", DagAccessEntity.RUN),
    "note": (MONITOR, "PUT", None),
}
"""What an action asks for: a kind of DAG, and what one must be allowed to do with it."""


def may_read(user: Any, dag: str) -> bool:
    """Whether a person may see a DAG's tasks, and so what they made."""
    return bool(get_auth_manager().is_authorized_dag(
        method="GET", access_entity=DagAccessEntity.TASK_INSTANCE, details=DagDetails(id=dag), user=user
    ))  # fmt: skip


def check_read(user: Any, dag: str) -> None:
    """Refuse who may not.

    Raises:
        HTTPException: 403.
    """
    if not may_read(user, dag):
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"this login may not read {dag}")


def readable(user: Any, models: Iterable[str]) -> list[str]:
    """Those of some models that a person may see."""
    return [name for name in models if may_read(user, dag_id(TRAIN, name))]


def rights_of(user: Any, model: str) -> dict[str, bool]:
    """Which actions a person may take with a model."""
    return {action: _may(user, action, model) for action in _RIGHTS}


def _may(user: Any, action: str, model: str) -> bool:
    kind, method, entity = _RIGHTS[action]
    return bool(get_auth_manager().is_authorized_dag(
        method=method, access_entity=entity, details=DagDetails(id=dag_id(kind, model)), user=user
    ))  # fmt: skip


def need_right(action: str) -> Any:
    """A dependency that lets through who may take an action with the path's model.

    A browser says where a request comes from; one that another site has made a person send is refused.
    """

    def check(model: str, request: Request, user: GetUserDep) -> Any:
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise HTTPException(status.HTTP_403_FORBIDDEN, "this was asked for by another site")
        if not _may(user, action, model):
            kind = _RIGHTS[action][0]
            raise HTTPException(status.HTTP_403_FORBIDDEN, f"this login may not act on {dag_id(kind, model)}")
        return user

    return Depends(check)


def read_key(model: str, user: GetUserDep, segment: str = WHOLE) -> ModelKey:
    """The model key of a path and its `segment`, which the caller may see."""
    check_read(user, dag_id(TRAIN, model))
    return ModelKey(model, segment)


KeyDep = Annotated[ModelKey, Depends(read_key)]
