from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.ratchet.data.batches import clean_batch
from include.ratchet.data.schemas import frame_table
from include.ratchet.data.sources import SourceBatch, Span, UnreadableRow
from include.ratchet.data.sources.batch import number_rows
from include.ratchet.errors import SchemaChangedError
from include.ratchet.spec import Model
from tests.include.ratchet.data.orders import SCHEMA, SPEC, day, order, write_model

SECONDS = 24 * 3600
VALUES = st.fixed_dictionaries(
    {
        "order_id": st.none() | st.sampled_from(["a", "b", "c", "d"]),
        "placed_at": st.none()
        | st.integers(-SECONDS, 2 * SECONDS).map(lambda s: datetime.fromtimestamp(1704153600 + s, UTC)),
        "amount": st.none() | st.floats(),
        "country": st.none() | st.sampled_from(["FR", "DE", "XX", ""]),
        "items": st.none() | st.integers(-1, 3),
        "is_returned": st.none() | st.booleans(),
        "settled_at": st.none() | st.just(datetime(2024, 1, 5, tzinfo=UTC)),
        "refund": st.none() | st.floats(allow_nan=True),
    }
)


def batch_of(rows: list[dict[str, Any]] | pa.Table, *, unreadable: int = 0) -> SourceBatch:
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, SCHEMA)
    bad = tuple(UnreadableRow("there", 1000 + n, "???", "not a row") for n in range(unreadable))
    return SourceBatch(table, (Span("there", number_rows(table.num_rows)),), bad)


def text_of(rows: list[dict[str, Any]]) -> SourceBatch:
    texts = [{key: None if value is None else str(value) for key, value in row.items()} for row in rows]
    table = pa.Table.from_pylist(texts, pa.schema([(name, pa.string()) for name in SCHEMA.names]))
    return replace(batch_of(table), is_text=True)


@given(rows=st.lists(VALUES, max_size=12), unreadable=st.integers(0, 3), is_text=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_books_always_balance(model: Model, rows: list[dict[str, Any]], unreadable: int, is_text: bool) -> None:
    batch = text_of(rows) if is_text else batch_of(rows)
    batch = replace(batch, unreadable=batch_of([], unreadable=unreadable).unreadable)
    try:
        clean = clean_batch(batch, frame_table(model, "orders", None), [day(model, 2)])
    except SchemaChangedError:
        return  # a whole column that cannot be read
    assert clean.read == batch.rows
    assert clean.read == clean.table.num_rows + len(clean.quarantined) + clean.duplicates
    keys = clean.table["order_id"].to_pylist()
    assert len(set(keys)) == len(keys)
    for row in clean.table.to_pylist():
        assert row["placed_at"].day == 2
        assert row["amount"] is None or 0 <= row["amount"] <= 1000
        assert row["country"] in {None, "FR", "DE"}
        assert row["items"] is None or row["items"] >= 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amount": -1.0}, "amount: below 0"),
        ({"amount": 1001.0}, "amount: above 1000"),
        ({"country": "XX"}, "country: not one of FR, DE"),
        ({"order_id": None}, "order_id: missing"),
        ({"placed_at": None}, "placed_at: missing"),
        ({"placed_at": datetime(2024, 1, 7, tzinfo=UTC)}, "placed_at: outside of the partition"),
        ({"amount": -1.0, "items": 0}, "amount: below 0; items: below 1"),
    ],
)
def test_a_row_that_breaks_a_rule_says_which(model: Model, changes: dict[str, Any], reason: str) -> None:
    clean = clean_batch(
        batch_of([order(1, 2), order(2, 2, **changes)]), frame_table(model, "orders", None), [day(model, 2)]
    )
    assert [(row.reason, row.position) for row in clean.quarantined] == [(reason, "there, row 2")]
    assert clean.table.num_rows == 1


def test_a_value_that_cannot_be_read_costs_its_row(model: Model) -> None:
    rows = text_of([order(1, 2), order(2, 2), order(3, 2)])
    amounts = pa.array(["1.0", "twelve", "3.0"])
    rows = replace(rows, table=rows.table.set_column(rows.table.column_names.index("amount"), "amount", amounts))
    clean = clean_batch(rows, frame_table(model, "orders", None), [day(model, 2)])
    assert [row.reason for row in clean.quarantined] == ["amount: not readable as float"]
    assert '"amount": "twelve"' in clean.quarantined[0].raw
    assert clean.table["amount"].to_pylist() == [1.0, 3.0]


def test_an_outcome_may_be_missing_whatever_the_spec_says(tmp_path: Path) -> None:
    columns = {**SPEC["columns"], "is_returned": {"type": "boolean", "nullable": False}}
    model = write_model(tmp_path, {"columns": columns})
    clean = clean_batch(batch_of([order(1, 2, is_returned=None)]), frame_table(model, "orders", None), [day(model, 2)])
    assert clean.table.num_rows == 1


