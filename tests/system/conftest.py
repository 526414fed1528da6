"""A whole stack: PostgreSQL, MLflow, Airflow's scheduler, models of flights, and a Slack that listens."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import FrameLocator, expect

from include.ratchet.settings import Settings, read_settings
from include.ratchet.stack.client import FINISHED, AirflowClient
from include.ratchet.stack.control import start_stack, stop_stack
from include.ratchet.stack.layout import Layout
from tests.browser import open_browser, watch
from tests.include.ratchet.pipeline.shops import HOSTILE, add_shops
from tests.slack import SlackServer

PROJECT = Path(__file__).resolve().parents[2]
SOON_MS = 20_000


CHANGING = '''

_true_flights = flights


def flights(partition, as_of):
    """The flights of a world that `world.json` changes: by day, whether `is_late` is turned."""
    import json
    from pathlib import Path

    rows = _true_flights(partition, as_of)
    changes = [
        change for day, change in sorted(json.loads(Path(__file__).with_name("world.json").read_text()).items())
        if day <= partition.key
    ]
    if not changes or changes[-1] != "turned":
        return rows
    return rows.set_column(rows.column_names.index("is_late"), "is_late", pc.invert(rows["is_late"]))
'''
"""Appended to the sources of a model whose upstream breaks."""


CARRIERS, SHOPS, TURNING = "flight_by_carrier", "order_returns", "order_turning"


def shop_names() -> list[str]:
    """Of two hundred shops: most are harmless."""
    return [HOSTILE, "all", "", "a/b", "it's", *(f"shop {number:03d}" for number in range(195))]


@dataclass
class Stack:
    """The running stack and ways to drive it."""

    layout: Layout
    environ: dict[str, str]
    client: AirflowClient
    slack: SlackServer

    @property
    def settings(self) -> Settings:
        return read_settings(self.layout.environment(self.environ))

    def start(self, dag_id: str, conf: dict[str, Any]) -> str:
        self.client.wait_for_dag(dag_id, timeout_s=120)
        return self.client.trigger(dag_id, conf)

    def finish(self, dag_id: str, run_id: str, timeout_s: float = 300) -> str:
        deadline = time.monotonic() + timeout_s
        while (state := self.client.run(dag_id, run_id)["state"]) not in FINISHED:
            assert time.monotonic() < deadline, self.explain(dag_id, run_id)
            time.sleep(0.5)
        return state

    def run(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Run to success and return the id."""
        run_id = self.start(dag_id, conf)
        state = self.finish(dag_id, run_id)
        assert state == "success", self.explain(dag_id, run_id)
        return run_id

    def woken(self, dag_id: str) -> list[str]:
        """Runs that nobody but an event has started."""
        return [run["dag_run_id"] for run in self.client.pages(f"/dags/{dag_id}/dagRuns", "dag_runs")
                if run["run_type"] == "asset_triggered"]  # fmt: skip

    def await_woken(self, dag_id: str, known: Collection[str] = ()) -> tuple[str, str]:
        """The first such run that was not known, and its state in the end."""
        deadline = time.monotonic() + 120
        while not (new := [run for run in self.woken(dag_id) if run not in known]):
            assert time.monotonic() < deadline, f"{dag_id} was not woken"
            time.sleep(0.5)
        return new[0], self.finish(dag_id, new[0], timeout_s=180)

    def explain(self, dag_id: str, run_id: str) -> str:
        """States of a run's tasks, and the errors in its logs."""
        states = {name: (one["state"], one["try_number"]) for name, one in self.tasks(dag_id, run_id).items()}
        logs = (self.layout.home / "airflow/logs" / f"dag_id={dag_id}" / f"run_id={run_id}").rglob("*.log")
        words = [error for log in logs for error in re.findall(r'"exc_value":"(.*?)","', log.read_text())]
        return f"{dag_id} {run_id}: {states} {words} (logs in {self.layout.home})"

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        return {
            f"{one['task_id']}[{one['map_index']}]" if one["map_index"] >= 0 else one["task_id"]: one
            for one in self.client.tasks(dag_id, run_id)
        }


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="ratchet-system-"))
    slack = SlackServer()
    models = folder / "models"
    # Five winter weeks do not always hold what a year does, and these tests are not about that.
    mild = {"min_metric": 0.5, "beats_baseline": -0.5, "margin": 0.5, "max_slice_drop": None, "max_ece": None}
    add_model(models, "flight_delay", gates=mild)
    add_model(models, "flight_strict", gates={"min_metric": 0.99}, schedule={"deadline": "0m"})
    approval = {"required": True, "timeout": "1h"}
    add_model(models, "flight_approved", gates={**mild, "approval": approval})
    quick = {"strategy": "canary", "steps": [50, 100], "min_rows": 300, "min_time": "12h", "margin": 0.5,
             "guards": {"max_shift": 1.0}}  # fmt: skip
    add_model(models, "flight_handed", gates=mild, rollout={**quick, "approval": approval})
    # Short, so that a retrained version has learned from what changed a week ago.
    brief = {"window": {"kind": "sliding", "length": "21d"}, "split": {"by": "time", "validation": "2d", "test": "8d"}}
    watched = {"margin": 0.05, "policy": {"streak": 2, "label": "retrain"}}
    add_model(models, "flight_watched", gates=mild, training=brief, monitoring=watched)
    (models / "flight_watched" / "world.json").write_text("{}")
    with (models / "flight_watched" / "sources.py").open("a") as source:
        source.write(CHANGING)
    # A month of a carrier is little to judge by.
    few = {**mild, "min_test_rows": 100, "min_positive_rows": 10}
    add_model(models, CARRIERS, gates=few, segments={"by": "carrier", "min_rows": 700})
    # Without a pooled model each stands alone, and most become champion.
    alone = {"segments": ", pool: false", "gates": ", beats_baseline: -1.0"}
    add_shops(models, shares=dict.fromkeys(shop_names(), 1.0), rows=1200, **alone)
    # What is known of these orders comes with them: the service answers for any day.
    three = dict.fromkeys(("north", "south", "web"), 1.0)
    add_shops(models, TURNING, shares=three, turned={"web": "2026-02-15"}, rows=600, **alone)
    change_spec(
        models / TURNING, monitoring={"policy": {"streak": 2}},
        training={"window": {"length": "16d"}, "split": {"validation": "2d", "test": "10d"}},
        rollout={**quick, "shadow_first": False, "min_rows": 100, "margin": 0.05},
    )  # fmt: skip
    for name, history in (("features.py", r" +shop_return_rate_7d=.*\n"), ("estimator.py", ', "shop_return_rate_7d"')):
        path = models / TURNING / name
        path.write_text(re.sub(history, "", path.read_text()))
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "RATCHET", "MLFLOW"))
    }
    environ |= {
        "RATCHET_HOME": str(folder / "home"),
        "RATCHET_MODELS_DIR": str(models),
        "AIRFLOW_CONN_SLACK_DEFAULT": slack.connection,
        "PYTHONPATH": str(PROJECT),
    }
    layout = start_stack(folder / "home", environ, {}, print)
    try:
        with AirflowClient.of(layout) as client:
            yield Stack(layout, environ, client, slack)
    finally:
        stop_stack(folder / "home")
        slack.close()
        if request.session.testsfailed == 0:
            shutil.rmtree(folder)


