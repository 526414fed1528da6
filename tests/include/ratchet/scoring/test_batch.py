"""Batch scoring: the same features and bits as a service's, written once, and nothing of the outcome read."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.ratchet.data.records import REQUESTS, RecordTable, record_key
from include.ratchet.data.tables import Table
from include.ratchet.errors import PartitionUnavailableError, SchemaChangedError, VersionNotFoundError
from include.ratchet.registry.ledger import read_aliases
from include.ratchet.registry.lineage import read_kernels
from include.ratchet.replay import Selection, replay
from include.ratchet.scoring import batch, champions, records, score_partitions
from include.ratchet.scoring.batch import find_champion
from tests.include.ratchet.replay.lived import KEY, KNOWN, NAME, compute, read_orders, record, replace_day

DAYS = ["2026-02-25", "2026-02-26", "2026-02-27"]
pytestmark = pytest.mark.filterwarnings("default")


def read_scores(workspace):
    return RecordTable(workspace.settings, workspace.model(NAME), "scores").read().sort_by("key")


def test_every_row_is_answered_by_the_champion_and_recorded_like_a_request(workspace):
    report = score_partitions(workspace, KEY, DAYS)
    champion = read_aliases(KEY, workspace.settings)["champion"].version
    assert (report.scored, report.unchanged, report.unavailable) == (tuple(DAYS), (), ())
    assert (report.rows, report.version, report.learned) == (600, champion, 3)
    assert json.loads(json.dumps(report.to_dict()))["version_as_of"] == "2026-03-01T00:00:00+00:00"
    found = read_scores(workspace)
    assert found.schema.names[: len(REQUESTS)] == REQUESTS.names
    assert [found.schema.field(name).type for name in REQUESTS.names] == REQUESTS.types
    assert found.num_rows == len(set(found["request_id"].to_pylist())) == 600
    assert set(found["route"].to_pylist()) == {"batch"}
    row = found.slice(0, 1).to_pylist()[0]
    payload = json.loads(row["payload"])
    assert set(payload) == set(KNOWN)
    assert datetime.fromisoformat(payload["ordered_at"]) == row["event_time"]
    assert json.loads(row["output"]) == {"score": row["score"], "class": row["score"] >= 0.5}
    assert row["key"] == record_key(workspace.model(NAME).spec, payload)


def test_batch_has_the_bits_of_records_and_answers_again(workspace):
    version = read_aliases(KEY, workspace.settings)["champion"].version
    record(workspace, read_orders(workspace, "2026-02-26", 200), "log", version=version)
    score_partitions(workspace, KEY, DAYS, chunk_rows=70)
    online = RecordTable(workspace.settings, workspace.model(NAME), "requests").read().sort_by("key")
    scored = read_scores(workspace).filter(pc.equal(read_scores(workspace)["_partition"], "2026-02-26"))
    for name in ("key", "score", "feature_shop", "feature_price", "feature_shop_return_rate_7d", "prediction_time"):
        assert online[name].to_pylist() == scored[name].to_pylist(), name
    report = replay(workspace, NAME, Selection(start=datetime(2026, 2, 25, tzinfo=UTC),
                                               end=datetime(2026, 2, 28, tzinfo=UTC), origin="scores"))  # fmt: skip
    assert report.is_identical
    assert (report.records, report.features.equal) == (600, 600)
    assert replay(workspace, NAME, Selection(scored["request_id"][0].as_py())).is_identical


def test_chunks_and_order_of_partitions_change_nothing(workspace, tmp_path):
    other = replace(workspace, settings=replace(workspace.settings, store=f"{tmp_path}/other"))
    score_partitions(workspace, KEY, DAYS)
    first = read_scores(workspace)
    table = RecordTable(workspace.settings, workspace.model(NAME), "scores")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "tables").symlink_to(f"{workspace.settings.store}/tables")
    for day in reversed(DAYS):
        score_partitions(other, KEY, [day], chunk_rows=32)
    second = read_scores(other)
    assert table.location != RecordTable(other.settings, other.model(NAME), "scores").location
    assert first.drop_columns(["answered_at"]).equals(second.drop_columns(["answered_at"]))


def test_scored_again_is_left_alone_until_something_that_decides_changes(workspace):
    score_partitions(workspace, KEY, DAYS)
    first = read_scores(workspace)
    again = score_partitions(workspace, KEY, DAYS)
    assert (again.scored, again.unchanged, again.rows, again.table_version) == ((), tuple(DAYS), 0, 0)
    assert read_scores(workspace).equals(first)
    day = Table(workspace.settings, NAME, NAME).read(["2026-02-26"])
    replace_day(workspace, "2026-02-26", day.slice(0, 50))
    changed = score_partitions(workspace, KEY, DAYS)
    assert (changed.scored, changed.rows) == (tuple(DAYS), 450)
    assert RecordTable(workspace.settings, workspace.model(NAME), "scores").row_counts()["2026-02-26"] == 50


def test_scores_say_their_kernels_and_are_left_alone_where_others_are(workspace, monkeypatch):
    monkeypatch.setattr(batch, "read_kernels", lambda: "openblas Cray")
    assert score_partitions(workspace, KEY, DAYS).scored == tuple(DAYS)
    monkeypatch.undo()
    assert score_partitions(workspace, KEY, DAYS).unchanged == tuple(DAYS)
    assert set(read_scores(workspace)["kernels"].to_pylist()) == {"openblas Cray"}


def test_records_of_before_there_were_kernels_stay_beside_later_ones(workspace, monkeypatch):
    older = pa.schema([field for field in REQUESTS if field.name != "kernels"])
    monkeypatch.setattr(records, "REQUESTS", older)
    score_partitions(workspace, KEY, DAYS[:2])
    monkeypatch.undo()
    assert "kernels" not in read_scores(workspace).column_names
    score_partitions(workspace, KEY, DAYS[2:])
    kernels = dict(zip(*(read_scores(workspace)[name].to_pylist() for name in ("_partition", "kernels")), strict=True))
    assert kernels == {DAYS[0]: None, DAYS[1]: None, DAYS[2]: read_kernels()}
    start, end = datetime(2026, 2, 25, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC)
    assert replay(workspace, NAME, Selection(start=start, end=end, origin="scores")).is_identical


def test_runs_at_once_leave_one_table(workspace):
    """More of them than processors: none waits for another's reading."""
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: score_partitions(workspace, KEY, DAYS), range(4)))
    assert {report.rows + 200 * len(report.unchanged) for report in reports} == {600}
    found = read_scores(workspace)
    assert found.num_rows == len(set(found["request_id"].to_pylist())) == 600


