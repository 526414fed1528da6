"""Answers of a chunk as request records: column by column, never row by row."""

from __future__ import annotations

from collections.abc import Sequence
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
from include.ratchet.scoring.champions import Answer
from include.ratchet.settings import Settings
from include.ratchet.spec import Model
from include.ratchet.training.fit import score_of

BATCH = "batch"
"""Route and mode of a batch record."""
_TIME = pa.timestamp("us", "UTC")
_NAIVE = pa.timestamp("us")
_ISO = "%Y-%m-%dT%H:%M:%S.%f+00:00"


def record_schema(model: Model) -> pa.Schema:
    """Columns of a batch record: those of a request's, the features' in their types, the technical one."""
    features = [pa.field(f"{FEATURE}{name}", kind.to_pyarrow()) for name, kind in define(model).features.items()]
    return pa.schema([*REQUESTS, *features, pa.field(PARTITION_COLUMN, pa.string())])


class RecordWriter:
    """Makes the records of answers; one thread at a time.

    Args:
        model: that answers.
        here: `code_hash`, `lock_hash` and `kernels` of what runs here.
        answered_at: noted in every record.
        settings: limits of the engine that writes JSON.
    """

    def __init__(self, model: Model, here: dict[str, str], answered_at: datetime, settings: Settings) -> None:
        self._model = model
        self._schema = record_schema(model)
        self._fixed: dict[str, Any] = {
            "row": 0, "model": model.name, "route": BATCH, "mode": BATCH, "answered_at": answered_at,
            "is_stale": False, **here,
        }  # fmt: skip
        self._engine = duckdb.connect(config={"threads": settings.duckdb_threads})

    def close(self) -> None:
        """Let go of the engine."""
        self._engine.close()

    def write(self, rows: pa.Table, features: pa.Table, answers: Sequence[Answer]) -> pa.Table:
        """The records of some rows, in their order.

        Args:
            rows: as they were read, with the technical column.
            features: theirs, in the same order.
            answers: what is said of them; each row has its place in one of them.
        """
        if len(answers) == 1:
            return self._write(rows, features, answers[0])
        parts = [(pa.array(one.places), one) for one in answers]
        table = pa.concat_tables([self._write(rows.take(at), features.take(at), one) for at, one in parts])
        order = np.argsort(np.concatenate([one.places for one in answers]), kind="stable")
        return table.take(pa.array(order))

    def _write(self, rows: pa.Table, features: pa.Table, answer: Answer) -> pa.Table:
        spec = self._model.spec
        keys = record_keys(spec, rows)
        columns: dict[str, Any] = {
            "key": keys, "event_time": rows[spec.event_time], "prediction_time": features[PREDICTION],
            "segment": answer.segments, "pooled_for": answer.pooled_for, "version": answer.versions,
            PARTITION_COLUMN: rows[PARTITION_COLUMN], **self._texts(rows, keys, answer),
        }  # fmt: skip
        if answer.scores is None:
            columns["error"] = pa.repeat(answer.error, rows.num_rows)
        else:
            columns["score"] = pa.array(score_of(answer.scores), from_pandas=True)
        columns |= {f"{FEATURE}{name}": features[name] for name in define(self._model).features}
        return pa.table([self._column(field, columns, rows.num_rows) for field in self._schema], schema=self._schema)

    def _column(self, field: pa.Field, columns: dict[str, Any], rows: int) -> Any:
        if field.name in columns:
            return columns[field.name].cast(field.type)
        if field.name in self._fixed:
            return pa.repeat(pa.scalar(self._fixed[field.name], field.type), rows)
        return pa.nulls(rows, field.type)

    def _texts(self, rows: pa.Table, keys: pa.Array, answer: Answer) -> dict[str, pa.ChunkedArray]:
        """`request_id`, the same for the same key and version whenever it is scored, and the two JSON columns."""
        # What is masked in the service's records is left out here: whoever may see it finds it by key in the table.
        hidden = {*self._model.spec.serving.records.mask, PARTITION_COLUMN} & set(rows.column_names)
        payload = rows.drop_columns(sorted(hidden))
        given = {f"p{index}": _naive(payload.column(index)) for index in range(payload.num_columns)}
        texts = [
            f"{_literal(name)}: {f'strftime(p{index}, {_literal(_ISO)})' if _is_time(payload, index) else f'p{index}'}"
            for index, name in enumerate(payload.column_names)
        ]
        said, output = ({}, "") if answer.scores is None else self._outputs(answer.scores, answer.classes)
        written = f"to_json({{{output}}})::VARCHAR" if output else "NULL::VARCHAR"
        common = {"key": keys, "home": rows[PARTITION_COLUMN], "name": answer.names}
        self._engine.register("chunk", pa.table({**given, **said, **common}))
        found = self._engine.sql(
            "SELECT md5(name || '/' || home || key)::UUID::VARCHAR AS request_id, "  # noqa: S608
            f"to_json({{{', '.join(texts)}}})::VARCHAR AS payload, {written} AS output FROM chunk"
        ).to_arrow_table()
        self._engine.unregister("chunk")
        return {name: found[name] for name in found.column_names}

    def _outputs(self, scores: npt.NDArray[np.float64], classes: Sequence[Any]) -> tuple[dict[str, pa.Array], str]:
        """What a caller of the service would be told, as columns and as the members of a JSON object over them."""
        spec = self._model.spec
        if scores.ndim == 1:
            columns = {"score": pa.array(scores, from_pandas=True)}
            if spec.task == "regression":
                return columns, "'value': score"
            columns["label"] = pa.array(scores >= spec.evaluation.threshold)
            return columns, "'score': score, 'class': label"
        columns = {f"c{index}": pa.array(column) for index, column in enumerate(scores.T)}
        names = [str(name) for name in classes]
        columns["label"] = pa.array(np.array(names)[scores.argmax(axis=1)], pa.string())
        shares = ", ".join(f"{_literal(name)}: c{index}" for index, name in enumerate(names))
        return columns, f"'class': label, 'probabilities': {{{shares}}}"


def _is_time(rows: pa.Table, index: int) -> bool:
    return bool(pa.types.is_timestamp(rows.schema.field(index).type))


def _naive(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """UTC instants without their zone, which the engine would need an extension to write."""
    return column.cast(_TIME).cast(_NAIVE) if pa.types.is_timestamp(column.type) else column


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