@pytest.mark.parametrize(("rule", "kept"), [("last", 2.0), ("first", 1.0)])
def test_the_spec_says_which_duplicate_is_kept(tmp_path: Path, rule: str, kept: float) -> None:
    model = write_model(tmp_path, {"quality": {"duplicates": rule}})
    rows = [order(1, 2, amount=1.0), order(2, 2), order(1, 2, amount=2.0)]
    clean = clean_batch(batch_of(rows), frame_table(model, "orders", None), [day(model, 2)])
    assert clean.duplicates == 1
    assert {row["order_id"]: row["amount"] for row in clean.table.to_pylist()}["o1"] == kept


def existing(model: Model) -> pa.Schema:
    rows = batch_of([order(1, 2)]).table.append_column("channel", pa.array([1], pa.int64()))
    return clean_batch(batch_of(rows), frame_table(model, "orders", None), [day(model, 2)]).table.schema


def test_a_new_column_is_taken_and_reported(model: Model) -> None:
    rows = batch_of([order(1, 2)]).table.append_column("colour", pa.array(["red"]))
    known = pa.schema(list(SCHEMA))
    clean = clean_batch(batch_of(rows), frame_table(model, "orders", known), [day(model, 2)])
    assert clean.new_columns == ("colour",)
    assert clean.table["colour"].to_pylist() == ["red"]


def test_a_new_column_without_values_waits_for_its_type(model: Model) -> None:
    rows = batch_of([order(1, 2)]).table.append_column("colour", pa.nulls(1))
    clean = clean_batch(batch_of(rows), frame_table(model, "orders", None), [day(model, 2)])
    assert "colour" not in clean.table.column_names


@pytest.mark.parametrize("column", ["channel", "amount", "placed_at"])
def test_a_lost_column_stops_with_both_schemas(model: Model, column: str) -> None:
    rows = batch_of([order(1, 2)]).table.append_column("channel", pa.array([1], pa.int64())).drop_columns([column])
    with pytest.raises(SchemaChangedError) as caught:
        clean_batch(batch_of(rows), frame_table(model, "orders", existing(model)), [day(model, 2)])
    text = str(caught.value)
    assert f"lost column {column}" in text
    assert "source: order_id string" in text
    assert "table:  order_id string" in text


def test_an_older_partition_may_lack_a_column_that_came_later(model: Model) -> None:
    frame = replace(frame_table(model, "orders", existing(model)), is_older=True)
    clean = clean_batch(batch_of([order(1, 2)]), frame, [day(model, 2)])
    assert "channel" not in clean.table.column_names


def test_a_changed_type_stops_with_both_schemas(model: Model) -> None:
    rows = batch_of([order(1, 2)]).table.append_column("channel", pa.array(["web"]))
    with pytest.raises(SchemaChangedError, match="channel: found string, expected int64"):
        clean_batch(batch_of(rows), frame_table(model, "orders", existing(model)), [day(model, 2)])


def test_a_column_of_which_nothing_can_be_read_has_changed_its_type(model: Model) -> None:
    rows = batch_of([order(1, 2), order(2, 2)]).table
    rows = rows.set_column(rows.column_names.index("items"), "items", pa.array(["few", "many"]))
    with pytest.raises(SchemaChangedError, match="none of its values can be read as int64; found 'few'"):
        clean_batch(batch_of(rows), frame_table(model, "orders", None), [day(model, 2)])


def test_integers_may_come_for_a_column_of_floats(model: Model) -> None:
    known = pa.schema([*SCHEMA, ("score", pa.float64())])
    rows = batch_of([order(1, 2)]).table.append_column("score", pa.array([1], pa.int32()))
    clean = clean_batch(batch_of(rows), frame_table(model, "orders", known), [day(model, 2)])
    assert clean.table["score"].type == pa.float64()


def test_allowed_values_are_of_the_columns_type(tmp_path: Path) -> None:
    columns = {**SPEC["columns"], "items": {"type": "integer", "values": ["1", "2"]}}
    model = write_model(tmp_path, {"columns": columns})
    rows = [order(1, 2, items=1), order(2, 2, items=3), order(3, 2, items=None)]
    clean = clean_batch(batch_of(rows), frame_table(model, "orders", None), [day(model, 2)])
    assert [row.reason for row in clean.quarantined] == ["items: not one of 1, 2"]


def test_bounds_of_text_are_bounds_of_its_length(tmp_path: Path) -> None:
    columns = {**SPEC["columns"], "country": {"type": "string", "min": 2, "max": 2}}
    model = write_model(tmp_path, {"columns": columns})
    rows = [order(1, 2, country="FR"), order(2, 2, country="FRA"), order(3, 2, country="")]
    clean = clean_batch(batch_of(rows), frame_table(model, "orders", None), [day(model, 2)])
    assert [row.reason for row in clean.quarantined] == ["country: above 2", "country: below 2"]
