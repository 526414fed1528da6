"""Changes of meaning: planted ones are found on their day, and a quiet history gives none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from include.ratchet.data.tables import PARTITION_COLUMN
from include.ratchet.dependencies.changes import find_changes
from include.ratchet.dependencies.periods import cut_periods, profile_periods

START, DAYS, ROWS = datetime(2026, 1, 1, tzinfo=UTC), 60, 120
DAY = 37
NAME = f"{START + timedelta(days=DAY):%Y-%m-%d}"


def stream(seed: int, days: int = DAYS, rows: int = ROWS) -> dict[str, np.ndarray]:
    """A table with weekdays, a season, noise that lasts for days, and columns of every kind."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    mood = np.repeat(np.convolve(random.normal(size=days + 3), np.ones(4) / 2, "valid"), rows)
    week = np.sin(2 * np.pi * day / 7)
    size = len(day)
    minutes = random.integers(0, 1440, size)
    instants = np.array([START + timedelta(days=int(one), minutes=int(more))
                         for one, more in zip(day, minutes, strict=True)])  # fmt: skip
    return {
        "day": day,
        "at": instants,
        "price": random.lognormal(3 + 0.3 * week + 0.2 * mood, 0.8, size),
        "warmth": 10 + 0.2 * day + 4 * mood + random.normal(0, 4, size),
        "stock": random.poisson(30 + 10 * week, size).astype(float),
        "rarely": np.where(random.random(size) < 0.9, 0.0, random.exponential(2, size)),
        "gaps": np.where(random.random(size) < 0.3 + 0.1 * week, np.nan, random.normal(size=size)),
        "shop": random.choice(["north", "south", "web"], size, p=[0.5, 0.3, 0.2]).astype(object),
        "code": np.array([f"A{number}" for number in random.integers(1000, 9999, size)], dtype=object),
        "grade": random.integers(1, 6, size).astype(float),
        "is_new": random.random(size) < 0.3 + 0.05 * mood.clip(-3, 3),
        "length": random.lognormal(5, 0.3, size),
    }


def profile(data: dict[str, np.ndarray]):
    day = data["day"]
    keys = [f"{START + timedelta(days=int(one)):%Y-%m-%d}" for one in day]
    columns = {name: pa.array(values, from_pandas=True) for name, values in data.items() if name not in ("day", "at")}
    times = pa.array(data["at"].tolist(), pa.timestamp("us", "UTC"))
    return list(
        profile_periods(pa.table({"at": times, **columns, PARTITION_COLUMN: pa.array(keys, pa.string())}), "at")
    )


def find(data):
    return find_changes("orders", profile(data))


def test_quiet_histories_give_almost_no_alarm():
    """40 histories of 60 days and 11 columns: 440 columns, each looked at on 51 days."""
    alarms = [change for seed in range(40) for change in find(stream(seed))]
    assert len(alarms) <= 4, alarms


@pytest.mark.parametrize(
    ("column", "kind", "plant"),
    [
        ("price", "scaled", lambda old: old * 100),
        ("price", "scaled", lambda old: old / 1000),
        ("stock", "scaled", lambda old: old * 2.205),
        ("warmth", "moved", lambda old: old * 9 / 5 + 90),
        ("gaps", "more missing", lambda old: np.where(np.arange(len(old)) % 3 > 0, np.nan, old)),
        ("price", "vanished", lambda old: np.full(len(old), np.nan)),
        ("price", "constant", lambda old: np.full(len(old), 9.5)),
        ("price", "clipped", lambda old: np.minimum(old, 30.0)),
        ("shop", "recoded", lambda old: np.array([one.upper() for one in old], dtype=object)),
        ("shop", "recoded", lambda old: np.where(old == "north", "web", np.where(old == "web", "north", old))),
        ("code", "recoded", lambda old: np.array([f"{one[1:]}-x" for one in old], dtype=object)),
        ("is_new", "recoded", lambda old: ~old.astype(bool)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("seed", range(3))
def test_planted_change_is_found_on_its_day(column, kind, plant, seed):
    data = stream(seed)
    after = data["day"] >= DAY
    data[column] = np.where(after, plant(data[column]), data[column])
    if column == "shop":
        data[column] = data[column].astype(object)
    found = [change for change in find(data) if change.column == column]
    assert [(change.kind, change.day) for change in found] == [(kind, NAME)]
    assert found[0].name == f"orders.{column}@{NAME}"
    assert found[0].detail


def test_rename_is_one_change_with_both_names():
    data = stream(1)
    after = data["day"] >= DAY
    data["amount"] = np.where(after, data["price"], np.nan)
    data["price"] = np.where(after, np.nan, data["price"])
    (change,) = find(data)
    assert (change.kind, change.column, change.day) == ("renamed", "amount", NAME)
    assert "price vanished" in change.detail


@pytest.mark.parametrize(
    ("factor", "words"), [(0.001, "10 to the power of -3"), (60, "minutes and seconds"), (1.609, "miles and kilo")]
)
def test_factor_is_named_after_what_it_may_come_from(factor, words):
    data = stream(6)
    data["length"] = np.where(data["day"] >= DAY, data["length"] * factor, data["length"])
    (change,) = [one for one in find(data) if one.column == "length"]
    assert words in change.detail


def test_clock_that_is_moved_shows_in_times():
    data = stream(2)
    after = data["day"] >= DAY
    data["at"] = np.array([one.replace(hour=one.hour % 8 + 8) if late else one
                           for one, late in zip(data["at"], after, strict=True)])  # fmt: skip
    assert [(change.column, change.kind, change.day) for change in find(data)] == [("at", "recoded", NAME)]


def test_three_days_of_a_change_are_enough_and_two_are_not():
    for days, expected in ((3, [("scaled", NAME)]), (2, [])):
        data = stream(4, DAY + days)
        data["price"] = np.where(data["day"] >= DAY, data["price"] * 100, data["price"])
        assert [(change.kind, change.day) for change in find(data)] == expected


def test_small_days_are_taken_together():
    days, starts = cut_periods({"a": 20, "b": 20, "c": 20, "d": 60, "e": 10})
    assert days == ("a", "d")
    assert starts.tolist() == [0, 60]
    assert cut_periods({})[0] == ()
    data = stream(5, 200, 10)
    data["price"] = np.where(data["day"] >= 100, data["price"] * 100, data["price"])
    (change,) = [one for one in find(data) if one.column == "price"]
    assert (change.kind, change.day) == ("scaled", f"{START + timedelta(days=100):%Y-%m-%d}")


def test_short_and_empty_histories_say_nothing():
    assert find(stream(1, 8)) == ()
    assert find({name: values[:0] for name, values in stream(1, 8).items()}) == ()
