"""Turning the engine's steps into Airflow's tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.sdk import task


def step(function: Callable[..., Any], **options: Any) -> Any:
    """A step as a task: named after its function, its docstring is the task's page, its result one XCom."""
    return task(multiple_outputs=False, doc_md=function.__doc__, **options)(function)