def add_model(models: Path, name: str, **changes: dict[str, Any]) -> None:
    """The flights' model under another name, made small: five weeks, two candidates, four trials."""
    shutil.copytree(PROJECT / "include/models/flight_delay", models / name)
    spec = yaml.safe_load((models / name / "model.yaml").read_text())
    spec["name"] = name
    training = spec["training"]
    training["window"]["length"] = "35d"
    training["split"] |= {"validation": "7d", "test": "7d"}
    training["search"] |= {"trials": 4, "strategy": "random"}
    del training["candidates"]["hist_boosting"]
    spec["rollout"] = {"strategy": "direct"}
    (models / name / "model.yaml").write_text(yaml.safe_dump(spec))
    change_spec(models / name, **changes)


def change_spec(folder: Path, **changes: dict[str, Any]) -> None:
    """Other values of some keys of a spec's sections."""
    path = folder / "model.yaml"
    spec = yaml.safe_load(path.read_text())
    for section, values in changes.items():
        spec[section] = {**spec.get(section, {}), **values}
    path.write_text(yaml.safe_dump(spec))


@pytest.fixture(scope="module")
def visit(stack: Stack) -> Iterator[Callable[[str], FrameLocator]]:
    """Opens a page in Airflow's frame, as somebody who logged in as people do."""
    with open_browser() as browser:
        context = browser.new_context(viewport={"width": 1400, "height": 900}, base_url=stack.layout.airflow_url)
        page = context.new_page()
        page.goto("/")
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", stack.layout.secrets["admin"])
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "login" not in url)
        complaints = watch(page)

        def open_page(path: str) -> FrameLocator:
            page.goto(f"/plugin/models/ratchet/{path}")
            frame = page.frame_locator("iframe[title=Models]")
            expect(frame.get_by_role("heading", level=1)).to_be_visible(timeout=SOON_MS)
            return frame

        yield open_page
        context.close()
        assert complaints == []


def give_order(frame: FrameLocator, name: str, reason: str, ends: str = "The run has ended well.") -> None:
    """Give an order, confirm it with a reason, and wait until its run is over."""
    frame.get_by_role("button", name=name, exact=True).first.click()
    dialog = frame.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(reason)
    dialog.locator("button[type=submit]").click()
    expect(dialog).to_contain_text(ends, timeout=240_000)
