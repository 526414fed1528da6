"""Records as the requests page finds and shows them (`views.records`), made by real versions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.ratchet.data.records import RecordTable
from include.ratchet.errors import RecordNotFoundError
from include.ratchet.views import records
from include.ratchet.views.records import RecordQuery
from tests.include.ratchet.replay.lived import NAME, read_orders, record

pytestmark = pytest.mark.filterwarnings("default")
DAYS = ("2026-02-10", "2026-02-11")


@pytest.fixture
def found(workspace):
    for version, day in enumerate(DAYS, start=1):
        record(workspace, read_orders(workspace, day, 5), f"day{version}", version=version)
    record(workspace, read_orders(workspace, DAYS[1], 1), "broken", score=None, output=None, error="no features")
    model = workspace.model(NAME)
    return lambda **query: records.find(workspace.settings, model, RecordQuery(**query))


def ids(page):
    return {row.request_id for row in page.rows}


def test_newest_come_first_a_page_at_a_time(found):
    page = found(limit=4)
    assert (page.total, page.searched, page.skipped) == (11, DAYS, 0)
    times = [row.event_time for at in (0, 4, 8) for row in found(limit=4, offset=at).rows]
    assert len(times) == 11
    assert times == sorted(times, reverse=True)


def test_found_by_id_key_version_output_and_error(found):
    (one,) = found(request_id="day1-3").rows
    assert (one.version, one.route, one.error) == (1, "champion", None)
    assert found(key=one.key).rows == (one,)
    assert ids(found(version=2)) == {f"day2-{number}" for number in range(5)}
    assert ids(found(has_error=True)) == {"broken-0"}
    assert "broken-0" not in ids(found(has_error=False))
    near = found(low=one.score, high=one.score)
    assert "day1-3" in ids(near)
    assert found(low=1.1).total == 0


def test_found_by_time_reads_only_those_days(found):
    start = datetime(2026, 2, 11, tzinfo=UTC)
    page = found(start=start, end=start + timedelta(days=1))
    assert page.searched == (DAYS[1],)
    assert page.skipped == 1
    assert {row.version for row in page.rows} == {1, 2}


def test_search_without_time_reads_the_newest_days_and_says_so(found, monkeypatch):
    monkeypatch.setattr(records, "DAYS", 1)
    page = found()
    assert (page.searched, page.skipped, page.total) == ((DAYS[1],), 1, 6)
    assert found(request_id="day1-0").total == 1


def test_model_that_answered_nothing_has_no_records(workspace):
    page = records.find(workspace.settings, workspace.model(NAME), RecordQuery(origin="scores"))
    assert (page.rows, page.total, page.searched) == ((), 0, ())


def test_record_is_shown_whole_with_what_became_known_of_it(workspace, found):
    model = workspace.model(NAME)
    (one,) = found(request_id="day1-3").rows
    now = datetime.now(UTC)
    told = {"feedback_id": "f1", "request_id": None, "row": None, "key": one.key, "kind": "label", "value": "true",
            "event_time": one.event_time, "available_time": now, "received_at": now, "caller": "shop"}  # fmt: skip
    RecordTable(workspace.settings, model, "feedback").append([told], "feedback", 1)
    shown = records.read_record(workspace.settings, model, "requests", "day1-3", 0, 1)
    assert shown.columns["request_id"] == "day1-3"
    assert shown.columns["version"] == 1
    assert not {"payload", "output"} & set(shown.columns)
    assert set(shown.payload) == {"order_id", "ordered_at", "shop", "price"}
    assert shown.output == {"score": one.score}
    assert shown.features
    assert not any(name.startswith("feature_") for name in (*shown.features, *shown.columns))
    assert [(row["kind"], row["value"]) for row in shown.feedback] == [("label", True)]
    (other,) = found(request_id="day1-2").rows
    assert records.read_record(workspace.settings, model, "requests", other.request_id, 0).feedback == ()


@pytest.mark.parametrize(("row", "version"), [(1, 1), (0, 2)])
def test_record_of_another_row_or_version_is_not_there(workspace, found, row, version):
    with pytest.raises(RecordNotFoundError, match=f"has no row {row} by version {version}"):
        records.read_record(workspace.settings, workspace.model(NAME), "requests", "day1-3", row, version)


def test_payload_that_is_no_json_is_shown_as_it_is(workspace):
    record(workspace, read_orders(workspace, DAYS[0], 1), "odd", payload="<b>not JSON")
    shown = records.read_record(workspace.settings, workspace.model(NAME), "requests", "odd-0", 0)
    assert shown.payload == "<b>not JSON"