def test_outcomes_are_never_read(workspace):
    """Rows without their labels, as before the outcome, are scored to the same bits."""
    table = Table(workspace.settings, NAME, NAME)
    score_partitions(workspace, KEY, ["2026-02-27"])
    first = read_scores(workspace)
    day = table.read(["2026-02-27"])
    place = day.column_names.index("is_returned")
    replace_day(workspace, "2026-02-27", day.set_column(place, "is_returned", pa.nulls(day.num_rows, pa.bool_())))
    assert score_partitions(workspace, KEY, ["2026-02-27"]).scored == ("2026-02-27",)
    assert read_scores(workspace)["score"].equals(first["score"])
    assert "is_returned" not in first["payload"][0].as_py()


def test_masked_columns_are_left_out_of_payloads(workspace):
    spec = workspace.model(NAME).folder / "model.yaml"
    text = spec.read_text()
    spec.write_text(text + "serving: {records: {mask: [shop]}}\n")
    try:
        score_partitions(workspace, KEY, ["2026-02-27"])
    finally:
        spec.write_text(text)
    assert set(json.loads(read_scores(workspace)["payload"][0].as_py())) == {"order_id", "ordered_at", "price"}


def test_partitions_that_have_not_landed_are_named(workspace):
    report = score_partitions(workspace, KEY, ["2026-02-27", "2026-05-01"])
    assert (report.scored, report.unavailable) == (("2026-02-27",), ("2026-05-01",))
    with pytest.raises(PartitionUnavailableError, match="no rows of 2026-05-01"):
        score_partitions(workspace, KEY, ["2026-05-01"])


def test_model_without_a_champion_is_refused(workspace, monkeypatch):
    monkeypatch.setattr(champions, "read_champions", lambda *_: {})
    monkeypatch.setattr(batch.ledger, "read_aliases", lambda *_: {})
    assert find_champion(workspace.settings, KEY) is None
    with pytest.raises(VersionNotFoundError, match="no champion yet.*train it first"):
        score_partitions(workspace, KEY, DAYS)


def test_champion_that_needs_a_lost_feature_is_refused(workspace, monkeypatch):
    monkeypatch.setattr(champions, "feature_names", lambda _: ("shop", "price"))
    with pytest.raises(SchemaChangedError, match="needs shop_return_rate_7d; found features shop, price"):
        score_partitions(workspace, KEY, DAYS)


def test_progress_and_groups_of_commits(workspace, monkeypatch):
    monkeypatch.setattr(batch, "COMMIT_ROWS", 400)
    seen = []
    report = score_partitions(workspace, KEY, DAYS, progress=lambda *step: seen.append(step))
    assert seen == [("score", 2, 3), ("score", 3, 3)]
    assert report.table_version == 1


def test_parity_with_features_computed_for_a_request(workspace):
    score_partitions(workspace, KEY, ["2026-02-27"])
    orders = read_orders(workspace, "2026-02-27", 200)
    assert read_scores(workspace)["feature_shop_return_rate_7d"].equals(
        compute(workspace, orders)["shop_return_rate_7d"]
    )
