"""What follows a first champion, in an accelerated clock: days of real traffic, a retraining, a hand-over, a revert.

Each day is lived as it would have been: rows are asked for when their predictions were due, labels are delivered when
they became known, the day lands when it is over, and then a hand-over is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import numpy as np
import orjson
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid

from include.ratchet.cli.output import console
from include.ratchet.cli.runs import Runs
from include.ratchet.cli.traffic import Answered, Question, Traffic
from include.ratchet.errors import NothingToRevertError, StackError
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.rollout import store
from include.ratchet.spec import Model, ModelKey, Partition

_WAIT_S = 60.0


@dataclass
class Life:
    """The days of one model, lived through a running stack.

    Args:
        runs: of the stack's DAGs.
        workspace: the installation.
        model: who is asked.
        days: to live.
        retrain_after: the day after which the model is trained again.
        questions: of those days.
    """

    runs: Runs
    workspace: Workspace
    model: Model
    days: Sequence[Partition]
    retrain_after: str
    questions: Sequence[Question]

    def __post_init__(self) -> None:
        self._key = ModelKey(self.model.name)
        self._url = self.runs.layout.serving_url
        self._decisions: list[dict[str, Any]] = []

    def live(self) -> dict[str, Any]:
        """Live all days; then go back once, and answer one request again. Returns what came of it."""
        # A DAG that is switched on looks at once; there is nothing to look at yet.
        self.runs.client.wait_for_dag(f"rollout_{self.model.name}", timeout_s=120)
        self._await(lambda: self._ask_again(self.questions[0]) is not None, "the service has no champion")
        with _bar(len(self.questions), self.model.spec.timezone) as say:
            traffic = Traffic(self._url, self.model.name, self.questions, say)
            for day in self.days:
                traffic.live(day.start, day.end)
                self._close(day)
        numbers, last = _numbers(traffic), traffic.answered[-1]
        console.print(_describe(numbers))
        return {
            **numbers, "watched": self._watch(), "rollout": self._decisions, "reverted": self._revert(last.question),
            "replayed": self._replay(last.question.id),
        }  # fmt: skip

    def _close(self, day: Partition) -> None:
        """A day is over: it lands, a hand-over is looked at, and after one of the days the model is trained again."""
        self.runs.await_run(f"ingest_{self.model.name}", {"first": day.key, "last": day.key})
        if store.read_active(self._key, self.workspace.settings) is not None:
            self._await(self._is_shipped, "the service does not ship its records")
            self._look(day)
        if day.key == self.retrain_after:
            self._train(day)

    def _train(self, day: Partition) -> None:
        """Train again with what is known by now; a version that its gates refuse leaves production as it is."""
        before = len(ledger.history(self._key, self.workspace.settings))
        conf = {"as_of": day.end.isoformat(), "reason": f"traffic until {day.key}"}
        try:
            self.runs.await_run(f"train_{self.model.name}", conf)
        except StackError:
            new = ledger.history(self._key, self.workspace.settings)[before:]
            # A refusal ends the run as failed, so that people see it; anything else is a fault.
            if not any(row.kind == "verdict" and row.reason.startswith("reject") for row in new):
                raise
        newest = ledger.history(self._key, self.workspace.settings)[-1]
        _say(day, f"trained again: {newest.kind} of version {newest.version}: {newest.reason}")

    def _look(self, day: Partition) -> None:
        dag = f"rollout_{self.model.name}"
        run = self.runs.await_run(dag, {"as_of": day.end.isoformat()})
        if any(task["task_id"] == "look" and task["state"] == "skipped" for task in self.runs.client.tasks(dag, run)):
            _say(day, "hand-over: the hourly run looked at the same moment")
            return
        found = self.runs.client.xcom(dag, run, "look")
        self._decisions.append({"day": day.key, **{name: found[name] for name in ("action", "stage", "reason")}})
        _say(day, f"hand-over: {found['action']} ({found['stage']}): {found['reason']}")

    def _watch(self) -> list[dict[str, Any]]:
        """Look at all days, as of when their labels had come, and show what monitoring saw."""
        from include.ratchet.cli.monitor import draw_looks
        from include.ratchet.monitoring import store

        self._await(self._is_shipped, "the service does not ship its records")
        first, last = self.days[0], self.days[-1]
        as_of = last.end + self.model.spec.label.lateness
        conf = {"first": first.key, "last": last.key, "as_of": as_of.isoformat()}
        self.runs.await_run(f"monitor_{self.model.name}", conf)
        looks = store.read_looks(self._key, last.end, len(self.days), self.workspace.settings)
        console.print(draw_looks(looks))
        return [
            {"partition": look.partition, "version": look.version, "rows": look.rows,
             "metric": look.numbers.get("metric"), "signals": [signal.words for signal in look.fired]}
            for look in looks
        ]  # fmt: skip

    def _revert(self, question: Question) -> dict[str, Any] | None:
        """Go back, whatever the hand-over came to, and see how soon the service does."""
        from include.ratchet.rollout.orders import Order
        from include.ratchet.rollout.revert import revert

        order = Order("demonstration", "to show how one goes back", self.workspace.clock())
        try:
            done = revert(self.workspace.settings, self._key, order)
        except NothingToRevertError as error:
            console.print(str(error), highlight=False)
            return None
        begun = time.monotonic()
        self._await(lambda: self._ask_again(question) == done.after, f"the service does not follow: {done.words}")
        seconds = time.monotonic() - begun
        console.print(f"reverted: {done.words}; the service followed within {seconds:.2f} s", highlight=False)
        return {"from": done.before, "to": done.after, "seconds": round(seconds, 2)}

    def _replay(self, request_id: str) -> dict[str, Any]:
        """Answer a recorded request again, and show it."""
        from include.ratchet.replay import Selection, replay
        from include.ratchet.replay.show import tables

        self._await(self._is_shipped, "the service does not ship its records")
        report = replay(self.workspace, self.model.name, Selection(request_id))
        for table in tables(report):
            console.print(table)
        console.print(report.summary(), highlight=False, markup=False)
        return {"request_id": request_id, "is_identical": report.is_identical}

    def _ask_again(self, question: Question) -> int | None:
        """The version that answers a question now; None if none does."""
        answer = httpx.post(
            f"{self._url}/v1/models/{self.model.name}/predict", timeout=60,
            content=orjson.dumps({"rows": [question.row]}),
        )  # fmt: skip
        return answer.json()["predictions"][0]["version"] if answer.is_success else None

    def _is_shipped(self) -> bool:
        lines = httpx.get(f"{self._url}/metrics", timeout=60).text.splitlines()
        return "ratchet_log_rows 0.0" in lines

    def _await(self, is_so: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _WAIT_S
        while not is_so():
            if time.monotonic() > deadline:
                message = f"{otherwise} (waited {_WAIT_S:g} s); see {self.runs.layout.home / 'logs'}"
                raise StackError(message)
            time.sleep(0.05)


def _say(day: Partition, words: str) -> None:
    console.print(f"{day.key}  {words}", highlight=False, markup=False)


@contextmanager
def _bar(total: int, zone: str) -> Iterator[Callable[[datetime, Sequence[Answered]], None]]:
    """The accelerated clock beside what has been answered; called with both."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("flights asked for"),
               TimeElapsedColumn())  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=total)

        def say(now: datetime, answered: Sequence[Answered]) -> None:
            bar.update(task, description=f"{now.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}", completed=len(answered))

        yield say


