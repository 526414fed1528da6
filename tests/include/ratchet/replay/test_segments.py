"""Replay of a model divided into segments: by the version that answered, and what if within one segment."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

from include.ratchet.cli import replay as command
from include.ratchet.cli.__main__ import app
from include.ratchet.data.records import RecordTable
from include.ratchet.data.snapshots import load_snapshot
from include.ratchet.errors import RecordNotFoundError, VersionNotFoundError
from include.ratchet.replay import Selection, replay
from include.ratchet.replay.show import as_text
from include.ratchet.scoring import score_partitions
from include.ratchet.spec import WHOLE, ModelKey
from include.ratchet.views.audit import audit_model
from tests.include.ratchet.replay.lived import KEY, NAME, read_orders, record

pytestmark = pytest.mark.filterwarnings("default")  # the life of a model, as in pipeline/test_life.py
DAY = "2026-02-26"


@pytest.fixture
def scored(divide):
    divided = divide()
    score_partitions(divided, KEY, [DAY])
    return divided


def select(segment=None):
    return Selection(start=datetime(2026, 2, 26, tzinfo=UTC), end=datetime(2026, 2, 27, tzinfo=UTC), origin="scores",
                     segment=segment)  # fmt: skip


def counts(workspace):
    found = RecordTable(workspace.settings, workspace.model(NAME), "scores").read()
    return {shop: pc.sum(pc.equal(found["feature_shop"], shop)).as_py() for shop in ("north", "south", "web")}


def test_records_are_answered_again_by_the_versions_of_their_segments(scored):
    report = replay(scored, NAME, select())
    shops = counts(scored)
    assert [(one.segment, one.version, one.rows) for one in report.answers] == [
        (WHOLE, 2, shops["south"]), ("north", 1, shops["north"]), ("web", 1, shops["web"]),
    ]  # fmt: skip
    assert report.is_identical
    assert (report.records, report.features.equal) == (200, 200)
    assert "web@1" in as_text(report)


def test_audit_of_a_segment_counts_the_rows_that_it_learned_from(scored):
    record(scored, read_orders(scored, DAY, 20), "asked", segment="web")
    (version,) = audit_model(scored, ModelKey(NAME, "web"), datetime(2026, 2, 27, tzinfo=UTC)).versions
    rows = load_snapshot(KEY, version.made["training set"], scored.settings).read()
    assert version.made["training rows"] == pc.sum(pc.equal(rows["shop"], "web")).as_py()


@pytest.mark.parametrize("shop", ["web", "south"])
def test_rows_of_one_segment_are_found_whoever_answered(scored, shop):
    report = replay(scored, NAME, select(shop))
    assert report.records == counts(scored)[shop]
    assert [one.segment for one in report.answers] == ["web" if shop == "web" else WHOLE]
    with pytest.raises(RecordNotFoundError, match="segment 'wep'"):
        replay(scored, NAME, select("wep"))


def test_what_if_is_asked_within_a_segment(scored):
    shops = counts(scored)
    found = replay(scored, NAME, select("web"), with_version=2).what_if
    assert (found.segment, found.version, found.rows, found.changed) == ("web", 2, shops["web"], shops["web"])
    odds = [np.log(score / (1 - score)) for one in found.answers for score in (one.before, one.after)]
    assert np.diff(odds)[::2] == pytest.approx(-1.0)
    assert found.metric.rows == shops["web"]
    json.dumps(found.to_dict())
    pooled = replay(scored, NAME, select(), with_version=1).what_if
    assert (pooled.segment, pooled.rows) == (WHOLE, shops["south"])
    with pytest.raises(VersionNotFoundError, match="south has no version 1"):
        replay(scored, NAME, select("south"), with_version=1)


def test_version_of_a_pooled_model_that_answered_nothing_is_not_compared(divide):
    divided = divide("{by: shop, pool: false}")
    score_partitions(divided, KEY, [DAY])
    report = replay(divided, NAME, select())
    assert report.unanswered == counts(divided)["south"]
    assert report.is_identical
    with pytest.raises(RecordNotFoundError, match="name it, such as order_returns/"):
        replay(divided, NAME, select(), with_version=1)


def test_command_takes_a_segment(scored, workspace, monkeypatch):
    monkeypatch.setattr(command, "open_workspace", lambda: scored)
    words = ["replay", "--batch", "--from", DAY, "--to", "2026-02-27", "--json", "--model"]
    found = CliRunner().invoke(app, [*words, f"{NAME}/web", "--with-version", "2"])
    assert (found.exit_code, json.loads(found.stdout)["what_if"]["segment"]) == (0, "web")
    found = CliRunner().invoke(app, [*words, f"{NAME}/all"])
    assert json.loads(found.stdout)["records"] == counts(scored)["south"]
    monkeypatch.setattr(command, "open_workspace", lambda: workspace)
    found = CliRunner().invoke(app, [*words, f"{NAME}/web"], env={"COLUMNS": "200"})
    assert (found.exit_code, "not divided into segments" in found.output) == (2, True)
