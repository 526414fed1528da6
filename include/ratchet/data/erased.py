"""Who was erased: kept as keyed digests, so that what a source sends again, or a log ships late, does not come back.

The key is made once for each model and stays in the store; a digest says nothing without it, and a person's identifier
is written nowhere.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.blobs import open_blobs
from include.ratchet.data.sources import SourceBatch
from include.ratchet.data.sources.batch import Span
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelSpec

_KEY = "key"
_WORD = re.compile(r"[^\s,;:\"'{}\[\]]+")


@dataclass(frozen=True)
class Erased:
    """The persons who were erased from one model.

    Attributes:
        key: of the digests.
        digests: of the persons.
    """

    key: bytes
    digests: frozenset[str]

    def digest(self, subject: object) -> str:
        """What a person is remembered by."""
        return hashlib.blake2b(str(subject).encode(), key=self.key, digest_size=16).hexdigest()

    def holds(self, subject: object) -> bool:
        """Whether that person was erased."""
        return subject is not None and self.digest(subject) in self.digests

    def find(self, values: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """Which of some values name an erased person, (n_rows,)."""
        column = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        encoded = pc.dictionary_encode(column)
        known = np.array([*(self.holds(value) for value in encoded.dictionary.to_pylist()), False])
        return known[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]  # type: ignore[no-any-return]


def read_erased(settings: Settings, spec: ModelSpec) -> Erased | None:
    """Who was erased from a model; None if nobody was."""
    folder = _folder(spec.name)
    blobs = open_blobs(settings)
    names = [name for name in blobs.names(folder) if name != _KEY] if spec.privacy else []
    return Erased(blobs.get(f"{folder}/{_KEY}") or b"", frozenset(names)) if names else None


def remember_erased(settings: Settings, spec: ModelSpec, subject: object) -> str:
    """Note that a person is erased; returns the digest that stands for them."""
    blobs, folder = open_blobs(settings), _folder(spec.name)
    blobs.put_new(f"{folder}/{_KEY}", secrets.token_bytes(32))
    digest = Erased(blobs.get(f"{folder}/{_KEY}") or b"", frozenset()).digest(subject)
    blobs.put_new(f"{folder}/{digest}", b"")
    return digest


def drop_erased(batch: SourceBatch, column: str, erased: Erased) -> SourceBatch:
    """A source's rows without those of erased persons; a row that cannot be read goes if a word of it names one."""
    unreadable = tuple(row for row in batch.unreadable if not any(map(erased.holds, _WORD.findall(row.raw))))
    if column not in batch.table.column_names:
        return replace(batch, unreadable=unreadable)
    keep = pa.array(~erased.find(batch.table[column]))
    spans, start = [], 0
    for span in batch.spans:
        spans.append(Span(span.name, span.rows.filter(keep.slice(start, len(span.rows)))))
        start += len(span.rows)
    return replace(batch, table=batch.table.filter(keep), spans=tuple(spans), unreadable=unreadable)


def find_subjects(payloads: Iterable[str | None], column: str) -> list[Any]:
    """Whom some recorded payloads name, None where they do not say."""
    return [json.loads(text).get(column) if text else None for text in payloads]


def _folder(model: str) -> str:
    return f"erased/{model}"
