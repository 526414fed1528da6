from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from include.ratchet.data.merging import MergeResult, merge_rows, replace_rows

SCHEMA = pa.schema([("id", pa.string()), ("at", pa.int64()), ("price", pa.float64()), ("label", pa.bool_())])
Rows = dict[str, tuple[int, float | None, bool | None]]
ROWS = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(st.integers(0, 3), st.none() | st.sampled_from([1.0, 2.0]), st.none() | st.booleans()),
)


def table(rows: Rows) -> pa.Table:
    return pa.Table.from_pylist(
        [{"id": key, "at": at, "price": price, "label": label} for key, (at, price, label) in rows.items()], SCHEMA
    )


def merge(existing: pa.Table | None, fresh: pa.Table, *, is_stale: bool = False) -> MergeResult:
    return merge_rows(existing, fresh, keys=["id"], order=["at", "id"], outcomes=["label"], is_stale=is_stale)


def by_id(result: MergeResult) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in result.table.to_pylist()}


@given(ROWS, ROWS)
def test_a_merge_keeps_every_row_and_every_known_label(old: Rows, new: Rows) -> None:
    merged = by_id(merge(table(old), table(new)))
    assert merged.keys() == old.keys() | new.keys()
    for key, row in merged.items():
        label = new.get(key, (0, None, None))[2]
        if label is None and key in old:
            label = old[key][2]
        assert row["label"] == label
        assert row["price"] == (new[key] if key in new else old[key])[1]


@given(ROWS, ROWS)
def test_merging_again_changes_nothing(old: Rows, new: Rows) -> None:
    once = merge(table(old), table(new))
    twice = merge(once.table, table(new))
    assert not twice.is_changed
    assert twice.table.equals(once.table)


@given(ROWS, ROWS)
def test_the_books_of_a_merge(old: Rows, new: Rows) -> None:
    result = merge(table(old), table(new))
    before, after = by_id(MergeResult(table(old), 0, 0)), by_id(result)
    assert result.inserted == len(new.keys() - old.keys())
    assert result.updated == sum(1 for key in before if before[key] != after[key])


@given(ROWS, ROWS)
def test_a_stale_merge_adds_and_fills_and_changes_nothing(old: Rows, new: Rows) -> None:
    """Reading as of an earlier time, after a later one: what was known stays."""
    merged = by_id(merge(table(old), table(new), is_stale=True))
    assert merged.keys() == old.keys() | new.keys()
    for key, (at, price, label) in old.items():
        assert (merged[key]["at"], merged[key]["price"]) == (at, price)
        assert merged[key]["label"] == (label if label is not None else new.get(key, (0, None, None))[2])


@given(ROWS, ROWS)
def test_two_runs_in_either_order_give_one_table(early: Rows, late: Rows) -> None:
    """Two as-ofs of one partition commute: the earlier one, coming second, is stale."""
    forward = merge(merge(None, table(early)).table, table(late))
    backward = merge(merge(None, table(late)).table, table(early), is_stale=True)
    assert forward.table.equals(backward.table)


@given(ROWS, ROWS)
def test_the_order_of_rows_is_fixed(old: Rows, new: Rows) -> None:
    result = merge(table(old), table(new)).table
    assert result.equals(result.sort_by([("at", "ascending"), ("id", "ascending")]))


def test_a_new_column_is_null_in_rows_of_before() -> None:
    fresh = table({"b": (1, 1.0, None)}).append_column("colour", pa.array(["red"]))
    merged = by_id(merge(table({"a": (1, 1.0, None)}), fresh))
    assert (merged["a"]["colour"], merged["b"]["colour"]) == (None, "red")


def test_a_column_that_is_not_in_the_batch_keeps_its_values() -> None:
    old = table({"a": (1, 1.0, None)}).append_column("colour", pa.array(["red"]))
    merged = by_id(merge(old, table({"a": (1, 2.0, None), "b": (1, 1.0, None)})))
    assert (merged["a"]["colour"], merged["a"]["price"], merged["b"]["colour"]) == ("red", 2.0, None)


@given(ROWS, ROWS)
def test_a_replaced_table_is_the_fresh_one(old: Rows, new: Rows) -> None:
    result = replace_rows(table(old), table(new), keys=["id"], order=["at", "id"])
    assert by_id(result) == by_id(MergeResult(table(new), 0, 0))
    assert result.is_changed == (old != new)
