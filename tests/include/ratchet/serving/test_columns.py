"""Reading many rows column by column gives what reading them one by one gives, or leaves it to that."""

from __future__ import annotations

from datetime import date

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.ratchet.serving import payload
from include.ratchet.serving.columns import read_columns
from include.ratchet.serving.payload import RowReader
from include.ratchet.spec import Model, ModelSpec

SPEC = {
    "name": "orders", "owner": "o", "description": "Orders that come back.", "task": "binary",
    "source": {"python": "f"}, "keys": ["order_id"], "event_time": "at", "label": {"column": "y", "delay": "6h"},
    "columns": {
        "order_id": {"type": "string", "nullable": False}, "at": {"type": "timestamp", "nullable": False},
        "shop": {"type": "string", "values": ["a", "b"]}, "note": {"type": "string", "min": 1, "max": 3},
        "items": {"type": "integer", "min": 1, "max": 9}, "price": {"type": "float", "min": 0},
        "is_gift": {"type": "boolean"}, "born": {"type": "date"}, "seen": {"type": "timestamp"},
    },
}  # fmt: skip
GOOD = {
    "order_id": "o1", "at": "2013-01-05T07:30:00Z", "shop": "a", "note": "é€", "items": 3, "price": 1,
    "is_gift": True, "born": "2001-02-28", "seen": "2013-01-05 07:30:00.25+01:00",
}  # fmt: skip
YEARS = (payload._FIRST_YEAR, payload._LAST_YEAR)
WHAT = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 12), st.integers(), st.floats(), st.text(max_size=5), st.just([1]),
    st.sampled_from(["a", "c", "2013-01-05T07:30:00Z", "2013-01-05T07:30Z", "2013-01-05 07:30:00.1234567Z", "20130105",
                     "2013-01-05", "2013-01-05T07:30:00", "0001-01-01T00:00:00Z", "2200-12-31T23:30:00-05:00", "x",
                     "1900-01-01T00:30:00+05:00", "2013-02-30T00:00:00Z", "2013-01-05T24:00:00Z", "2013-W01-1",
                     "2013-01-05T07:30:00+0100", "2013-01-05T07:30:60Z", " 2013-01-05T07:30:00Z"]),
)  # fmt: skip


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return RowReader(Model(spec=ModelSpec.model_validate(SPEC), folder=tmp_path_factory.mktemp("orders")))


def one_by_one(reader, rows):
    problems = []
    read = [reader._read_row(number, row, problems) for number, row in enumerate(rows)]
    return read, problems


def test_good_rows_are_read_as_columns(reader):
    rows = [GOOD, {**GOOD, "shop": None, "price": 0.5}, {name: GOOD[name] for name in ("order_id", "at")}]
    table = read_columns(reader.fields, rows, YEARS)
    assert table is not None
    assert table.equals(reader.to_table([one_by_one(reader, rows)[0]]))
    assert table["born"].to_pylist() == [date(2001, 2, 28), date(2001, 2, 28), None]


@settings(max_examples=400, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([*GOOD, "y", "strange"]), WHAT), min_size=1, max_size=3
    )
)
def test_whatever_callers_send_is_read_alike_or_left_alone(reader, changes):
    rows = [dict(GOOD) for _ in range(4)]
    for place, name, value in changes:
        rows[place][name] = value
    rows = orjson.loads(orjson.dumps(rows, option=orjson.OPT_NON_STR_KEYS)) if is_json(rows) else rows
    table = read_columns(reader.fields, rows, YEARS)
    read, problems = one_by_one(reader, rows)
    if problems:
        assert table is None
    elif table is not None:
        assert table.equals(reader.to_table([read]))


def is_json(rows):
    try:
        orjson.dumps(rows)
    except TypeError:
        return False
    return True


@pytest.mark.parametrize("rows", [[GOOD, 1], [GOOD, {**GOOD, "strange": 1}], [GOOD, {"order_id": "o2"}]])
def test_rows_of_another_form_are_left_to_be_explained(reader, rows):
    assert read_columns(reader.fields, rows, YEARS) is None


def test_problems_of_many_rows_are_said_as_those_of_few(reader):
    rows = [GOOD] * 200 + [{**GOOD, "items": 12}]
    _, problems = reader.read(rows)
    assert [problem.path for problem in problems] == [("rows", 200, "items")]


def test_rows_of_several_requests_become_one_table_in_their_order(reader):
    many = read_columns(reader.fields, [{**GOOD, "order_id": f"m{number}"} for number in range(3)], YEARS)
    few = [one_by_one(reader, [{**GOOD, "order_id": name}])[0] for name in ("a", "b", "c")]
    found = reader.to_table([few[0], few[1], many, few[2]])
    assert isinstance(found, pa.Table)
    assert found["order_id"].to_pylist() == ["a", "b", "m0", "m1", "m2", "c"]
