from __future__ import annotations

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ratchet.data.sources.tabular import guess_format, parse_bytes
from include.ratchet.errors import SourceError


def test_a_row_of_another_length_is_kept_aside_with_its_number() -> None:
    batch = parse_bytes(b"a,b\n1,2\n3\n4,5\n6,7,8\n9,10\n", "x.csv", "csv")
    assert batch.table.to_pydict() == {"a": ["1", "4", "9"], "b": ["2", "5", "10"]}
    assert [batch.position(row) for row in range(3)] == ["x.csv, row 1", "x.csv, row 3", "x.csv, row 5"]
    assert [(bad.row, bad.raw, bad.reason) for bad in batch.unreadable] == [
        (2, "3", "found 1 values; expected 2"),
        (4, "6,7,8", "found 3 values; expected 2"),
    ]
    assert batch.rows == 5


def test_a_row_that_is_not_utf8_is_kept_aside() -> None:
    batch = parse_bytes(b"a,b\ncaf\xc3\xa9,1\ncaf\xe9,2\nx,3\n", "x.csv", "csv")
    assert batch.table.to_pydict() == {"a": ["café", "x"], "b": ["1", "3"]}
    assert [(bad.position, bad.raw, bad.reason) for bad in batch.unreadable] == [
        ("x.csv, row 2", "caf\\xe9,2", "the text is not UTF-8")
    ]
    assert batch.position(1) == "x.csv, row 3"


def test_text_stays_text_and_quotes_hold_lines_together() -> None:
    batch = parse_bytes(b'id,note\n007,"two\nlines, one row"\n008,\n', "x.csv", "csv")
    assert batch.table.to_pydict() == {"id": ["007", "008"], "note": ["two\nlines, one row", None]}
    assert batch.is_text


def test_gzip_is_unpacked() -> None:
    assert parse_bytes(gzip.compress(b"a\n1\n"), "x.csv.gz", "csv").table.to_pydict() == {"a": ["1"]}


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_has_no_rows(content: bytes) -> None:
    assert parse_bytes(content, "x.csv", "csv").rows == 0


def test_a_file_of_another_kind_is_told() -> None:
    with pytest.raises(SourceError, match=r"x\.parquet: cannot be read as parquet"):
        parse_bytes(b"a,b\n1,2\n", "x.parquet", "parquet")
    with pytest.raises(SourceError, match=r"x\.csv\.gz: cannot be read as csv"):
        parse_bytes(b"a,b\n1,2\n", "x.csv.gz", "csv")


def test_parquet_keeps_its_types() -> None:
    table = pa.table({"a": [1, None], "b": ["x", "y"]})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    batch = parse_bytes(sink.getvalue(), "x.parquet", "parquet")
    assert batch.table.equals(table)
    assert not batch.is_text


def test_the_format_is_in_the_name_or_in_the_spec() -> None:
    assert guess_format("A.CSV.GZ", None) == "csv"
    assert guess_format("a.parquet", None) == "parquet"
    assert guess_format("a.txt", "csv") == "csv"
    with pytest.raises(SourceError, match=r"a\.txt: cannot tell the format"):
        guess_format("a.txt", None)


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=6), st.integers()),
        min_size=1,
    )
)
def test_what_is_written_is_read(rows: list[tuple[str, int]]) -> None:
    import csv

    sink = io.StringIO(newline="")
    csv.writer(sink, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([("text", "number"), *rows])
    batch = parse_bytes(sink.getvalue().encode(), "x.csv", "csv")
    assert batch.table["text"].to_pylist() == [text or None for text, _ in rows]
    assert batch.table["number"].to_pylist() == [str(number) for _, number in rows]
