"""Turning the engine's steps into Airflow's tasks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from include.ratchet.orchestration.assets import champion_asset
from include.ratchet.orchestration.lineage import decorate_step
from include.ratchet.orchestration.links import VERSION_LINKS, attach
from include.ratchet.orchestration.steps import APPROVE, DECLINE
from include.ratchet.spec import ModelSpec


def step(function: Callable[..., Any], *, links: tuple[str, ...] = (), **options: Any) -> Any:
    """A step as a task: named after its function, its docstring is the task's page, its result one XCom.

    Args:
        function: the step.
        links: names of the buttons on the task's page, whose addresses the step leaves.
        options: of Airflow's task.
    """
    decorated = decorate_step(function, multiple_outputs=False, doc_md=function.__doc__, **options)
    return attach(decorated, links) if links else decorated


def ask_approval(before: str, subject: str, shown: str, timeout: timedelta) -> Any:
    """A person's word, asked for in Airflow's UI; no answer in time means no.

    Args:
        before: what waits for it.
        subject: the question.
        shown: a template of what to decide on.
        timeout: for the answer.
    """
    from airflow.providers.standard.operators.hitl import HITLOperator

    return HITLOperator(
        task_id="approve",
        doc_md=f"A person's word before {before}. No answer in time means no.",
        subject=subject,
        body=f"```\n{shown}\n```",
        options=[APPROVE, DECLINE],
        defaults=DECLINE,
        response_timeout=timeout,
        execution_timeout=None,
    )


def promotion(spec: ModelSpec, function: Callable[..., Any], request: Any) -> list[Any]:
    """The tasks that move a model's champion: a person's word, where the spec wants one, and the move.

    Args:
        spec: the model's.
        function: the step that moves it; it takes the request and the person's answer.
        request: of the training.
    """
    move = step(function, outlets=[champion_asset(spec.name)], links=VERSION_LINKS)
    if not spec.gates.approval.required:
        return [move(request)]
    judged = "'segments.report_segments')['table']" if spec.segments else "'judge.decide')['gates']"
    subject, shown = f"Make the new version of {spec.name} champion?", f"{{{{ ti.xcom_pull({judged} }}}}"
    approval = ask_approval("promotion", subject, shown, spec.gates.approval.timeout)
    return [approval, move(request, approval.output)]
