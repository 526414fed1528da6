"""Tasks of a hand-over, run as some run of the DAG would."""

from __future__ import annotations

import json
from types import SimpleNamespace

from include.ratchet.orchestration import rollouts
from tests.include.ratchet.rollout.traffic import BEGIN, DAY


def task_runner(monkeypatch, world):
    """A way to run a task by its name: what it returns, as an XCom would hold it. Its world goes with it."""

    def call(task, *args, run_id="r1", run_type="manual", **params):
        dag_run = SimpleNamespace(
            run_type=run_type, run_id=run_id, run_after=BEGIN + 99 * DAY, dag_id="rollout_orders",
            triggering_user_name="Ada",
        )  # fmt: skip
        context = {"params": params, "dag_run": dag_run, "ti": SimpleNamespace(task_id=task)}
        monkeypatch.setattr(rollouts, "get_current_context", lambda: context)
        monkeypatch.setattr(rollouts, "link_model", lambda *_: None)
        found = getattr(rollouts, task)(*args)
        return list(found) if task == "announce" else json.loads(json.dumps(found))

    call.world = world
    return call