def _numbers(traffic: Traffic) -> dict[str, Any]:
    latency = np.quantile([one.latency_ms for one in traffic.answered], [0.5, 0.99])
    return {
        "requests": len(traffic.answered), "labels": len(traffic.labelled),
        "requests_per_s": round(len(traffic.answered) / traffic.seconds), "p50_ms": round(float(latency[0]), 1),
        "p99_ms": round(float(latency[1]), 1),
        "by_version": {
            f"{version}": _quality([one for one in traffic.answered if one.version == version], traffic.labelled)
            for version in sorted({one.version for one in traffic.answered})
        },
    }  # fmt: skip


def _quality(answered: Sequence[Answered], labelled: Set[str]) -> dict[str, Any]:
    """How good the answers of a version turned out to be."""
    from include.ratchet.training.metrics import score

    known = [one for one in answered if one.question.id in labelled]
    label = np.array([one.question.label for one in known])
    said = np.array([one.score for one in known])
    found = {metric: round(score(metric, label, said), 4) for metric in ("roc_auc", "log_loss")}
    return {"answered": len(answered), "labelled": len(known), **found}


def _describe(numbers: Mapping[str, Any]) -> Grid:
    grid = Grid("version", "answered", "labelled", "roc_auc", "log_loss", title_justify="left", title=(
        f"{numbers['requests']:,} requests, {numbers['requests_per_s']:,} a second, p50 {numbers['p50_ms']:g} ms, "
        f"p99 {numbers['p99_ms']:g} ms; {numbers['labels']:,} labels delivered"
    ))  # fmt: skip
    for version, quality in numbers["by_version"].items():
        grid.add_row(version, *(f"{value:,}" for value in quality.values()))
    return grid
