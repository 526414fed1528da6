"""One spec, a model for each segment, on a real scheduler: flights by carrier, and shops whose workers die."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from urllib.parse import quote

import httpx
import orjson
import psutil
import pytest
from mlflow import MlflowClient

from include.ratchet.cli.traffic import Traffic, read_questions
from include.ratchet.data.blobs import open_blobs
from include.ratchet.data.connections import EnvironmentConnections
from include.ratchet.data.records import RecordTable
from include.ratchet.monitoring import store
from include.ratchet.pipeline.workspace import RunFolder, Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.fleet import read_champions, read_newest
from include.ratchet.registry.versions import get_version
from include.ratchet.rollout import actions
from include.ratchet.rollout import store as rollouts
from include.ratchet.rollout.orders import Order
from include.ratchet.spec import ModelKey, get_model, partition_of, partitions_between, segment_name
from include.ratchet.stack.client import FINISHED
from tests.system.conftest import CARRIERS, SHOPS, TURNING, change_spec, give_order, shop_names
from tests.waiting import wait_for

pytestmark = pytest.mark.system


def table(stack, model, run_id):
    """The run's table, segment by segment."""
    folder = RunFolder(open_blobs(stack.settings), ModelKey(model), run_id)
    return {one["segment"]: one for one in folder.need_json("table.json")}


def mlflow_versions(stack, model, run_id):
    """Segments of the versions that a training registered."""
    client = MlflowClient(stack.layout.mlflow_url, stack.layout.mlflow_url)
    found, token = [], None
    while True:
        page = client.search_model_versions(f"tags.`ratchet.training` = '{run_id}'", page_token=token)
        found += [one.tags["ratchet.segment"] for one in page if one.name.partition(".")[0] == model]
        token = page.token
        if not token:
            return Counter(found)


def test_flights_by_carrier_get_a_model_of_their_own_where_it_wins(stack):
    stack.run(f"ingest_{CARRIERS}", {"first": "2013-01-01", "last": "2013-02-11"})
    run_id = stack.run(f"train_{CARRIERS}", {"as_of": "2013-02-12"})
    found = table(stack, CARRIERS, run_id)
    assert {"UA", "B6", "EV", "DL", "AA", "MQ", "OO", "HA"} <= found.keys()
    assert found["OO"]["outcome"] == found["HA"]["outcome"] == "pooled"
    trained = {segment: one for segment, one in found.items() if one["version"]}
    assert len(trained) >= 6
    for one in trained.values():
        assert one["rival"] == "pooled model"
        value, low, high = one["gain"]
        assert low <= value <= high
        assert (one["outcome"] == "promoted") == (low > 0)
    champions = read_champions(CARRIERS, stack.settings)
    assert champions.keys() == {"all"} | {name for name, one in trained.items() if one["outcome"] == "promoted"}
    assert mlflow_versions(stack, CARRIERS, run_id) == Counter(dict.fromkeys({"all", *trained}, 1))
    appeared = read_newest(CARRIERS, "segment", stack.settings)
    assert {entry.details["event"] for entry in appeared.values()} == {"appeared"}
    assert appeared.keys() == found.keys()


def test_workers_that_die_lose_and_double_nothing(stack):
    """Two hundred segments; whatever process trains is killed again and again while they are."""
    shops = [segment_name([name]) for name in shop_names()]
    stack.run(f"ingest_{SHOPS}", {"first": "2026-01-01", "last": "2026-02-28"})
    run_id = stack.start(f"train_{SHOPS}", {"as_of": "2026-03-01", "trials": 4})
    killed, deadline = 0, time.monotonic() + 900
    while (state := stack.client.run(f"train_{SHOPS}", run_id)["state"]) not in FINISHED:
        assert time.monotonic() < deadline, stack.explain(f"train_{SHOPS}", run_id)
        if killed < 4 and (pid := running(stack, run_id)) is not None:
            time.sleep(2 + 1.5 * killed)  # at another point of its work each time
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        time.sleep(0.5)
    assert state == "success", stack.explain(f"train_{SHOPS}", run_id)
    assert killed >= 3
    tries = [
        one["try_number"] for name, one in stack.tasks(f"train_{SHOPS}", run_id).items() if "train_segments" in name
    ]
    assert max(tries) > 1
    found = table(stack, SHOPS, run_id)
    # Every shop is accounted for, whatever became of it, and none failed for a worker's death.
    assert found.keys() == set(shops)
    assert "failed" not in {one["outcome"] for one in found.values()}
    trained = [segment for segment, one in found.items() if one["version"]]
    assert len(trained) >= 190
    versions = mlflow_versions(stack, SHOPS, run_id)
    assert versions == Counter(dict.fromkeys(trained, 1))
    champions = read_champions(SHOPS, stack.settings)
    for segment in trained:
        kinds = Counter(entry.kind for entry in ledger.history(ModelKey(SHOPS, segment), stack.settings))
        assert kinds["verdict"] == 1
        is_champion = found[segment]["outcome"] == "promoted"
        assert kinds["promotion"] == (segment in champions) == is_champion
    assert len(champions) >= 150
    assert len(stack.slack.about(f"{SHOPS}: segments trained")) == 1


