"""The tasks' functions of a backtest. A docstring here is the task's page in the UI.

Like `steps`, imported whenever DAGs are parsed: the engine is imported inside the functions.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from airflow.sdk import get_current_context

from include.ratchet.orchestration.links import link_backtest
from include.ratchet.orchestration.steps import Json, open_workspace

POLICIES = ("never", "weekly", "nightly", "drift", "performance", "both")
"""Those of the engine, which a parse may not import; a test compares the two."""


def backtest(model: str) -> Json:
    """Replay the history of the days that the form asks for. The table is in the log, the plot on the linked page."""
    from include.ratchet.monitoring.backtest.report import recommend, store_report, to_markdown
    from include.ratchet.monitoring.backtest.run import BacktestRequest, run_backtest
    from include.ratchet.spec import ModelKey

    workspace, params = open_workspace(), get_current_context()["params"]
    spec = workspace.model(model).spec
    request = BacktestRequest(
        ModelKey(model), _need(params, "from"), _need(params, "to"),
        tuple(name.strip() for name in (params.get("policies") or ",".join(POLICIES)).split(",")),
        params.get("candidate") or None, dict(params.get("params") or {}), int(params.get("max_rows") or 60_000),
    )  # fmt: skip
    result = run_backtest(workspace, request, workers=os.cpu_count() or 1)
    found = recommend(result, spec)
    folder = store_report(workspace.settings, result, found)
    logging.getLogger(__name__).info("%s", to_markdown(result, found))
    link_backtest(folder, workspace.settings)
    return {
        "policy": found.policy, "pays": found.pays, "reason": found.reason, "section": found.section,
        "report": f"{workspace.settings.store}/{folder}",
        "policies": {one.name: {"mean": one.mean.value, "fits": one.fits} for one in result.policies},
    }  # fmt: skip


def recommend(report: Json) -> str:
    """The section for `model.yaml`, with the reason above it."""
    reason = "\n".join(f"# {line}" for line in str(report["reason"]).splitlines())
    return f"{reason}\n{report['section']}"


def _need(params: Any, name: str) -> str:
    """A day of the form.

    Raises:
        ValueError: it was left empty.
    """
    if not params.get(name):
        message = f"the form: {name} is empty; expected a day, such as 2013-03-01. Trigger again with one."
        raise ValueError(message)
    return str(params[name])
