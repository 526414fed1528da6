"""Records of a batch of predictions, in the columns of `data.records`."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.records import FEATURE, REQUESTS
from include.ratchet.data.tables import PARTITION_COLUMN
from include.ratchet.errors import NotDeployedError
from include.ratchet.features import feature_names
from include.ratchet.registry.lineage import read_kernels
from include.ratchet.spec import Model, ModelSpec, partition_of

if TYPE_CHECKING:
    from include.ratchet.serving.fitted import Deployment
    from include.ratchet.serving.outputs import Output, Scored
    from include.ratchet.serving.requests import Request


_TIME = pa.timestamp("us", "UTC")
_DRAWN = ("champion", "challenger", "holdout")
"""Routes of which it was drawn by lot whether the row is held out."""
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class Masker:
    """Turns values into keyed hashes: equal ones stay equal, and nobody without the secret can guess them.

    Raises:
        NotDeployedError: columns are to be masked, and there is no secret.
    """

    def __init__(self, model: Model, secret: str) -> None:
        self._names = frozenset(model.spec.serving.records.mask)
        if self._names and not secret:
            message = (
                f"{model.name} masks {', '.join(sorted(self._names))}, but RATCHET_MASK_SECRET is not set; start the "
                "service with the secret of the others, such as the stack's, or with a long random text"
            )
            raise NotDeployedError(message)
        self._secret = secret.encode()
        self.features = tuple(feature_names(model))

    def mask(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """A row with its masked columns hashed."""
        if not self._names:
            return row
        return {name: self._hash(value) if name in self._names and value is not None else value
                for name, value in row.items()}  # fmt: skip

    def _hash(self, value: Any) -> str:
        return "masked:" + hmac.new(self._secret, orjson.dumps(value), hashlib.sha256).hexdigest()[:32]


def record_rows(
    spec: ModelSpec, requests: Sequence[Request], answering: Sequence[Deployment], pooled_for: Sequence[str | None],
    scored: Scored, outputs: Sequence[Output], is_stale: npt.NDArray[np.bool_], known_until: datetime,
    features: pa.Table, answered_at: datetime, masker: Masker,
) -> pa.Table:  # fmt: skip
    """One record for each row that is answered, and one for each challenger that a champion stood in for."""
    count, now = features.num_rows, time.monotonic()
    answered = _describe_answering(answering, scored.versions)
    owned = pa.table({
        "request_id": [one.id for one in requests],
        "received_at": pa.array([one.received_at for one in requests], _TIME),
        "latency_ms": [(now - one.started) * 1000 for one in requests],
        "caller": [one.caller for one in requests],
    }).take(pa.array(np.repeat(np.arange(len(requests)), [one.count for one in requests])))  # fmt: skip
    columns: dict[str, Any] = {
        **{name: owned[name] for name in owned.column_names},
        "row": np.concatenate([np.arange(one.count, dtype=np.int32) for one in requests]),
        "key": [key for one in requests for key in one.keys],
        "event_time": features[spec.event_time],
        "prediction_time": features["_prediction_time"],
        **{name: answered[name] for name in answered.column_names},
        "route": scored.routes,
        "pooled_for": pooled_for,
        "score": pa.array(scored.scores, from_pandas=True),
        "output": [orjson.dumps(one).decode() for one in outputs],
        "error": pa.nulls(count, pa.string()),
        "payload": [orjson.dumps(masker.mask(row)).decode() for one in requests for row in one.raw],
        "is_stale": is_stale,
        "holdout": pa.array(
            [
                None if spec.serving.holdout is None or route not in _DRAWN else spec.serving.holdout.share
                for route in scored.routes
            ],
            pa.float64(),
        ),
    }
    same = {"model": spec.name, "answered_at": answered_at, "known_until": known_until, "kernels": read_kernels()}
    columns |= {name: pa.repeat(pa.scalar(value, REQUESTS.field(name).type), count) for name, value in same.items()}
    table = _assemble(spec, columns, features, masker.features)
    return pa.concat_tables([table, _failed(table, scored)]) if scored.failures else table


def _describe_answering(answering: Sequence[Deployment], versions: Sequence[int]) -> pa.Table:
    """By row, what is recorded of the version that answered it: of many rows there are few."""
    by_row = [(id(one), version) for one, version in zip(answering, versions, strict=True)]
    distinct = dict(zip(by_row, answering, strict=True))
    places = {key: place for place, key in enumerate(distinct)}
    chosen = [(one, one.fitted[version]) for (_, version), one in distinct.items()]
    return pa.table(
        {
            "version": pa.array([fitted.number for _, fitted in chosen], pa.int32()),
            "segment": [one.key.segment for one, _ in chosen],
            "mode": [one.route.mode for one, _ in chosen],
            "deployed_at": pa.array([fitted.deployed_at for _, fitted in chosen], _TIME),
            "code_hash": [fitted.code_hash for _, fitted in chosen],
            "lock_hash": [fitted.lock_hash for _, fitted in chosen],
        }
    ).take(pa.array([places[key] for key in by_row]))


def score_shadow(records: pa.Table, version: int, deployed_at: datetime, scores: npt.NDArray[np.float64] | None,
                 outputs: Sequence[Output], error: str | None, latency_ms: float) -> pa.Table:  # fmt: skip
    """The twins of some records, as another version predicted them and nobody was told."""
    count = records.num_rows
    changed = {
        "version": pa.array([version] * count, pa.int32()),
        "route": pa.array(["shadow"] * count),
        "deployed_at": pa.array([deployed_at] * count, pa.timestamp("us", "UTC")),
        "latency_ms": pa.array([latency_ms] * count),
        "score": pa.nulls(count, pa.float64()) if scores is None else pa.array(scores, from_pandas=True),
        "output": pa.array([orjson.dumps(one).decode() for one in outputs])
        if outputs
        else pa.nulls(count, pa.string()),
        "error": pa.array([error] * count, pa.string()),
    }
    return _replace(records, changed)


def _failed(table: pa.Table, scored: Scored) -> pa.Table:
    rows = list(scored.failures)
    versions, errors = zip(*scored.failures.values(), strict=True)
    return _replace(table.take(pa.array(rows)), {
        "version": pa.array(versions, pa.int32()), "route": pa.array(["challenger"] * len(rows)),
        "score": pa.nulls(len(rows), pa.float64()), "output": pa.nulls(len(rows), pa.string()),
        "error": pa.array(errors, pa.string()),
    })  # fmt: skip


def _assemble(spec: ModelSpec, columns: Mapping[str, Any], features: pa.Table, names: Sequence[str]) -> pa.Table:
    arrays = {field.name: _column(columns[field.name], field.type) for field in REQUESTS}
    arrays |= {f"{FEATURE}{name}": features[name] for name in names}
    arrays[PARTITION_COLUMN] = _partitions(spec, features[spec.event_time])
    return pa.table(arrays)


def _column(values: Any, kind: pa.DataType) -> Any:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values if values.type == kind else pc.cast(values, kind)
    return pa.array(values, kind)


def _partitions(spec: ModelSpec, times: pa.ChunkedArray) -> pa.Array:
    instants, places = np.unique(times.cast(_TIME).cast(pa.int64()).to_numpy(), return_inverse=True)
    keys: list[str] = []
    while len(keys) < len(instants):
        part = partition_of(spec, _EPOCH + timedelta(microseconds=int(instants[len(keys)])))
        end = int(np.searchsorted(instants, (part.end - _EPOCH) // _MICROSECOND))
        keys += [part.key] * (end - len(keys))
    return pa.array(keys, pa.string()).take(pa.array(places))


def _replace(table: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    return pa.table({name: columns.get(name, table[name]) for name in table.column_names})
