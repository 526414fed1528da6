"""A backfill is judged by what came out, against an Airflow that lies, forgets and starves."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from include.ratchet.data.connections import MappedConnections
from include.ratchet.pipeline.ingest import land_partitions
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.settings import read_settings
from include.ratchet.spec import partition_of, partitions_between
from include.ratchet.spec.scaffold import make_model
from include.ratchet.stack import backfill
from include.ratchet.stack.backfill import backfill_model
from include.ratchet.stack.layout import open_layout

PAGE_LIMIT = 2
"""Airflow gives as many runs at once as it likes, and not as many as it is asked for."""


def split(address):
    parts = urlsplit(address)
    return parts.path, parse_qs(parts.query)


class Airflow:
    """An Airflow over HTTP with some of 3.3's defects, landing real partitions when it runs something.

    Args:
        workspace: where partitions land.
        forgotten: partitions whose run of the backfill ends well and leaves nothing.
        starved: whether the backfill's runs never leave the queue.
    """

    def __init__(self, workspace, forgotten=(), starved=False):
        self.workspace, self.forgotten, self.starved = workspace, set(forgotten), starved
        self.runs: list[dict] = []
        self.looks = 0
        self.is_cancelled = False
        airflow = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else {}
                content = json.dumps(airflow.handle(self.command, *split(self.path), body)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815

            def log_message(self, *words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handle(self, method, path, query, body):
        if path == "/auth/token":
            return {"access_token": "x"}
        if path == "/api/v2/backfills":
            spec = self.workspace.model("order_returns").spec
            days = partitions_between(spec, *(partition_of(spec, body[name][:10]) for name in ("from_date", "to_date")))
            older = {"dag_run_id": "b2025", "partition_key": "2025-12-31", "logical_date": None, "state": "queued"}
            new = [{**older, "dag_run_id": f"b{day.key}", "partition_key": day.key} for day in days]
            self.runs = [older, *new]
            return {"id": 7, "created_at": "2026-01-01T00:00:00Z"}
        if path.endswith("/cancel"):
            self.is_cancelled = True
        elif path == "/api/v2/backfills/7":
            self.looks += 1
            # Said to be complete from the start, while its runs are still queued (apache/airflow #68721).
            return {"completed_at": "2026-01-01T00:00:00Z"}
        elif path.endswith("/dagRuns") and method == "GET":
            if self.looks > 2 and not self.starved:
                for run in self.runs[1:]:
                    if run["state"] == "queued":
                        self.finish(run)
                        break
            first = int(query["offset"][0])
            return {"dag_runs": self.runs[first : first + PAGE_LIMIT], "total_entries": len(self.runs)}
        elif path.endswith("/dagRuns"):
            self.land(body["conf"]["first"])
            return {"dag_run_id": "manual"}
        return {"state": "success"}

    def finish(self, run):
        run["state"] = "success"
        if run["partition_key"] not in self.forgotten:
            self.land(run["partition_key"])

    def land(self, key):
        land_partitions(self.workspace, self.workspace.model("order_returns"), [key], "run")


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    make_model(tmp_path / "models", "order_returns")
    settings = read_settings({"RATCHET_HOME": str(tmp_path / "home"), "RATCHET_MODELS_DIR": str(tmp_path / "models")})
    monkeypatch.setattr(backfill.time, "sleep", lambda _: None)
    return Workspace(settings, MappedConnections({}), lambda: datetime(2026, 1, 1, tzinfo=UTC))


def run(workspace, airflow):
    layout = open_layout(workspace.settings.home)
    ports = {**layout.ports, "airflow": airflow.server.server_port}
    (workspace.settings.home / "ports.json").write_text(json.dumps(ports))
    seen = []
    report = backfill_model(
        workspace.settings, workspace.model("order_returns"), "2026-01-01", "2026-01-05", train=False,
        progress=lambda *step: seen.append(step),
    )  # fmt: skip
    airflow.server.shutdown()
    airflow.server.server_close()
    return report, seen


def test_early_word_of_completion_is_not_believed(workspace):
    report, seen = run(workspace, Airflow(workspace))
    assert (report.partitions, report.landed, report.repaired, report.missing) == (5, 5, 0, ())
    assert seen[0] == ("ingest", 0, 5)
    assert seen[-1] == ("ingest", 5, 5)


def test_run_that_left_nothing_is_run_again(workspace):
    report, _ = run(workspace, Airflow(workspace, forgotten=["2026-01-02", "2026-01-04"]))
    assert (report.landed, report.repaired, report.missing) == (5, 2, ())


def test_starved_backfill_is_cancelled_and_its_partitions_run_by_themselves(workspace, monkeypatch):
    monkeypatch.setattr(backfill, "STALL_S", 0.5)
    airflow = Airflow(workspace, starved=True)
    report, _ = run(workspace, airflow)
    assert airflow.is_cancelled
    assert (report.landed, report.repaired) == (5, 5)


def test_partition_that_the_source_does_not_have_is_named(workspace):
    sources = workspace.model("order_returns").folder / "sources.py"
    text = "    if partition.key == '2026-01-03':\n        return pd.DataFrame()\n    generator ="
    sources.write_text(sources.read_text().replace("    generator =", text))
    airflow = Airflow(workspace, forgotten=["2026-01-03"])
    airflow.land = lambda key: key != "2026-01-03" and Airflow.land(airflow, key)
    report, _ = run(workspace, airflow)
    assert (report.landed, report.missing) == (4, ("2026-01-03",))


def test_range_that_ends_before_it_begins_is_refused(workspace):
    with pytest.raises(ValueError, match="swap the two"):
        backfill_model(
            workspace.settings, workspace.model("order_returns"), "2026-01-05", "2026-01-01", train=False,
            progress=lambda *_: None,
        )  # fmt: skip
