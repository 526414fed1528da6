"""A person in a model's data: who they are, and how their rows are told in every kind of table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.erased import find_subjects
from include.ratchet.data.records import RecordTable, record_keys
from include.ratchet.data.tables import PARTITION_COLUMN, Table
from include.ratchet.erasure.search import MIN_LENGTH, Words
from include.ratchet.erasure.tables import Mask, scan_table
from include.ratchet.errors import SpecError
from include.ratchet.registry.versions import Version
from include.ratchet.settings import Settings
from include.ratchet.spec import Model

RECORDS: tuple[Literal["requests", "scores"], ...] = ("requests", "scores")
_Flags = npt.NDArray[np.bool_]


class Hunt:
    """A person, and what is found of them: keys of their rows, requests about them, days.

    Args:
        model: whose spec names the column of the person.
        subject: the value of it.

    Raises:
        SpecError: the spec does not say which column names a person.
        ValueError: the subject cannot be a value of it.
    """

    def __init__(self, model: Model, subject: str) -> None:
        spec = model.spec
        if spec.privacy is None:
            message = (
                f"{model.folder}/model.yaml: privacy: found nothing; expected `privacy: {{subject: COLUMN}}`, the "
                "column that names the person whom a row is about"
            )
            raise SpecError(message)
        self._model, self._spec, self._column = model, spec, spec.privacy.subject
        kind = spec.columns[self._column].type
        if not subject or (kind == "integer" and not subject.lstrip("-").isdigit()):
            message = f"subject: found {subject!r}; expected a value of {self._column}, of type {kind}"
            raise ValueError(message)
        self.value: Any = int(subject) if kind == "integer" else subject
        self.keys: set[str] = set()
        self.names: set[str] = set()
        self.requests: set[tuple[str, int]] = set()
        self.partitions: set[str] = set()

    def gather(self, settings: Settings) -> None:
        """Read what landed and what was recorded, and note all by which the person is found elsewhere."""
        scan_table(Table(settings, self._spec.name, self._spec.name), self.naming(self._column), self._see_landed)
        for kind in RECORDS:
            scan_table(RecordTable(settings, self._model, kind), self.in_records, self._see_record)

    def _see_landed(self, rows: pa.Table) -> None:
        """Note the keys of rows that name the person."""
        self.keys.update(record_keys(self._spec, rows).to_pylist())
        for name in self._spec.keys:
            if pa.types.is_string(rows[name].type):
                self.names.update(value for value in rows[name].to_pylist() if value)
        self.partitions.update(rows[PARTITION_COLUMN].unique().to_pylist())

    def _see_record(self, rows: pa.Table) -> None:
        """Note requests about the person, and the keys that they were about."""
        self.requests.update(zip(rows["request_id"].to_pylist(), rows["row"].to_pylist(), strict=True))
        self.keys.update(key for key in rows["key"].to_pylist() if key)
        self.partitions.update(rows[PARTITION_COLUMN].unique().to_pylist())

    def naming(self, column: str) -> Mask:
        """Rows of which a column names the person."""
        return lambda rows: _flags(pc.equal(rows[column], pa.scalar(self.value).cast(rows[column].type)))

    def in_keyed(self, rows: pa.Table) -> _Flags:
        """Rows with the person's keys, or that name them, in any table that has either."""
        found = np.zeros(rows.num_rows, np.bool_)
        if self._column in rows.column_names:
            found |= self.naming(self._column)(rows)
        if set(self._spec.keys) <= set(rows.column_names):
            found |= _among(record_keys(self._spec, rows), self.keys)
        elif "key" in rows.column_names:
            found |= _among(rows["key"], self.keys)
        return found

    def in_records(self, rows: pa.Table) -> _Flags:
        """Request records and scores about the person: by key, or because the payload names them."""
        found = _among(rows["key"], self.keys)
        text = str(self.value)
        quoted = _flags(pc.match_substring(rows["payload"], text)) & ~found
        for row in np.flatnonzero(quoted):
            found[row] = str(find_subjects([rows["payload"][int(row)].as_py()], self._column)[0]) == text
        return found

    def in_feedback(self, rows: pa.Table) -> _Flags:
        """Feedback about the person's keys or requests."""
        about = zip(rows["request_id"].to_pylist(), pc.fill_null(rows["row"], 0).to_pylist(), strict=True)
        return _among(rows["key"], self.keys) | np.array([one in self.requests for one in about], np.bool_)

    def in_quarantine(self, rows: pa.Table) -> _Flags:
        """Rows that could not be landed and quote the person."""
        words = Words([str(self.value), *self.names])
        short = f'"{self._column}": ' if len(str(self.value)) < MIN_LENGTH else None

        def quotes(text: str | None) -> bool:
            if text is None:
                return False
            is_named = short is not None and any(f"{short}{value}" in text for value in (self.value, f'"{self.value}"'))
            return is_named or words.are_in(text.encode())

        return np.array([quotes(text) for text in rows["row"].to_pylist()], np.bool_)

    def is_feature(self, versions: Iterable[Version]) -> bool:
        """Whether an estimator may hold the identifier itself."""
        return any(self._column in version.lineage.features for version in versions)

    def profile_rows(self, rows: pa.Table) -> _Flags:
        """Profiles of the column that names persons."""
        return _flags(pc.equal(rows["column"], self._column))


def _among(keys: pa.Array | pa.ChunkedArray, wanted: set[str]) -> _Flags:
    return _flags(pc.is_in(keys, value_set=pa.array(sorted(wanted), pa.string())))


def _flags(mask: Any) -> _Flags:
    mask = mask.combine_chunks() if isinstance(mask, pa.ChunkedArray) else mask
    return pc.fill_null(mask, False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
