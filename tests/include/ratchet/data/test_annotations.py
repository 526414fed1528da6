"""What labellers said, kept as history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.ratchet.data.annotations import END, Annotation, AnnotationTable
from include.ratchet.errors import AnnotationError

DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def table(settings):
    return AnnotationTable(settings, "orders")


def said(value, when=FIRST, labeller="ana", key='["o1"]', **more):
    return Annotation(key, labeller, when, value, **more)


def test_nothing_said_is_nothing_and_not_an_error(table):
    assert table.all() == []
    assert table.add([], FIRST) == 0
    assert table.version() is None


@pytest.mark.parametrize("value", [True, "dog", 3, 2.5, None])
def test_value_comes_back_in_its_type(table, value):
    table.add([said(value)], FIRST)
    found = table.all()[0].value
    assert found == value
    assert type(found) is type(value)


def test_later_words_are_not_seen_before_their_time(table):
    table.add([said(True), said(False, FIRST + DAY), said(True, FIRST + DAY, "bo")], FIRST + 2 * DAY)
    assert [one.value for one in table.all(FIRST)] == []
    assert [one.value for one in table.all(FIRST + DAY)] == [True]
    assert [(one.labeller, one.value) for one in table.all(END)] == [("ana", True), ("ana", False), ("bo", True)]


def test_same_words_twice_make_no_new_version(table):
    assert table.add([said(True), said(False, FIRST + DAY)], FIRST + DAY) == 2
    assert table.add([said(True), said(False, FIRST + DAY)], FIRST + 5 * DAY) == 0
    assert table.version() == 0


def test_other_word_at_the_same_moment_is_refused_and_nothing_is_added(table):
    table.add([said(True)], FIRST)
    with pytest.raises(AnnotationError, match=r"ana said True of .*found False.*Give a change of mind its own"):
        table.add([said(True, FIRST + DAY), said(False)], FIRST)
    assert len(table.all()) == 1


def test_review_and_word_of_the_same_moment_are_two_things(table):
    assert table.add([said(True), said(False, is_review=True)], FIRST) == 2


def test_earlier_version_is_what_had_been_imported_by_then(table):
    table.add([said(True)], FIRST)
    table.add([said(True, labeller="bo")], FIRST)
    assert len(table.all(version=0)) == 1
    assert len(table.all()) == 2


def test_two_writers_at_once_lose_nothing(settings):
    from concurrent.futures import ThreadPoolExecutor

    def write(number):
        return AnnotationTable(settings, "orders").add([said(True, labeller=f"l{number}")], FIRST)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(write, range(8))) == 8
    assert {one.labeller for one in AnnotationTable(settings, "orders").all()} == {f"l{one}" for one in range(8)}
