"""Comparing a look with what is normal: signals, from profiles and numbers that were kept; no record is read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from include.ratchet.monitoring.calendar import season_of, seasons_of
from include.ratchet.monitoring.columns import Window, find_drift, find_faults, find_payload_drift, find_score_drift
from include.ratchet.monitoring.performance import LONGER, find_worth
from include.ratchet.monitoring.profile import Counted, ProfileTable
from include.ratchet.monitoring.reference import Reference, read_reference
from include.ratchet.monitoring.service import USUAL, find_age, find_service
from include.ratchet.monitoring.signals import Look, strongest
from include.ratchet.monitoring.store import read_histories
from include.ratchet.monitoring.usual import Usual, learn_usual
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey, ModelSpec, Partition, partition_of


def compare(settings: Settings, model: Model, keys: Sequence[ModelKey], partition: Partition) -> tuple[Look, ...]:
    """The looks at a partition, with their signals. Those of model keys that were not seen are left out."""
    window = _window(model.spec, partition)
    histories = read_histories(model.name, [key.segment for key in keys], partition.end, _memory(model.spec), settings)
    found = {key: looks for key, looks in histories.items() if looks[-1].partition == partition.key}
    versions = {key: looks[-1].version for key, looks in found.items()}
    references = {
        key: read_reference(settings, model, key, version) for key, version in versions.items() if version is not None
    }
    if model.spec.monitoring.reference.kind == "trailing":
        references = _trail(settings, model, references, window)
    counts = _counts(settings, model, references, window)
    return tuple(
        find_signals(model.spec, looks, references.get(key), counts.get(key), window) for key, looks in found.items()
    )


def find_signals(
    spec: ModelSpec, looks: Sequence[Look], reference: Reference | None, counts: Counted | None,
    window: Sequence[Partition],
) -> Look:  # fmt: skip
    """The newest look with its signals, from what is in memory.

    Args:
        spec: the model's.
        looks: oldest first.
        reference: of the newest look's champion; None if it had none, or no rows.
        counts: of the window, its columns in the order of the reference's groups.
        window: the partitions that are judged together, the newest last.
    """
    newest = looks[-1]
    expected = _expected_rows(spec, reference, window[-1]) if reference is not None else float("nan")
    signals = find_service(spec, looks, expected)
    drawn: dict[str, object] = {}
    if reference is not None and counts is not None:
        for usual, part in _groups(spec, reference, counts, window):
            if usual is reference.scores:
                signals += find_score_drift(spec.monitoring, usual.normal, part)
                continue
            moved, columns = find_drift(spec.monitoring, usual.normal, part, reference.importance)
            is_payload = usual is reference.payload
            whole = usual.normal.counts.sum(axis=0)
            faults = find_faults(spec.monitoring, whole, usual.limits, part, reference.bins)
            signals += [*(find_payload_drift(spec.monitoring, columns) if is_payload else moved), *faults]
            drawn |= columns
        same = [look for look in looks if look.version == newest.version]
        partitions = [partition_of(spec, look.partition) for look in same]
        tests = [partition_of(spec, name) for name in reference.scores.partitions]
        is_seasonal = reference.scores.is_seasonal
        worth, told = find_worth(
            spec, reference.numbers, seasons_of(spec, tests, is_seasonal=is_seasonal), same,
            seasons_of(spec, partitions, is_seasonal=is_seasonal),
        )  # fmt: skip
        signals += [*worth, *find_age(spec, tests[-1].end, newest)]
        numbers = {**newest.numbers, **told, "drift": drawn}
    else:
        numbers = dict(newest.numbers)
    return replace(newest, signals=strongest(signals), judged=frozenset(one.kind for one in signals), numbers=numbers)


def _groups(
    spec: ModelSpec, reference: Reference, counts: Counted, window: Sequence[Partition]
) -> list[tuple[Usual, Window]]:
    """Each group of columns: what is usual of it, and its window."""
    found, start = [], 0
    for usual in reference.groups:
        chosen = slice(start, start + len(usual.columns))
        own, is_alike = counts[0][:, chosen, : usual.limits.shares.shape[1]], counts[1][-1, chosen]
        start += len(usual.columns)
        if usual.columns:
            seasons = seasons_of(spec, window, is_seasonal=usual.is_seasonal)
            found.append((usual, Window(usual.columns, own, seasons, is_alike)))
    return found


def _counts(
    settings: Settings, model: Model, references: dict[ModelKey, Reference], window: Sequence[Partition]
) -> dict[ModelKey, Counted]:
    """Of the window of each model key, its columns in the order of the groups."""
    bins = {
        key.segment: {
            name: reference.bins[name]
            for usual in reference.groups for name in usual.columns
        }
        for key, reference in references.items()
    }  # fmt: skip
    counted = ProfileTable(settings, model.name).counts(bins, [one.key for one in window])
    return {key: counted[key.segment] for key in references}


def _trail(
    settings: Settings, model: Model, references: Mapping[ModelKey, Reference], window: Sequence[Partition]
) -> dict[ModelKey, Reference]:
    """The references with the days before the window in place of the training's."""
    length = model.spec.monitoring.reference.length
    names = [one.key for one in _before(model.spec, window[0], int(length / model.spec.partition_length))]
    bins = {
        key.segment: {name: reference.bins[name] for name in reference.features.columns}
        for key, reference in references.items()
    }
    counted = ProfileTable(settings, model.name).counts(bins, names)
    return {
        key: replace(one, features=learn_usual(model.spec, names, bins[key.segment], counted[key.segment][0]))
        for key, one in references.items()
    }


def _expected_rows(spec: ModelSpec, reference: Reference, partition: Partition) -> float:
    """Rows of such a partition on the reference's test days."""
    rows = reference.numbers["volume"]
    seasons = [season_of(spec, partition_of(spec, name)) for name in reference.scores.partitions]
    alike = [rows[i] for i, season in enumerate(seasons) if season == season_of(spec, partition)]
    return float(np.median(alike)) if alike else float(np.median(rows))


def _window(spec: ModelSpec, partition: Partition) -> list[Partition]:
    """The partitions that are judged together, the newest last."""
    return [*_before(spec, partition, spec.monitoring.window - 1), partition]


def _before(spec: ModelSpec, partition: Partition, count: int) -> list[Partition]:
    """So many partitions before one, in order."""
    found = [partition]
    while len(found) <= count:
        found.append(partition_of(spec, found[-1].start - (found[-1].end - found[-1].start) / 2))
    return found[:0:-1]


def _memory(spec: ModelSpec) -> int:
    """Looks that a comparison needs: the usual, and windows whose labels are late."""
    late = int(spec.label.lateness / spec.partition_length) + 1
    return max(USUAL + 1, LONGER * spec.monitoring.window + late)
