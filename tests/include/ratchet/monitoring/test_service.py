"""Signals of the service: held against limits and against the looks before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from include.ratchet.monitoring.quality import inspect, read_payloads
from include.ratchet.monitoring.scrape import REQUESTS, SHED, UP, read_counters, shed_share
from include.ratchet.monitoring.service import find_age, find_service
from include.ratchet.monitoring.signals import Look
from include.ratchet.serving.metrics import Metrics
from include.ratchet.spec import ModelKey, ModelSpec

SPEC = ModelSpec.model_validate({
    "name": "orders", "owner": "o", "description": "Orders that come back.", "task": "binary",
    "source": {"python": "f"}, "keys": ["order_id"], "event_time": "at", "label": {"column": "y"},
    "columns": {"shop": {"type": "string", "values": ["a", "b"]}, "price": {"type": "float", "min": 0, "max": 100},
                "count": {"type": "integer"}, "card": {"type": "string"}},
    "serving": {"records": {"mask": ["card"]}},
})  # fmt: skip
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def look(day, rows=1000, **numbers):
    start = BEGIN + timedelta(days=day)
    usual = {"error_share": 0.0, "stale_share": 0.0, "latency_p99_ms": 20.0, "payload.columns": 5.0}
    return Look(ModelKey("orders"), f"{start:%Y-%m-%d}", start, start + timedelta(days=1), start, 1, rows, 1.0,
                frozenset(), (), {**usual, **numbers})  # fmt: skip


WEEK = [look(day) for day in range(7)]


def fired(newest, before=WEEK, expected=1000.0):
    return {signal.subject for signal in find_service(SPEC, [*before, newest], expected) if signal.is_fired}


@pytest.mark.parametrize(
    ("newest", "found"),
    [
        (look(7), set()),
        (look(7, error_share=0.02), {"error_share"}),
        (look(7, stale_share=0.5), {"stale_share"}),
        (look(7, unhelpful_share=0.2), {"unhelpful_share"}),
        (look(7, latency_p99_ms=90.0), {"latency_p99_ms"}),
        (look(7, latency_p99_ms=50.0), set()),
        (look(7, rows=0), {"volume"}),
        (look(7, rows=250), {"volume"}),
        (look(7, rows=4000), {"volume"}),
        (look(7, rows=400), set()),
        (look(7, **{"payload.columns": 4.0}), {"payload"}),
        (look(7, **{"payload.range.price": 0.2}), {"price"}),
        (look(7, **{"payload.type.price": 0.02}), set()),
        (look(7, **{UP: 0.0}), {"availability"}),
        (look(7, **{UP: 1.0, SHED: 50.0, REQUESTS: 1000.0}), {"shed_share"}),
    ],
)
def test_newest_look_is_held_against_limits_and_the_usual(newest, found):
    assert fired(newest) == found


def test_limit_of_the_spec_goes_before_the_usual():
    spec = SPEC.model_copy(update={"monitoring": SPEC.monitoring.model_copy(update={"max_latency_ms": 15})})
    found = find_service(spec, [*WEEK, look(7)], 1000.0)
    assert [signal.subject for signal in found if signal.is_fired] == ["latency_p99_ms"]


def test_first_silence_is_held_against_the_reference():
    assert fired(look(0, rows=0), before=[]) == {"volume"}
    assert fired(look(0, rows=0), before=[], expected=float("nan")) == set()
    assert fired(look(0, rows=0), before=[], expected=50.0) == set()  # too little to tell


def test_rare_traffic_is_not_missed():
    seldom = [replace(one, rows=30) for one in WEEK]
    assert fired(look(7, rows=0), before=seldom) == set()


def test_counters_are_read_from_the_service_itself():
    metrics = Metrics()
    metrics.requests.labels("orders", "v1", "200").inc(90)
    metrics.requests.labels("orders", "v1", "503").inc(10)
    metrics.shed.inc(10)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            is_known = self.headers["Authorization"] == "Bearer rk_metrics"
            self.send_response(200 if is_known else 401)
            self.end_headers()
            self.wfile.write(metrics.render() if is_known else b"no key")

        def log_message(self, *words):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    found = read_counters(url, "rk_metrics")
    # A service that does not know the key is not down.
    assert read_counters(url) == {}
    server.shutdown()
    server.server_close()
    thread.join()
    assert found == {UP: 1.0, SHED: 10.0, REQUESTS: 100.0}
    assert shed_share(found, {SHED: 0.0, REQUESTS: 50.0}) == pytest.approx(0.2)
    assert shed_share(found, {SHED: 70.0, REQUESTS: 900.0}) == pytest.approx(0.1)  # it was started again
    assert shed_share(found, found) is None
    assert read_counters(url) == {UP: 0.0}


def test_payloads_are_held_against_the_spec():
    rows = read_payloads([
        '{"shop": "a", "price": 3.5, "count": 2, "card": "x"}',
        '{"shop": "moon", "price": -1, "count": 2.5, "card": 7}',
        '{"shop": null, "price": "dear"}', "[1]", "no json", None,
    ])  # fmt: skip
    assert len(rows) == 3
    found = inspect(SPEC, rows)
    assert found.pop("payload.columns") == 4
    assert found == pytest.approx({
        "payload.range.shop": 1 / 3, "payload.range.price": 1 / 3, "payload.type.count": 1 / 3,
        "payload.type.price": 1 / 3,
    })  # fmt: skip
    assert inspect(SPEC, []) == {}


def test_constraints_of_the_scope_are_watched():
    """Latency has its limit from the first look on; a champion may be so old and no older."""
    constraints = {"latency_ms": 30, "freshness": "10d"}
    scope = {"scope": {"problem": "Orders come back.", "constraints": constraints}}
    bound = ModelSpec.model_validate({**SPEC.model_dump(mode="json", exclude_unset=True), **scope})
    slow = look(0, latency_p99_ms=31.0)
    assert "latency_p99_ms" in {one.subject for one in find_service(bound, [slow], 1000.0) if one.is_fired}
    assert "latency_p99_ms" not in {one.subject for one in find_service(SPEC, [slow], 1000.0)}
    newest = look(9)
    (old,) = find_age(bound, BEGIN - timedelta(hours=1), newest)
    assert old.is_fired
    assert (old.kind, old.subject) == ("quality", "champion")
    assert "at most 10d allowed" in old.words
    (fresh,) = find_age(bound, BEGIN, newest)
    assert not fresh.is_fired
    assert find_age(SPEC, BEGIN - timedelta(days=99), newest) == []
