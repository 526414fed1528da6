"""The review queue: one row for each key, and what was decided stays decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.ratchet.labels.queue import Review, ReviewQueue
from tests.include.ratchet.data.orders import make_settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def queue(tmp_path):
    return ReviewQueue(make_settings(tmp_path), "orders")


def error(key, score=0.1, **more):
    return replace(Review(key, "likely error", True, False, score, NOW), **more)


def test_empty_queue(queue):
    assert queue.all() == []
    assert queue.put([]) == 0
    assert queue.decide([("a", True, "ana", NOW)]) == []
    assert queue.version() is None


def test_conflicts_come_first_then_the_worst(queue):
    assert queue.put([error("a", 0.5), error("b", 0.1), Review("c", "conflict", None, None, 0, NOW)]) == 3
    assert [one.key for one in queue.all()] == ["c", "b", "a"]


def test_open_row_is_put_again_with_its_first_time_and_new_score(queue):
    queue.put([error("a", 0.5)])
    assert queue.put([error("a", 0.2, found_at=NOW + DAY)]) == 0
    assert queue.all() == [error("a", 0.2)]
    version = queue.version()
    queue.put([error("a", 0.2, found_at=NOW + DAY)])
    assert queue.version() == version


@pytest.mark.parametrize(("label", "state"), [(True, "confirmed"), (False, "corrected")])
def test_decision_is_noted_once_with_who_and_when(queue, label, state):
    queue.put([error("a"), error("b")])
    decided = queue.decide([("a", label, "ana", NOW + DAY), ("x", True, "ana", NOW)])
    expected = error("a", state=state, decided=label, decided_by="ana", decided_at=NOW + DAY)
    assert decided == [expected]
    assert queue.decide([("a", not label, "bo", NOW + 2 * DAY)]) == []
    assert queue.all(state) == [expected]
    assert [one.key for one in queue.all("open")] == ["b"]


def test_decided_row_comes_back_only_with_another_label(queue):
    queue.put([error("a")])
    queue.decide([("a", False, "ana", NOW)])
    assert queue.put([error("a", given=False, suggested=True)]) == 0
    assert queue.put([Review("a", "conflict", None, None, 0, NOW)]) == 0
    assert queue.put([error("a", given=True)]) == 1
    assert queue.all() == [error("a")]
    # The table's history still tells what had been decided.
    assert queue.open(1).to_pyarrow_table()["state"].to_pylist() == ["corrected"]
