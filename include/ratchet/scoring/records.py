"""Answers of a chunk as request records: column by column, never row by row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.data.records import FEATURE, REQUESTS, record_keys
from include.ratchet.data.tables import PARTITION_COLUMN
from include.ratchet.features.definition import define
from include.ratchet.features.schema import PREDICTION
from include.ratchet.registry.versions import Version
from include.ratchet.settings import Settings
from include.ratchet.spec import Model

BATCH = "batch"
"""Route and mode of a batch record."""
_TIME = pa.timestamp("us", "UTC")
_NAIVE = pa.timestamp("us")
_ISO = "%Y-%m-%dT%H:%M:%S.%f+00:00"


@dataclass(frozen=True)
class Answers:
    """What a version says of some rows.

    Attributes:
        score: (n_rows,) float64: probability of the positive class, or of the likeliest one, or the value.
        label: (n_rows,) what that comes to: whether it reaches the threshold, the likeliest class; None of a value.
    """

    score: npt.NDArray[np.float64]
    label: npt.NDArray[Any] | None


def to_answers(model: Model, estimator: Any, scores: npt.NDArray[np.float64]) -> Answers:
    """Answers from what `predict` gives: (n_rows,), or (n_rows, n_classes) with the estimator's own classes."""
    if scores.ndim == 2:
        return Answers(scores.max(axis=1), np.asarray(estimator.classes_)[scores.argmax(axis=1)])
    is_binary = model.spec.task == "binary"
    return Answers(scores, scores >= model.spec.evaluation.threshold if is_binary else None)


def record_schema(model: Model) -> pa.Schema:
    """Columns of a batch record: those of a request's, the features' in their types, the technical one."""
    features = [pa.field(f"{FEATURE}{name}", kind.to_pyarrow()) for name, kind in define(model).features.items()]
    return pa.schema([*REQUESTS, *features, pa.field(PARTITION_COLUMN, pa.string())])


class RecordWriter:
    """Makes the records of one version's answers; one thread at a time.

    Args:
        model: that answers.
        version: of it.
        hashes: `code_hash` and `lock_hash` of what runs here.
        answered_at: noted in every record.
        settings: limits of the engine that writes JSON.
    """

    def __init__(
        self, model: Model, version: Version, hashes: dict[str, str], answered_at: datetime, settings: Settings
    ) -> None:
        self._model, self._version = model, version
        self._schema = record_schema(model)
        self._fixed: dict[str, Any] = {
            "row": 0, "model": model.name, "segment": version.key.segment, "version": version.number, "route": BATCH,
            "mode": BATCH, "answered_at": answered_at, "is_stale": False, **hashes,
        }  # fmt: skip
        self._engine = duckdb.connect(config={"threads": settings.duckdb_threads})

    def close(self) -> None:
        """Let go of the engine."""
        self._engine.close()

    def write(self, rows: pa.Table, features: pa.Table, answers: Answers) -> pa.Table:
        """The records of some rows.

        Args:
            rows: as they were read, with the technical column.
            features: theirs, in the same order.
            answers: theirs, in the same order.
        """
        spec = self._model.spec
        keys = record_keys(spec, rows)
        columns: dict[str, Any] = {
            "key": keys, "event_time": rows[spec.event_time], "prediction_time": features[PREDICTION],
            "score": pa.array(answers.score), PARTITION_COLUMN: rows[PARTITION_COLUMN],
            **self._texts(rows, keys, answers),
        }  # fmt: skip
        columns |= {f"{FEATURE}{name}": features[name] for name in define(self._model).features}
        return pa.table([self._column(field, columns, rows.num_rows) for field in self._schema], schema=self._schema)

    def _column(self, field: pa.Field, columns: dict[str, Any], rows: int) -> Any:
        if field.name in columns:
            return columns[field.name].cast(field.type)
        if field.name in self._fixed:
            return pa.repeat(pa.scalar(self._fixed[field.name], field.type), rows)
        return pa.nulls(rows, field.type)

    def _texts(self, rows: pa.Table, keys: pa.Array, answers: Answers) -> dict[str, pa.ChunkedArray]:
        """`request_id`, the same for the same key and version whenever it is scored, and the two JSON columns."""
        payload = rows.drop_columns([PARTITION_COLUMN])
        given = {f"p{index}": _naive(payload.column(index)) for index in range(payload.num_columns)}
        texts = [
            f"{_literal(name)}: {f'strftime(p{index}, {_literal(_ISO)})' if _is_time(payload, index) else f'p{index}'}"
            for index, name in enumerate(payload.column_names)
        ]
        said = "score: score" if answers.label is None else "score: score, label: label"
        label = pa.nulls(rows.num_rows) if answers.label is None else pa.array(answers.label)
        home = rows[PARTITION_COLUMN]
        chunk = pa.table({**given, "key": keys, "home": home, "score": pa.array(answers.score), "label": label})
        self._engine.register("chunk", chunk)
        found = self._engine.sql(
            f"SELECT md5({_literal(f'{self._version}/')} || home || key)::UUID::VARCHAR AS request_id, "  # noqa: S608
            f"to_json({{{', '.join(texts)}}})::VARCHAR AS payload, to_json({{{said}}})::VARCHAR AS output FROM chunk"
        ).to_arrow_table()
        self._engine.unregister("chunk")
        return {name: found[name] for name in found.column_names}


def _is_time(rows: pa.Table, index: int) -> bool:
    return bool(pa.types.is_timestamp(rows.schema.field(index).type))


def _naive(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """UTC instants without their zone, which the engine would need an extension to write."""
    return column.cast(_TIME).cast(_NAIVE) if pa.types.is_timestamp(column.type) else column


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
