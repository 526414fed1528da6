from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.ratchet.data.availability import hide_outcomes
from include.ratchet.spec import Model
from tests.include.ratchet.data.orders import SCHEMA, order, write_model

HIDDEN = ["is_returned", "settled_at", "refund"]


@given(numbers=st.lists(st.integers(0, 48), unique=True), hours=st.integers(0, 80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_outcomes_show_from_their_available_time_on(model: Model, numbers: list[int], hours: int) -> None:
    as_of = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
    rows = pa.Table.from_pylist([order(number) for number in numbers], SCHEMA)
    for before, after in zip(rows.to_pylist(), hide_outcomes(rows, model, as_of).to_pylist(), strict=True):
        is_known = before["settled_at"] <= as_of
        assert after == (before if is_known else {**before, **dict.fromkeys(HIDDEN)})


def test_without_a_column_the_label_is_known_after_its_delay(tmp_path: Path) -> None:
    model = write_model(tmp_path, {"label": {"column": "is_returned", "delay": "6h"}})
    placed = order(1)["placed_at"]
    rows = pa.Table.from_pylist([order(1, is_returned=True)], SCHEMA)
    late, early = placed + timedelta(hours=6), placed + timedelta(hours=5)
    assert hide_outcomes(rows, model, late)["is_returned"].to_pylist() == [True]
    hidden = hide_outcomes(rows, model, early)
    assert hidden["is_returned"].to_pylist() == [None]
    assert hidden["refund"].to_pylist() == rows["refund"].to_pylist(), "no outcome in this spec"


def test_a_row_without_an_available_time_is_taken_at_its_word(model: Model) -> None:
    rows = pa.Table.from_pylist([order(1, settled_at=None, is_returned=True)], SCHEMA)
    assert hide_outcomes(rows, model, datetime(2020, 1, 1, tzinfo=UTC)).equals(rows)