def test_the_next_day_is_answered_scored_and_watched_by_segment(stack):
    day = "2026-03-01"
    stack.run(f"ingest_{SHOPS}", {"first": day, "last": day})
    stack.run(f"score_{SHOPS}", {"first": day, "last": day})
    champions = read_champions(SHOPS, stack.settings)
    model = get_model(stack.settings.models_dir, SHOPS)
    records = RecordTable(stack.settings, model, "scores").read([day], columns=["segment", "version", "score", "error"])
    assert records.num_rows == 1200
    for one in records.to_pylist():
        if one["score"] is None:  # nobody stands in, and that is said
            assert "segment" in one["error"] or "model" in one["error"]
        else:
            assert champions[one["segment"]].version == one["version"]
    stack.run(f"monitor_{SHOPS}", {"first": day, "last": day, "as_of": "2026-03-03"})
    for segment in list(champions)[:20]:
        look = store.read_look(ModelKey(SHOPS, segment), day, stack.settings)
        assert look is not None
        assert look.version == champions[segment].version
    shops = [name for name in shop_names() if segment_name([name]) in champions][:30]
    now = datetime.now(UTC).isoformat()
    rows = [{"order_id": f"asked {number}", "ordered_at": now, "shop": name, "price": 20.0}
            for number, name in enumerate(shops)]  # fmt: skip
    answer = httpx.post(f"{stack.layout.serving_url}/v1/models/{SHOPS}/predict", json={"rows": rows}, timeout=120)
    assert answer.status_code == 200, answer.text
    assert [one["segment"] for one in answer.json()["predictions"]] == [segment_name([name]) for name in shops]


def test_handovers_of_many_segments_are_moved_together_from_the_models_page(stack, visit):
    shops = [segment_name([f"shop {number:03d}"]) for number in (7, 8)]
    conf = {"as_of": "2026-03-02", "trials": 1, "force": True, "segments": shops}
    change_spec(stack.settings.models_dir / SHOPS, rollout={"strategy": "canary"})
    stack.client.wait_for_dag(f"rollout_{SHOPS}", timeout_s=120)
    stack.run(f"train_{SHOPS}", conf)
    champions = read_champions(SHOPS, stack.settings)
    model, now = get_model(stack.settings.models_dir, SHOPS), datetime.now(UTC)
    keys = [ModelKey(SHOPS, segment) for segment in shops]
    for key in keys:
        state = rollouts.read(key, stack.settings)
        if state is None or not state.is_active:  # the training has not begun it by itself
            other = get_version(key, 2 if champions[key.segment].version == 1 else 1, stack.settings)
            challenger = ledger.AliasState(other.number, other.as_of)
            as_of = actions.read_clock(stack.settings, model, key, now)
            actions.start(stack.settings, model, key, challenger, Order("a test", "both at once", now), as_of)
    own = f"model?name={SHOPS}&segment={quote(shops[0], safe='')}"
    for page, name, expected in (
        (own, "Pause", ["paused", "running"]),
        (f"model?name={SHOPS}", "Revert", ["reverted", "reverted"]),
    ):
        give_order(visit(page), name, f"{name}, says a test")
        assert [rollouts.read(key, stack.settings).status for key in keys] == expected


