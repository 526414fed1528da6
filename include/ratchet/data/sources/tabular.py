"""Taking CSV and Parquet bytes apart, with the rows that resist."""

from __future__ import annotations

import io
from typing import Literal

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from include.ratchet.data.sources.batch import SourceBatch, Span, UnreadableRow, number_rows
from include.ratchet.errors import SourceError

Format = Literal["csv", "parquet"]
_SUFFIXES: dict[str, Format] = {".csv": "csv", ".csv.gz": "csv", ".parquet": "parquet", ".pq": "parquet"}


def guess_format(name: str, given: Format | None) -> Format:
    """The format that the spec gives or that the name's end says.

    Raises:
        SourceError: neither says it.
    """
    found = given or next((kind for suffix, kind in _SUFFIXES.items() if name.lower().endswith(suffix)), None)
    if found is None:
        message = f"{name}: cannot tell the format from the name's end; add `format: csv` or `format: parquet`"
        raise SourceError(message)
    return found


def parse_bytes(content: bytes, name: str, kind: Format) -> SourceBatch:
    """One file's content as a batch; CSV columns stay text, so that a bad value costs one row and not the file.

    Raises:
        SourceError: nothing of the content can be read.
    """
    try:
        if kind == "parquet":
            table = pq.read_table(io.BytesIO(content))
            return SourceBatch(table=table, spans=(Span(name, number_rows(table.num_rows)),))
        if name.lower().endswith(".gz"):
            content = pa.input_stream(io.BytesIO(content), compression="gzip").read()
        return _parse_csv(content, name)
    except (pa.ArrowException, OSError) as error:
        message = f"{name}: cannot be read as {kind}: {error}"
        raise SourceError(message) from error


def _parse_csv(content: bytes, name: str) -> SourceBatch:
    if not content.strip():
        return SourceBatch(table=pa.table({}), spans=(Span(name, number_rows(0)),), is_text=True)
    bad: dict[int, UnreadableRow] = {}

    def keep_bad(row: pacsv.InvalidRow) -> str:
        # The reader counts the header as row 1.
        number = int(row.number) - 1
        reason = f"found {row.actual_columns} values; expected {row.expected_columns}"
        bad[number] = UnreadableRow(name, number, row.text, reason)
        return "skip"

    # One thread: only then does the reader number the rows that it cannot take apart.
    read = pacsv.ReadOptions(use_threads=False, block_size=max(len(content), 1))
    parse = pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=keep_bad)
    names = _read_header(content, parse)
    convert = pacsv.ConvertOptions(
        column_types={column: pa.binary() for column in names},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )
    table = pacsv.read_csv(io.BytesIO(content), read, parse, convert)
    rows = [row for row in range(1, table.num_rows + len(bad) + 1) if row not in bad] if bad else None
    numbers = pa.array(rows, pa.int64()) if rows is not None else number_rows(table.num_rows)
    return _decode_text(table, numbers, name, tuple(bad.values()))


def _read_header(content: bytes, parse: pacsv.ParseOptions) -> list[str]:
    first = content.split(b"\n", 1)[0]
    header = pacsv.read_csv(io.BytesIO(first + b"\n"), parse_options=parse)
    return list(header.column_names)


def _decode_text(table: pa.Table, numbers: pa.Array, name: str, bad: tuple[UnreadableRow, ...]) -> SourceBatch:
    """Bytes to text; a row that is not UTF-8 is unreadable."""
    try:
        text = table.cast(pa.schema([(column, pa.string()) for column in table.column_names]))
        return SourceBatch(text, (Span(name, numbers),), bad, is_text=True)
    except pa.ArrowInvalid:
        broken = [row for row, values in enumerate(table.to_pylist()) if not _is_utf8(values)]
    keep = pa.array([row not in set(broken) for row in range(table.num_rows)])
    more = tuple(
        UnreadableRow(name, numbers[row].as_py(), _show(table.slice(row, 1)), "the text is not UTF-8") for row in broken
    )
    return _decode_text(table.filter(keep), numbers.filter(keep), name, (*bad, *more))


def _is_utf8(values: dict[str, bytes | None]) -> bool:
    try:
        for value in values.values():
            if value is not None:
                value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _show(row: pa.Table) -> str:
    values = row.to_pylist()[0].values()
    return ",".join("" if value is None else value.decode(errors="backslashreplace") for value in values)
