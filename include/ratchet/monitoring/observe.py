"""Seeing a partition: its records are read once, and become profiles of columns and numbers of the day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from include.ratchet.data.records import FEATURE, SCHEMAS, Kind, RecordTable
from include.ratchet.data.tables import count_rows, read_partitions, read_schema
from include.ratchet.monitoring.multivariate import code_rows, separability
from include.ratchet.monitoring.outcomes import POOLED_FOR, expect, measure, measure_groups, measure_value
from include.ratchet.monitoring.profile import ColumnProfile, ProfileTable, profile_column
from include.ratchet.monitoring.quality import inspect, read_payloads, sample
from include.ratchet.monitoring.reference import SCORE, Reference, describe, groups_of, read_reference
from include.ratchet.monitoring.signals import Look
from include.ratchet.monitoring.store import write_looks
from include.ratchet.registry.fleet import read_champions
from include.ratchet.registry.ledger import AliasState
from include.ratchet.rollout.labels import Outcomes, read_outcomes, said_probabilities
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey, Partition
from include.ratchet.training.metrics import Floats

_BASE = ("request_id", "row", "segment", POOLED_FOR, "key", "event_time", "received_at", "latency_ms", "version",
         "route", "score", "output", "error", "is_stale")  # fmt: skip
_PAYLOAD = "payload"
"""Most of what a record weighs; labels that come late need none."""
_UNIT = ("request_id", "row", "key", "event_time", "received_at")
"""Columns by which outcomes are found."""
_PLACE, _UNHELPFUL = "_place", "_is_unhelpful"
_ROWS = 300_000
"""Held at once: of fifty features some 250 MB."""
_ANSWERED = ("champion", "holdout", "batch")
_BY_LABEL = ("slice.", "fairness.", "business.")
"""Numbers of which the next labels may leave nothing."""


def records_of(settings: Settings, model: Model) -> Kind:
    """Which records are watched."""
    wanted = model.spec.monitoring.records
    return wanted if wanted != "auto" else _open_records(settings, model)[0]


def _open_records(settings: Settings, model: Model) -> tuple[Kind, Any | None]:
    """The records that are watched, opened once: a log grows with every shipment."""
    wanted = model.spec.monitoring.records
    if wanted == "auto":
        requests = RecordTable(settings, model, "requests").open()
        if requests is not None and count_rows(requests):
            return "requests", requests
        wanted = "scores"
    return wanted, RecordTable(settings, model, wanted).open()


def observe(
    settings: Settings, model: Model, keys: Sequence[ModelKey], partition: Partition, as_of: datetime,
    service: Mapping[str, float] = MappingProxyType({}),
) -> tuple[Look, ...]:  # fmt: skip
    """Read the records of some model keys on a partition, keep their profiles, and return what was seen of each.

    Args:
        settings: of the installation.
        model: whose keys these are.
        keys: some or all of them.
        partition: of event time.
        as_of: labels that became available then or later are not seen.
        service: numbers of the prediction service that go with the looks.
    """
    looks: list[Look] = []
    for part in _parts(settings, model, keys, partition):
        found, profiles = _observe(settings, model, part, partition, as_of)
        looks += [replace(look, numbers={**look.numbers, **service}) for look in found]
        ProfileTable(settings, model.name).write(profiles, [partition.key])
    write_looks(looks, settings)
    return tuple(looks)


def observe_labels(
    settings: Settings, model: Model, looks: Sequence[Look], partition: Partition, as_of: datetime
) -> tuple[Look, ...]:
    """Looks at a partition with what labels that have come since then say of it; its profiles stay as they are."""
    found, by_key = [], {look.key: look for look in looks}
    for part in _parts(settings, model, list(by_key), partition):
        rows, known = _read_labels(settings, model, _read(settings, model, part, partition, with_features=False), as_of)
        for key, own in _split(rows, part):
            look = by_key[key]
            if look.version is None or not own.num_rows:
                found.append(replace(look, as_of=as_of))
                continue
            reference = read_reference(settings, model, key, look.version)
            maturity, outcomes = _outcomes(model, reference, own, known)
            told = {name: one for name, one in look.numbers.items() if not name.startswith(_BY_LABEL)}
            found.append(replace(look, as_of=as_of, maturity=maturity, numbers={**told, **outcomes}))
    return tuple(found)


def _observe(
    settings: Settings, model: Model, keys: Sequence[ModelKey], partition: Partition, as_of: datetime
) -> tuple[list[Look], dict[tuple[str, str], dict[str, ColumnProfile]]]:
    """Looks at some model keys, and the profiles of their columns by segment and partition."""
    rows, known = _read_labels(settings, model, _read(settings, model, keys, partition), as_of)
    champions: Mapping[str, AliasState] | None = None
    profiles: dict[tuple[str, str], dict[str, ColumnProfile]] = {}
    looks = []
    for key, own in _split(rows, keys):
        version = _answered_by(own)
        if version is None:
            champions = read_champions(model.name, settings) if champions is None else champions
            version = champions[key.segment].version if key.segment in champions else None
        empty = Look(key, partition.key, partition.start, partition.end, as_of, version, own.num_rows, 0.0,
                     frozenset(), (), {"volume": float(own.num_rows)})  # fmt: skip
        if version is None or not own.num_rows:
            looks.append(empty)
            continue
        reference = read_reference(settings, model, key, version)
        payloads = read_payloads(own[_PAYLOAD].take(pa.array(sample(own.num_rows))).to_pylist())
        columns, numbers = _profile(model, reference, own, payloads)
        profiles[key.segment, partition.key] = columns
        maturity, outcomes = _outcomes(model, reference, own, known)
        told = {**numbers, **_service(own), **inspect(model.spec, payloads), **outcomes}
        looks.append(replace(empty, maturity=maturity, numbers=told))
    return looks, profiles


def _parts(
    settings: Settings, model: Model, keys: Sequence[ModelKey], partition: Partition
) -> Iterator[list[ModelKey]]:
    """The model keys, so many at a time that their rows fit into memory."""
    # A single key is not counted first: `_read` opens the records anyway.
    delta = _open_records(settings, model)[1] if len(keys) > 1 else None
    if delta is None:
        yield list(keys)
        return
    counted = pc.value_counts(read_partitions(delta, [partition.key], ["segment"])["segment"]).to_pylist()
    rows = {one["values"]: one["counts"] for one in counted}
    part: list[ModelKey] = []
    for key in keys:
        if part and sum(rows.get(one.segment, 0) for one in [*part, key]) > _ROWS:
            yield part
            part = []
        part.append(key)
    yield part


def _split(rows: pa.Table, keys: Sequence[ModelKey]) -> Iterator[tuple[ModelKey, pa.Table]]:
    """Each model key with its rows, in their order."""
    if len(keys) == 1:
        yield keys[0], rows
        return
    segments = pa.array([key.segment for key in keys], pa.string())
    codes = pc.index_in(rows["segment"].combine_chunks(), value_set=segments).to_numpy(zero_copy_only=False)
    sorted_rows = rows.take(pa.array(np.argsort(codes, kind="stable"))).combine_chunks()
    counts = np.bincount(codes.astype(np.int64), minlength=len(keys))
    for key, end, count in zip(keys, np.cumsum(counts), counts, strict=True):
        yield key, sorted_rows.slice(end - count, count)


def _read_labels(settings: Settings, model: Model, rows: pa.Table, as_of: datetime) -> tuple[pa.Table, Outcomes]:
    """The rows with where each one's label lies (`_PLACE`) and whether it was said not to help, and what is known."""
    outcomes = read_outcomes(settings, model, rows.select(_UNIT), as_of)
    keys = rows["key"].combine_chunks()
    rows = rows.append_column(_PLACE, outcomes.labels.locate(keys))
    return rows.append_column(_UNHELPFUL, pc.is_in(keys, value_set=outcomes.unhelpful)), outcomes