def test_segment_that_changes_is_retrained_and_handed_over_alone(stack):
    """One of three shops: its monitor asks, an event wakes its training, and its own traffic decides the hand-over."""
    train, web = f"train_{TURNING}", ModelKey(TURNING, "web")
    stack.run(f"ingest_{TURNING}", {"first": "2026-01-30", "last": "2026-02-14"})
    stack.run(train, {"as_of": "2026-02-15"})
    assert versions(stack) == {"north": 1, "south": 1, "web": 1}
    live = Live(stack, "2026-02-15", "2026-03-20")
    lived = live.days(16)
    stack.run(f"ingest_{TURNING}", lived)
    stack.run(f"monitor_{TURNING}", {**lived, "as_of": "2026-03-03"})
    assert "performance" in store.read_incidents(web, stack.settings)[-1].kinds
    run_id, state = stack.await_woken(train)
    assert state == "success", stack.explain(train, run_id)
    assert {name: one["version"] for name, one in table(stack, TURNING, run_id).items()} == {"web": 2}
    (request,) = entries(stack, web, "request")
    assert "performance" in request.details["cause"]
    assert versions(stack)["web"] == 1
    while rollouts.read_active(web, stack.settings) is not None:
        live.days(3)
        stack.run(f"rollout_{TURNING}", {"as_of": live.now.isoformat()})
    assert [entry.details["action"] for entry in entries(stack, web, "rollout")] == ["start", "advance", "finish"]
    assert versions(stack) == {"north": 1, "south": 1, "web": 2}
    for _ in range(3):
        stack.run(f"monitor_{TURNING}", {**live.days(1), "as_of": (live.now + timedelta(days=1)).isoformat()})
    assert not store.read_incidents(web, stack.settings)[-1].is_open
    for other in (ModelKey(TURNING, "north"), ModelKey(TURNING, "south")):
        assert entries(stack, other, "request") == entries(stack, other, "rollout") == []


def versions(stack):
    return {segment: one.version for segment, one in read_champions(TURNING, stack.settings).items()}


def entries(stack, key, kind):
    return [entry for entry in ledger.history(key, stack.settings) if entry.kind == kind]


class Live:
    """Days of the shops, whose orders and returns the service hears of, one after the other."""

    def __init__(self, stack, first, last):
        self.stack = stack
        model = get_model(stack.settings.models_dir, TURNING)
        workspace = Workspace(stack.settings, EnvironmentConnections({}), lambda: datetime.now(UTC))
        days = list(partitions_between(model.spec, *(partition_of(model.spec, day) for day in (first, last))))
        self.questions = read_questions(workspace, model, days)
        self.traffic, self.ahead = Traffic(stack.layout.serving_url, TURNING, self.questions), iter(days)
        wait_for(lambda: self.ask() == versions(stack), 60, self.ask)

    def days(self, count):
        """The next days, as a form names them; their records are shipped."""
        found = list(islice(self.ahead, count))
        self.now = found[-1].end
        with ThreadPoolExecutor(1) as elsewhere:  # than here, where the browser keeps an event loop
            elsewhere.submit(self.traffic.live, found[0].start, self.now).result()
        wait_for(lambda: "ratchet_log_rows 0.0" in self.metrics(), 60, self.metrics)
        return {"first": found[0].key, "last": found[-1].key}

    def metrics(self):
        return httpx.get(f"{self.stack.layout.serving_url}/metrics", timeout=60).text

    def ask(self):
        """The version that answers each shop; the service's words where it does not."""
        rows = [one.row for one in self.questions[:30]]
        url = f"{self.stack.layout.serving_url}/v1/models/{TURNING}/predict"
        answer = httpx.post(url, content=orjson.dumps({"rows": rows}), timeout=60)
        if not answer.is_success:
            return answer.text
        return {one["segment"]: one["version"] for one in answer.json()["predictions"]}


def running(stack, run_id):
    """Process of a batch that is being trained now."""
    for name, one in stack.tasks(f"train_{SHOPS}", run_id).items():
        if "train_segments" in name and one["state"] == "running" and one.get("pid"):
            with suppress(psutil.Error):
                if psutil.Process(one["pid"]).is_running():
                    return one["pid"]
    return None
