"""Another version on the same records: what would change, and which was better."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from include.ratchet.data.records import RecordTable
from include.ratchet.data.tables import Table
from include.ratchet.errors import VersionNotFoundError
from include.ratchet.replay import Selection, replay, whatif
from include.ratchet.replay.answer import Answerer
from include.ratchet.replay.show import as_text
from include.ratchet.rollout.labels import read_outcomes
from tests.include.ratchet.replay.lived import NAME, compute, read_orders, record
from tests.include.ratchet.rollout.traffic import make_model

DAY = Selection(start=datetime(2026, 2, 26, tzinfo=UTC), end=datetime(2026, 2, 27, tzinfo=UTC))
pytestmark = pytest.mark.filterwarnings("default")


def test_changed_answers_and_both_metrics_are_those_of_the_versions(workspace):
    orders = read_orders(workspace, "2026-02-26", 200)
    rows = record(workspace, orders, "log")
    found = replay(workspace, NAME, DAY, with_version=2).what_if
    before = np.array([row["score"] for row in rows])
    after = Answerer(workspace.settings, workspace.model(NAME), 2).score(compute(workspace, orders))
    assert (found.rows, found.features) == (200, "recorded")
    assert found.changed == int((before != after).sum()) > 100
    assert found.largest_change == np.abs(before - after).max() == abs(found.answers[0].after - found.answers[0].before)
    assert found.decided_otherwise == np.mean((before >= 0.5) != (after >= 0.5))
    landed = Table(workspace.settings, NAME, NAME).read(["2026-02-26"], columns=["order_id", "is_returned"]).to_pylist()
    known = {row["order_id"]: row["is_returned"] for row in landed}
    label = [known[order] for order in orders["order_id"].to_pylist()]
    assert found.metric.rows == 200
    assert found.metric.before.value == pytest.approx(roc_auc_score(label, before))
    assert found.metric.after.value == pytest.approx(roc_auc_score(label, after))
    assert found.metric.gain.low <= found.metric.gain.value <= found.metric.gain.high
    json.dumps(found.to_dict())


def test_same_version_changes_nothing(workspace):
    record(workspace, read_orders(workspace, "2026-02-26", 20), "log")
    found = replay(workspace, NAME, DAY, with_version=1).what_if
    assert (found.changed, found.largest_change, found.decided_otherwise, found.answers) == (0, 0.0, 0.0, ())
    assert found.metric.gain.value == 0


def test_shadow_answers_are_left_out_and_texts_of_callers_are_no_markup(workspace):
    orders = read_orders(workspace, "2026-02-26", 10)
    record(workspace, orders, "[red]log")
    record(workspace, orders, "shadow", version=2, route="shadow")
    report = replay(workspace, NAME, DAY, with_version=2)
    assert [check.version for check in report.answers] == [1, 2]
    assert report.is_identical
    assert report.what_if.rows == 10
    assert "[red]log-0" in as_text(report)


def test_feature_that_was_not_recorded_is_computed(workspace):
    def forget(row):
        del row["feature_shop"]

    orders = read_orders(workspace, "2026-02-26", 10)
    record(workspace, orders, "log", change=forget)
    report = replay(workspace, NAME, DAY, with_version=2)
    after = Answerer(workspace.settings, workspace.model(NAME), 2).score(compute(workspace, orders))
    assert report.what_if.features == "recomputed"
    gaps = {answer.request_id: answer.after for answer in report.what_if.answers}
    assert gaps == {f"log-{index}": score for index, score in enumerate(after)}


def test_label_that_a_caller_sent_counts_where_none_has_landed(workspace):
    model = workspace.model(NAME)
    orders = read_orders(workspace, "2026-02-26", 3)
    invented = orders.set_column(0, "order_id", pa.array(["new-0", "new-1", "new-2"]))
    rows = record(workspace, orders, "log") + record(workspace, invented, "new")
    now = datetime(2026, 2, 28, tzinfo=UTC)
    sent = [
        {"request_id": "new-0", "row": 0, "kind": "label", "value": "true"},
        {"key": rows[4]["key"], "kind": "label", "value": "true"},
        {"key": rows[4]["key"], "kind": "label", "value": "false", "available_time": now},
        {"request_id": "new-2", "row": 0, "kind": "human", "value": "true"},
    ]
    base = {"feedback_id": "f", "received_at": now, "available_time": datetime(2026, 2, 27, tzinfo=UTC)}
    RecordTable(workspace.settings, model, "feedback").append([base | row for row in sent], "feedback", 4)
    names = ("key", "request_id", "row", "event_time", "received_at")
    records = pa.Table.from_pylist([{name: row[name] for name in names} for row in rows])
    truths = read_outcomes(workspace.settings, model, records).truths
    is_known, found = truths.find(records["key"].combine_chunks())
    assert is_known.tolist() == [True] * 5 + [False]
    assert found[3:].tolist() == [1.0, 0.0]


def test_label_that_landed_counts_before_one_that_a_caller_sent(workspace):
    rows = record(workspace, read_orders(workspace, "2026-02-26", 50), "log")
    before = replay(workspace, NAME, DAY, with_version=2).what_if.metric
    at = datetime(2026, 2, 28, tzinfo=UTC)
    sent = [{"feedback_id": f"f{number}", "key": row["key"], "kind": "label", "value": "true", "received_at": at,
             "available_time": at} for number, row in enumerate(rows)]  # fmt: skip
    RecordTable(workspace.settings, workspace.model(NAME), "feedback").append(sent, "feedback", len(sent))
    assert replay(workspace, NAME, DAY, with_version=2).what_if.metric == before


def test_labels_of_classes_that_no_version_knows_count_against_both(tmp_path):
    model = make_model(tmp_path, task="multiclass")
    scores = np.array([[0.8, 0.2], [0.4, 0.6], [0.5, 0.5]])
    found = whatif._measure(model, np.array(["1", "2", "3"], object), scores, scores, np.array([1, 2]))
    assert found.rows == 3
    assert found.before.value == pytest.approx(-np.log([0.8, 0.6, np.finfo(float).eps]).mean())


def test_unknown_version_is_refused(workspace):
    record(workspace, read_orders(workspace, "2026-02-26", 1), "log")
    with pytest.raises(VersionNotFoundError, match="no version 99"):
        replay(workspace, NAME, DAY, with_version=99)


def test_no_label_yet_is_said(workspace):
    orders = read_orders(workspace, "2026-02-26", 2)
    record(workspace, orders.set_column(0, "order_id", pa.array(["new-0", "new-1"])), "log")
    report = replay(workspace, NAME, DAY, with_version=2)
    assert report.what_if.metric is None
    assert "none have come yet" in as_text(report)