def _read(
    settings: Settings, model: Model, keys: Sequence[ModelKey], partition: Partition, *, with_features: bool = True
) -> pa.Table:
    """A partition's records, without those of shadows, which answered nobody."""
    _, delta = _open_records(settings, model)
    if delta is None:
        return SCHEMAS["requests"].empty_table().select(_BASE)
    there = read_schema(delta).names
    groups = {*model.spec.evaluation.slices, *model.spec.evaluation.sensitive}
    wanted = [name for name in there if name in _BASE or (with_features and name == _PAYLOAD) or (
        name.startswith(FEATURE) and (with_features or name.removeprefix(FEATURE) in groups))]  # fmt: skip
    segments = pa.array([key.segment for key in keys], pa.string())
    # Of a fleet, a batch is read without holding the others.
    where = None if model.spec.segments is None else pads.field("segment").isin(segments)
    rows = read_partitions(delta, [partition.key], wanted, where).combine_chunks()
    is_own = pc.is_in(rows["segment"], value_set=segments)
    return _choose(rows, pc.and_kleene(is_own, pc.not_equal(rows["route"], "shadow")))


def _choose(rows: pa.Table, mask: Any) -> pa.Table:
    """Some rows; usually all of them, which are not copied."""
    return rows if pc.all(pc.fill_null(mask, False), min_count=0).as_py() else rows.filter(mask)


def _answered_by(rows: pa.Table) -> int | None:
    """The version that was the champion on these rows, as they themselves say; None if none says so."""
    answered = rows["version"].filter(pc.is_in(rows["route"], pa.array(_ANSWERED)))
    return int(pc.mode(answered)[0]["mode"].as_py()) if len(answered) > answered.null_count else None


