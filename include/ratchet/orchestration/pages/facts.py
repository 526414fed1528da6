"""What Airflow's database knows of the models."""

from __future__ import annotations

from typing import Any

from airflow.models.dag import DagModel, DagTag
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select

from include.ratchet.orchestration.assets import ROLLOUT, TAG, TRAIN, dag_id
from include.ratchet.views.fleet import DagFacts


def read_dags(session: Any, model: str | None = None) -> dict[str, DagFacts]:
    """Every model that has DAGs, or one of them, by name."""
    columns = (DagModel.dag_id, DagModel.owners, DagModel.description, DagModel.next_dagrun_create_after,
               DagModel.is_paused)  # fmt: skip
    ours = DagModel.dag_id.in_(select(DagTag.dag_id).where(DagTag.name == TAG))
    chosen = DagModel.dag_id.startswith(f"{TRAIN}_") if model is None else DagModel.dag_id == dag_id(TRAIN, model)
    rows = session.execute(select(*columns).where(ours, chosen, ~DagModel.is_stale))
    asked = _read_asked(session)
    return {
        (name := dag.removeprefix(f"{TRAIN}_")): DagFacts(owner or "", words or "", next_run, is_paused, name in asked)
        for dag, owner, words, next_run, is_paused in rows
    }


def _read_asked(session: Any) -> set[str]:
    """Models of which a run waits for a person."""
    query = (
        select(TaskInstance.dag_id)
        .join(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
        .where(HITLDetail.responded_at.is_(None), TaskInstance.state.in_(("awaiting_input", "deferred")))
    )
    return {dag.partition("_")[2] for dag in session.scalars(query) if dag.partition("_")[0] in (TRAIN, ROLLOUT)}
