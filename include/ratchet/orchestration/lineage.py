"""OpenLineage: what a task read and wrote, for the events that Airflow's provider sends.

The provider's listener asks an operator for its datasets. It asks in a fork of the task's process, where delta-rs'
runtime and database connections do not work, so that a step is described before, where it ran. Without a transport
nothing of it is imported or done.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.decorators.python import _PythonDecoratedOperator
from airflow.sdk.bases.decorator import task_decorator_factory

if TYPE_CHECKING:
    from include.ratchet.exports.flows import Flow

_log = logging.getLogger(__name__)


class StepOperator(_PythonDecoratedOperator):  # type: ignore[misc]  # airflow is not typed
    """A task of ours: Airflow's `@task` that can say what it read and wrote."""

    _flow: Flow | None = None

    def execute(self, context: Any) -> Any:
        """Run the step."""
        try:
            result = super().execute(context)
        except Exception:
            self._describe(context, None, is_done=False)
            raise
        self._describe(context, result, is_done=True)
        return result

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """What the provider asks for at the end, also of a task that failed or was skipped."""
        from airflow.providers.openlineage.extractors import OperatorLineage

        if self._flow is None:
            return OperatorLineage()
        return OperatorLineage(inputs=list(self._flow.inputs), outputs=list(self._flow.outputs))

    def _describe(self, context: Any, result: Any, *, is_done: bool) -> None:
        from airflow.providers.openlineage import conf

        if conf.is_disabled():
            return
        try:
            self._flow = self._trace(context, result, is_done=is_done)
        except Exception:
            # Whatever it is: a task does not fail because nobody can be told of it.
            _log.warning("OpenLineage hears nothing of what this task read and wrote", exc_info=True)

    def _trace(self, context: Any, result: Any, *, is_done: bool) -> Flow:
        from include.ratchet.exports.flows import Step, trace_step
        from include.ratchet.orchestration.steps import open_workspace

        function = self.python_callable
        given = inspect.signature(function).bind(*self.op_args, **self.op_kwargs).arguments
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        return trace_step(name, Step(open_workspace(), str(context["run_id"]), given, result, is_done))


def decorate_step(function: Any, **options: Any) -> Any:
    """A function as a task, as `airflow.sdk.task` would make it."""
    return task_decorator_factory(function, decorated_operator_class=StepOperator, **options)
