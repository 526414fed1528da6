"""Batch scoring of a model divided into segments: whose model scored each row, and what makes a partition stale."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow.compute as pc
import pytest

from include.ratchet.data.records import RecordTable
from include.ratchet.errors import VersionNotFoundError
from include.ratchet.scoring import champions, find_champions, score_partitions
from include.ratchet.spec import WHOLE, ModelKey
from tests.include.ratchet.divided import set_champion
from tests.include.ratchet.replay.lived import KEY, NAME

DAYS = ["2026-02-25", "2026-02-26", "2026-02-27"]
pytestmark = pytest.mark.filterwarnings("default")


def read_scores(workspace):
    return RecordTable(workspace.settings, workspace.model(NAME), "scores").read().sort_by("key")


def log_odds(table):
    score = table["score"].to_numpy()
    return np.log(score / (1 - score))


def places(table):
    return {shop: pc.equal(table["feature_shop"], shop) for shop in ("north", "south", "web")}


def test_rows_are_scored_by_their_own_models_and_others_by_the_pooled_one(workspace, divide):
    score_partitions(workspace, KEY, DAYS)
    whole = read_scores(workspace)
    divided = divide()
    set_champion(divided.settings, KEY, 1)
    report = score_partitions(divided, KEY, DAYS)
    found = read_scores(divided)
    shops = places(found)
    counts = {shop: pc.sum(mask).as_py() for shop, mask in shops.items()}
    assert (report.version, report.rows, report.unanswered_rows) == (1, 600, 0)
    assert (report.own_rows, report.pooled_rows) == (counts["north"] + counts["web"], counts["south"])
    assert f"{report.own_rows} by models of segments, {report.pooled_rows} by the pooled model" in report.summary()
    said = {shop: found.filter(mask).select(["segment", "version", "pooled_for"]).to_pylist()
            for shop, mask in shops.items()}  # fmt: skip
    assert said["north"] == [{"segment": "north", "version": 1, "pooled_for": None}] * counts["north"]
    assert said["south"] == [{"segment": WHOLE, "version": 1, "pooled_for": "south"}] * counts["south"]
    assert found["key"].equals(whole["key"])
    assert found["payload"].equals(whole["payload"])
    assert len(set(found["request_id"].to_pylist())) == 600
    pooled = divide_again(divided)
    for shop, shift in {"north": 1.0, "south": 0.0, "web": -1.0}.items():
        gap = log_odds(found.filter(shops[shop])) - log_odds(pooled.filter(shops[shop]))
        assert gap == pytest.approx(shift)


def divide_again(workspace):
    """The same rows by the pooled model alone."""
    for shop in ("north", "web"):
        set_champion(workspace.settings, ModelKey(NAME, shop), None)
    report = score_partitions(workspace, KEY, DAYS)
    assert (report.own_rows, report.pooled_rows, len(report.scored)) == (0, 600, 3)
    found = read_scores(workspace)
    for shop in ("north", "web"):
        set_champion(workspace.settings, ModelKey(NAME, shop), 1)
    return found


def test_partitions_are_stale_once_the_champion_of_any_segment_moves(divide):
    divided = divide()
    score_partitions(divided, KEY, DAYS)
    first = read_scores(divided)
    again = score_partitions(divided, KEY, DAYS)
    assert (again.scored, again.unchanged, again.own_rows, again.pooled_rows) == ((), tuple(DAYS), 0, 0)
    set_champion(divided.settings, ModelKey(NAME, "web"), 2)
    moved = score_partitions(divided, KEY, DAYS)
    second = read_scores(divided)
    assert (moved.scored, moved.unchanged) == (tuple(DAYS), ())
    shops = places(second)
    same = first["score"].to_numpy() == second["score"].to_numpy()
    assert same.tolist() == pc.invert(shops["web"]).to_pylist()
    assert score_partitions(divided, KEY, DAYS).unchanged == tuple(DAYS)
    set_champion(divided.settings, ModelKey(NAME, "web"), None)
    assert score_partitions(divided, KEY, DAYS).scored == tuple(DAYS)


def test_rows_without_any_model_are_recorded_with_the_reason(divide):
    divided = divide("{by: shop, pool: false}")
    report = score_partitions(divided, KEY, DAYS)
    found = read_scores(divided)
    left = found.filter(places(found)["south"])
    assert (report.version, report.rows, report.unanswered_rows) == (None, 600, left.num_rows)
    assert report.own_rows == 600 - left.num_rows
    assert set(left["segment"].to_pylist()) == {"south"}
    assert left["score"].null_count == left["version"].null_count == left["output"].null_count == left.num_rows > 0
    assert all("no champion, and no pooled model" in error for error in left["error"].to_pylist())
    assert found.num_rows == len(set(found["request_id"].to_pylist())) == 600
    assert score_partitions(divided, KEY, DAYS).unchanged == tuple(DAYS)
    set_champion(divided.settings, ModelKey(NAME, "north"), None)
    set_champion(divided.settings, ModelKey(NAME, "web"), None)
    assert find_champions(divided.settings, divided.model(NAME)) == {}
    with pytest.raises(VersionNotFoundError, match="no champion yet"):
        score_partitions(divided, KEY, DAYS)


def test_chunks_and_few_estimators_in_memory_change_nothing(divide, monkeypatch):
    divided = divide()
    score_partitions(divided, KEY, DAYS)
    first = read_scores(divided)
    monkeypatch.setattr(champions, "_HELD", 1)
    set_champion(divided.settings, ModelKey(NAME, "web"), 2)
    score_partitions(divided, KEY, DAYS)
    set_champion(divided.settings, ModelKey(NAME, "web"), 1)
    score_partitions(divided, KEY, DAYS, chunk_rows=33)
    assert read_scores(divided).drop_columns(["answered_at"]).equals(first.drop_columns(["answered_at"]))


def test_scores_of_before_are_read_with_those_that_say_whose_they_are(workspace, divide):
    score_partitions(workspace, KEY, DAYS[:1])
    table = RecordTable(workspace.settings, workspace.model(NAME), "scores")
    old = table.read().drop_columns(["pooled_for"])
    divided = divide()
    table = RecordTable(divided.settings, divided.model(NAME), "scores")
    shutil.rmtree(table.location)
    table.commit(None, old, DAYS[:1], {}, {})
    assert score_partitions(divided, KEY, DAYS[1:]).scored == tuple(DAYS[1:])
    found = table.read().sort_by("key")
    assert found.num_rows == 600
    assert found.filter(pc.equal(found["_partition"], DAYS[0]))["pooled_for"].null_count == 200
    assert found["pooled_for"].null_count < 600