def _profile(
    model: Model, reference: Reference, rows: pa.Table, payloads: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, ColumnProfile], dict[str, float]]:
    """Every column's profile; the score's of the champion only."""
    nothing = pa.nulls(rows.num_rows, pa.float64())
    there = set(rows.column_names)
    found = {
        name: profile_column(bins, rows[FEATURE + name].combine_chunks() if FEATURE + name in there else nothing)
        for name, bins in reference.bins.items()
        if name in reference.features.columns
    }
    own = rows["score"].filter(pc.equal(rows["version"], reference.version))
    found[SCORE] = profile_column(reference.bins[SCORE], own.combine_chunks())
    kinds = model.spec.monitoring.descriptors
    described = describe(kinds, {name: [row.get(name) for row in payloads] for name in kinds}) if payloads else {}
    found |= {name: profile_column(reference.bins[name], pa.array(values)) for name, values in described.items()
              if name in reference.bins}  # fmt: skip
    return found, {"volume": float(rows.num_rows), **_together(reference, rows)}


def _together(reference: Reference, rows: pa.Table) -> dict[str, float]:
    """How well the rows can be told from those that the champion learned from, if that is watched."""
    if not len(reference.sample):
        return {}
    nothing = pa.nulls(rows.num_rows, pa.float64())
    columns = {
        name: rows[FEATURE + name].combine_chunks() if FEATURE + name in rows.column_names else nothing
        for name in reference.features.columns
    }
    found = separability(reference.sample, code_rows(reference.bins, columns))
    return {"multivariate": found} if np.isfinite(found) else {}


def _service(rows: pa.Table) -> dict[str, float]:
    latency = pc.drop_null(rows["latency_ms"]).to_numpy()
    failed = rows.num_rows - rows["error"].null_count
    stale = pc.sum(pc.cast(rows["is_stale"], pa.int64()), min_count=0).as_py() or 0
    found = {"error_share": failed / rows.num_rows, "stale_share": stale / rows.num_rows}
    if len(latency):
        p50, p99 = np.quantile(latency, [0.5, 0.99])
        found |= {"latency_p50_ms": float(p50), "latency_p99_ms": float(p99)}
    return found


def _outcomes(model: Model, reference: Reference, rows: pa.Table, outcomes: Outcomes) -> tuple[float, dict[str, float]]:
    """Share of labels that have come, and what the champion's answers were worth; each key counts once."""
    spec = model.spec
    groups = {FEATURE + name for name in (*spec.evaluation.slices, *spec.evaluation.sensitive)}
    # Nothing else: it would be copied with each choice of rows.
    needed = {"version", "score", "key", POOLED_FOR, _PLACE, _UNHELPFUL, *(["output"] if reference.classes else [])}
    rows = rows.select([name for name in rows.column_names if name in groups | needed])
    rows = rows.filter(
        pc.and_kleene(pc.equal(rows["version"], reference.version), pc.fill_null(pc.is_finite(rows["score"]), False))
    )
    if not rows.num_rows:
        return 0.0, {}
    keys = pc.dictionary_encode(rows["key"].combine_chunks()).indices
    _, first = np.unique(pc.fill_null(keys, -1).to_numpy(zero_copy_only=False), return_index=True)
    rows = rows.take(pa.array(np.sort(first)))
    scores, is_whole = _scores(reference, rows)
    rows = rows.filter(pa.array(is_whole))
    is_known, labels = outcomes.labels.at(rows[_PLACE].combine_chunks())
    if spec.task == "multiclass":
        place = {name: position for position, name in enumerate(reference.classes)}
        codes = np.array([place.get(str(one), -1) for one in labels], np.int64)
        is_known = is_known.copy()
        is_known[np.flatnonzero(is_known)[codes < 0]] = False
        labels = codes[codes >= 0]
    known = scores[is_known]
    known_groups = {name: values[is_known] for name, values in groups_of(model, rows, FEATURE).items()}
    numbers = {
        "labelled": float(len(labels)), "metric": measure(spec, labels, known),
        "estimate": expect(spec, scores, reference.calibration),
        "label": float(labels.mean()) if len(labels) and spec.task != "multiclass" else float("nan"),
        "unhelpful_share": (pc.sum(rows[_UNHELPFUL]).as_py() or 0) / rows.num_rows,
        **measure_groups(spec, known_groups, labels, known),
        **measure_value(model, outcomes.landed, rows["key"].filter(pa.array(is_known)), known, reference.classes),
    }  # fmt: skip
    return len(labels) / rows.num_rows, {name: value for name, value in numbers.items() if np.isfinite(value)}


def _scores(reference: Reference, rows: pa.Table) -> tuple[Floats, Any]:
    """(n_rows,) or, of a multiclass task, (n_rows, n_classes), of the rows of which they are known."""
    if not reference.classes:
        return rows["score"].to_numpy(), np.ones(rows.num_rows, bool)
    shares = said_probabilities(rows["output"].to_pylist())
    is_whole = np.array([bool(one) for one in shares])
    found = [[one.get(name, 0.0) for name in reference.classes] for one in shares if one]
    return np.array(found, np.float64).reshape(len(found), len(reference.classes)), is_whole
