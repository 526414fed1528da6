"""Whether a file quotes one of some words, also where it is compressed."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from include.ratchet.data.blobs import Blobs

MIN_LENGTH = 5
"""Shorter words are found in everything: a customer 7 cannot be told from the number."""
_PARQUET, _ZIP = b"PAR1", b"PK\x03\x04"


class Words:
    """Words that no file may quote.

    Args:
        words: an identifier and the keys of its rows; those that are too short to be told from others are left out.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.known = sorted({word for word in words if len(word) >= MIN_LENGTH})
        # Long alternatives of plain words are looked up faster by pieces of text than by one expression of them all.
        self._bytes = [word.encode() for word in self.known]
        self._tokens = frozenset(self._bytes)
        self._is_plain = all(re.fullmatch(rb"[\w.@+-]+", word) for word in self._bytes)

    def are_in(self, content: bytes) -> bool:
        """Whether a file quotes any of them: as it stands, or in its columns or members."""
        if not self._bytes:
            return False
        if self._quote(content):
            return True
        if content[:4] == _PARQUET:
            table = pq.read_table(io.BytesIO(content))
            return any(self._quote(text.encode()) for text in _texts(table))
        if content[:4] == _ZIP:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                return any(self.are_in(archive.read(name)) for name in archive.namelist())
        return False

    def _quote(self, content: bytes) -> bool:
        if self._is_plain:
            return not self._tokens.isdisjoint(re.findall(rb"[\w.@+-]+", content))
        return any(re.search(rb"(?<![\w])" + re.escape(word) + rb"(?![\w])", content) for word in self._bytes)


def walk(blobs: Blobs, folder: str = "") -> Iterator[str]:
    """Every file below a folder of a store."""
    for name in blobs.names(folder):
        path = f"{folder}/{name}" if folder else name
        if blobs.names(path):
            yield from walk(blobs, path)
        else:
            yield path


def _texts(table: pa.Table) -> Iterator[str]:
    for column in table.columns:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind):
            yield "\n".join(str(value) for value in column.unique().to_pylist() if value is not None)
