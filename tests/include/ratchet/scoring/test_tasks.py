"""The tasks of both DAGs: what becomes an XCom, an asset event, a skip or a failure."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.ratchet.errors import NotReproducibleError
from include.ratchet.orchestration import scores, steps
from include.ratchet.scoring import champions
from tests.include.ratchet.replay.lived import NAME, read_orders, record

pytestmark = pytest.mark.filterwarnings("default")  # the life of a model, as in pipeline/test_life.py


@pytest.fixture
def run(workspace, monkeypatch):
    """Sets the run that the tasks find themselves in."""
    monkeypatch.setattr(steps, "open_workspace", lambda: workspace)
    monkeypatch.setattr(scores, "open_workspace", lambda: workspace)

    def run(partition_key=None, **params):
        context = {"params": params, "dag_run": SimpleNamespace(partition_key=partition_key, run_after=None)}
        for module in (steps, scores):
            monkeypatch.setattr(module, "get_current_context", lambda: context)

    return run


def test_partition_of_the_run_or_range_of_the_form_is_scored_and_published(run):
    run("2026-02-26")
    assert scores.plan_partitions(NAME) == [["2026-02-26"]]
    run("2026-02-26", first="2026-02-25", last="2026-02-27")
    (keys,) = scores.plan_partitions(NAME)
    report = scores.score(NAME, keys)
    assert json.loads(json.dumps(report))["scored"] == ["2026-02-25", "2026-02-26", "2026-02-27"]
    (event,) = scores.publish(NAME, [report])
    assert event.asset.uri == "ratchet://order_returns/scores"
    assert {name: event.extra[name] for name in ("first", "last", "partitions", "rows")} == {
        "first": "2026-02-25", "last": "2026-02-27", "partitions": 3, "rows": 600,
    }  # fmt: skip


def test_what_cannot_be_scored_is_skipped_with_the_reason(run, monkeypatch):
    run()
    with pytest.raises(AirflowSkipException, match="nothing to score: .*no rows of 2026-05-01"):
        scores.score(NAME, ["2026-05-01"])
    monkeypatch.setattr(champions, "read_champions", lambda *_: {})
    with pytest.raises(AirflowSkipException, match="no champion yet"):
        scores.score(NAME, ["2026-02-26"])


def test_replay_of_the_form_passes_or_fails_by_its_bits(run, workspace, caplog):
    def tamper(row):
        row["score"] += 0.25

    record(workspace, read_orders(workspace, "2026-02-26", 10), "log")
    record(workspace, read_orders(workspace, "2026-02-27", 10), "bad", change=tamper)
    run(**{"from": "2026-02-26", "to": "2026-02-27", "with_version": 2})
    with caplog.at_level("INFO"):
        report = json.loads(json.dumps(scores.replay(NAME)))
    assert "largest change" in caplog.text
    assert report["what_if"]["version"] == 2
    assert scores.compare(report).startswith("identical: 10 of 10")
    run(request_id="bad-3")
    with pytest.raises(NotReproducibleError, match="not identical: 0 of 1.*bad-3"):
        scores.compare(scores.replay(NAME))
    run()
    with pytest.raises(ValueError, match="expected REQUEST_ID"):
        scores.replay(NAME)
