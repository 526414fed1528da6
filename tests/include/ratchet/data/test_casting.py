from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ratchet.data.casting import ARROW_TYPES, TIMESTAMP, cast_column, infer_type, settle_type

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def read(values: list[Any] | pa.Array, kind: Any) -> tuple[list[Any], list[bool]]:
    array = values if isinstance(values, pa.Array) else pa.array(values)
    found = cast_column(array, ARROW_TYPES[kind])
    failed = found.failed.to_pylist() if found.failed is not None else [False] * len(array)
    assert found.values.type == ARROW_TYPES[kind]
    return found.values.to_pylist(), failed


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("7", "integer", 7), (" 7 ", "integer", 7), ("7.0", "integer", 7), ("-3", "integer", -3),
        ("1.5", "float", 1.5), ("1e3", "float", 1000.0), ("7", "float", 7.0),
        ("true", "boolean", True), ("False", "boolean", False), ("0", "boolean", False), ("yes", "boolean", True),
        ("2024-01-01T12:00:00Z", "timestamp", NOON), ("2024-01-01 12:00:00", "timestamp", NOON),
        ("2024-01-01T13:00:00+01:00", "timestamp", NOON), ("2024-01-01 12:00:00.000000+00:00", "timestamp", NOON),
        ("2024-01-01", "date", date(2024, 1, 1)), (" padded ", "string", " padded "), ("NA", "string", "NA"),
    ],
)  # fmt: skip
def test_text_is_read(text: str, kind: str, value: Any) -> None:
    assert read([text], kind) == ([value], [False])


@pytest.mark.parametrize("kind", ["integer", "float", "boolean", "timestamp", "date"])
@pytest.mark.parametrize("word", ["", "NA", "null", " ", "NaN"])
def test_words_for_nothing_are_null_and_no_failure(kind: str, word: str) -> None:
    assert read([word], kind) == ([None], [False])


@pytest.mark.parametrize(
    ("values", "kind", "expected", "failed"),
    [
        (["1", "x", None, "3", "x"], "integer", [1, None, None, 3, None], [False, True, False, False, True]),
        (["1.5"], "integer", [None], [True]),
        ([1.0, 2.5, None], "integer", [1, None, None], [False, True, False]),
        ([10**30], "integer", None, None),
        (["2024-13-01", "2024-01-01"], "date", [None, date(2024, 1, 1)], [True, False]),
        ([0, 1, 2], "boolean", [False, True, None], [False, False, True]),
        ([True], "float", [None], [True]),
        ([1.5], "timestamp", [None], [True]),
    ],
)
def test_what_cannot_be_read_is_marked(values: list[Any], kind: str, expected: Any, failed: Any) -> None:
    if expected is None:
        values, expected, failed = [str(values[0])], [None], [True]
    assert read(values, kind) == (expected, failed)


def test_not_a_number_is_missing() -> None:
    assert read([1.0, math.nan], "float") == ([1.0, None], [False, False])
    assert read(["1.0", "nan"], "float") == ([1.0, None], [False, False])


def test_times_become_utc_whatever_their_zone_and_unit() -> None:
    zoned = pa.array([NOON], pa.timestamp("ns", "Europe/Paris"))
    naive = pa.array([NOON.replace(tzinfo=None)], pa.timestamp("s"))
    for times in (zoned, naive):
        assert read(times, "timestamp") == ([NOON], [False])


def test_encodings_do_not_matter() -> None:
    for kind in (pa.dictionary(pa.int8(), pa.string()), pa.large_string(), pa.string_view()):
        assert read(pa.array(["a", None]).cast(kind), "string") == (["a", None], [False, False])


def test_a_column_without_values_has_any_type() -> None:
    assert read(pa.nulls(2), "timestamp") == ([None, None], [False, False])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", None, "2"], pa.int64()), (["1", "2.5"], pa.float64()), (["true", "false"], pa.bool_()),
        (["2024-01-01T00:00:00Z"], TIMESTAMP), (["1", "x"], pa.string()), ([None, ""], pa.null()),
    ],
)  # fmt: skip
def test_the_narrowest_type_is_inferred(values: list[str | None], expected: pa.DataType) -> None:
    assert infer_type(pa.array(values, pa.string())) == expected


def test_a_column_outside_of_the_spec_is_stored_in_one_width() -> None:
    assert settle_type(pa.int16()) == pa.int64()
    assert settle_type(pa.float32()) == pa.float64()
    assert settle_type(pa.decimal128(8, 2)) == pa.float64()
    assert settle_type(pa.timestamp("ns")) == TIMESTAMP
    assert settle_type(pa.dictionary(pa.int8(), pa.large_string())) == pa.string()
    assert settle_type(pa.list_(pa.int64())) == pa.list_(pa.int64())


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8) | st.floats()))
def test_good_values_survive_whatever_stands_beside_them(values: list[Any]) -> None:
    """A bad value costs itself and nothing else: each value alone reads as it does in company."""
    texts = pa.array([None if value is None else str(value) for value in values], pa.string())
    for kind in ("integer", "float", "boolean", "timestamp"):
        together = cast_column(texts, ARROW_TYPES[kind])
        alone = [cast_column(texts.slice(row, 1), ARROW_TYPES[kind]) for row in range(len(texts))]
        assert together.values.to_pylist() == [single.values[0].as_py() for single in alone]
        marks = together.failed.to_pylist() if together.failed is not None else [False] * len(texts)
        assert marks == [single.failed is not None for single in alone]


INSTANTS = st.datetimes(
    min_value=datetime(1, 1, 2),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
)


@given(st.lists(st.none() | INSTANTS))
def test_instants_survive_as_text(instants: list[datetime | None]) -> None:
    texts = pa.array([None if instant is None else instant.isoformat() for instant in instants], pa.string())
    assert cast_column(texts, TIMESTAMP).values.to_pylist() == instants
