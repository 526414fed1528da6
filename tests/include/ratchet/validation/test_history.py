from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.ratchet.spec import Model, partition_of
from include.ratchet.validation.history import RowHistory, RowRange
from tests.include.ratchet.data.orders import day, write_model


@given(counts=st.lists(st.integers(1, 1000), min_size=7, max_size=7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_usual_stays_allowed(model: Model, counts: list[int]) -> None:
    history = RowHistory(model, "orders", {day(model, 1 + n).key: rows for n, rows in enumerate(counts)})
    low, high = history.find_range(day(model, 8))
    assert 1 <= low <= min(counts)
    assert high is not None
    assert high >= max(counts) * 1.5 - 1
    assert low <= max(1, min(counts) * 0.5)


def test_only_the_trailing_weeks_count(tmp_path: Path) -> None:
    model = write_model(tmp_path, {"quality": {"row_count_weeks": 1}})
    rows = {day(model, n).key: 1000 if n < 10 or n > 16 else 10 for n in range(1, 30)}
    assert RowHistory(model, "orders", rows).find_range(day(model, 17)) == RowRange(5, 15)


def test_without_a_week_of_history_only_emptiness_is_odd(model: Model) -> None:
    counts = {day(model, n).key: 100 for n in range(1, 7)}
    assert RowHistory(model, "orders", counts).find_range(day(model, 7)) == RowRange(1, None)


@pytest.mark.parametrize("tolerance", [1.0, 2.5])
def test_a_wide_tolerance_still_wants_a_row(tmp_path: Path, tolerance: float) -> None:
    model = write_model(tmp_path, {"quality": {"row_count_tolerance": tolerance}})
    counts = {day(model, n).key: 10 for n in range(1, 9)}
    assert RowHistory(model, "orders", counts).find_range(day(model, 9)) == RowRange(1, int(10 * (1 + tolerance)))


def test_hours_have_a_history_too(tmp_path: Path) -> None:
    model = write_model(tmp_path, {"partition": "hour"})
    counts = {f"2024-01-01T{n:02d}": 10 for n in range(8)}
    assert RowHistory(model, "orders", counts).find_range(partition_of(model.spec, "2024-01-01T08")) == RowRange(5, 15)
