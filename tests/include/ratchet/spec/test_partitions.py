"""Partitions cover time once, whatever the clocks of a place do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ratchet.spec import ModelSpec, partition_of, partitions_between
from include.ratchet.spec.schema import SCHEMA_PATH, render_schema


def spec(zone: str = "UTC", size: str = "day") -> ModelSpec:
    return ModelSpec.model_validate({
        "name": "m", "owner": "o", "description": "A spec for tests.", "task": "binary", "source": {"python": "f"},
        "keys": ["k"], "event_time": "t", "label": {"column": "y"}, "timezone": zone, "partition": size,
    })  # fmt: skip


ZONES = st.sampled_from(["UTC", "America/New_York", "Europe/Paris", "Asia/Kathmandu", "Australia/Lord_Howe"])


@given(
    st.datetimes(datetime(2013, 1, 1), datetime(2015, 1, 1), timezones=st.just(UTC)),
    ZONES,
    st.sampled_from(["day", "hour"]),
)
def test_instant_lies_in_its_partition_and_the_next_begins_where_it_ends(instant, zone, size):
    if zone == "Australia/Lord_Howe" and size == "hour":
        return  # its clocks move by half an hour
    one = spec(zone, size)
    found = partition_of(one, instant)
    assert found.start <= instant < found.end
    assert partition_of(one, found.end).start == found.end
    assert partition_of(one, found.key) == found


def test_days_across_the_changes_of_the_clock():
    one = spec("America/New_York")
    spring, autumn = partition_of(one, "2013-03-10"), partition_of(one, "2013-11-03")
    assert spring.end - spring.start == timedelta(hours=23)
    assert autumn.end - autumn.start == timedelta(hours=25)
    days = list(partitions_between(one, partition_of(one, "2013-01-01"), partition_of(one, "2013-12-31")))
    assert len({day.key for day in days}) == len(days) == 365


def test_hour_that_happens_twice_is_two_partitions():
    one = spec("America/New_York", "hour")
    first = partition_of(one, datetime(2013, 11, 3, 5, 30, tzinfo=UTC))
    second = partition_of(one, datetime(2013, 11, 3, 6, 30, tzinfo=UTC))
    assert first.key == "2013-11-03T01"
    assert second.key == "2013-11-03T01-0500"
    assert partition_of(one, second.key) == second


@pytest.mark.parametrize("text", ["yesterday", "2013-13-01", "2013-01-01T99"])
def test_what_is_no_partition_is_said(text):
    with pytest.raises(ValueError, match="is no partition; expected a date"):
        partition_of(spec(), text)


def test_instant_without_zone_is_refused():
    with pytest.raises(ValueError, match="has no time zone"):
        partition_of(spec(), datetime(2013, 1, 1))


def test_committed_schema_is_the_one_of_the_code():
    assert SCHEMA_PATH.read_text() == render_schema(), "write it anew: SCHEMA_PATH.write_text(render_schema())"
