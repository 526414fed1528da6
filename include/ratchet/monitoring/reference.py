"""The reference: what a champion learned from, day by day, and how good it was on rows that nothing had seen.

Built once for each champion, from its snapshot and its test scores. Bins stay what they were under earlier champions
for as long as they still tell values apart, so that days before a promotion can be compared with it too.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.ratchet.data.blobs import open_blobs
from include.ratchet.data.facts import read_facts
from include.ratchet.data.records import record_keys
from include.ratchet.data.segments import read_part, segments_of
from include.ratchet.data.tables import PARTITION_COLUMN, Table
from include.ratchet.errors import VersionNotFoundError
from include.ratchet.monitoring.binning import Bins, is_countable, make_bins
from include.ratchet.monitoring.calendar import by_partition
from include.ratchet.monitoring.descriptors import DESCRIPTORS
from include.ratchet.monitoring.multivariate import ROWS, Codes, code_rows, separability_of_days
from include.ratchet.monitoring.outcomes import (
    POOLED_FOR,
    Calibration,
    calibrate,
    expect,
    measure,
    measure_groups,
    measure_value,
)
from include.ratchet.monitoring.quality import sample as sample_of
from include.ratchet.monitoring.usual import Usual, learn_usual, nothing_usual
from include.ratchet.registry.importance import importance_shares
from include.ratchet.registry.versions import Version, get_version, read_artifact
from include.ratchet.settings import Settings
from include.ratchet.spec import Model, ModelKey
from include.ratchet.training.fit import score_of
from include.ratchet.training.frames import class_codes, label_array, times
from include.ratchet.training.metrics import Floats
from include.ratchet.training.split import split_rows

SCORE = "score"
_FORMAT = 3
_GROUPS = ("features", "scores", "payload")
_DESCRIBED = 20_000
"""Of the payload, described for a reference."""


@dataclass(frozen=True)
class Reference:
    """What is normal for one champion.

    Attributes:
        key: whose.
        version: of the champion.
        bins: of each column.
        features: what is usual of them on the days of the training window.
        scores: of its scores on the test days.
        payload: of the payload's descriptors on the test days; without columns if none are asked for.
        numbers: by name (`metric`, `estimate`, `label`, `slice.x = y`, `fairness.x`, `volume`): one value for each
            test day, nan where it has none.
        calibration: from scores to frequencies.
        classes: of a multiclass task.
        importance: of each feature, summing to 1.
        sample: (n_rows, n_features) bins of an even sample of the training rows, if columns are watched together.
    """

    key: ModelKey
    version: int
    bins: Mapping[str, Bins]
    features: Usual
    scores: Usual
    payload: Usual
    numbers: Mapping[str, Floats]
    calibration: Calibration
    classes: tuple[str, ...]
    importance: Mapping[str, float]
    sample: Codes = field(default_factory=lambda: np.zeros((0, 0), np.int16), repr=False)

    @property
    def groups(self) -> tuple[Usual, Usual, Usual]:
        """Columns in the order in which windows hold them."""
        return self.features, self.scores, self.payload

    def to_bytes(self) -> bytes:
        """One compressed file without anything that runs."""
        groups = dict(zip(_GROUPS, self.groups, strict=True))
        head = {
            "format": _FORMAT, "key": list(self.key), "version": self.version,
            "bins": {name: one.to_dict() for name, one in self.bins.items()},
            "groups": {name: [one.partitions, one.columns, one.is_seasonal] for name, one in groups.items()},
            "numbers": {name: values.tolist() for name, values in self.numbers.items()},
            "classes": self.classes, "importance": dict(self.importance),
        }  # fmt: skip
        content = io.BytesIO()
        arrays: dict[str, Any] = {}
        for name, one in groups.items():
            arrays |= one.to_arrays(name)
        arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
        arrays["sample"] = self.sample
        arrays["calibration"] = np.stack([self.calibration.scores, self.calibration.frequencies])
        np.savez_compressed(content, **arrays)
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Reference | None:
        """The reference back; None of another form, which is built anew."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            head = json.loads(arrays["head"].tobytes())
            if head["format"] != _FORMAT:
                return None
            groups = {name: Usual.from_arrays(name, one, arrays) for name, one in head["groups"].items()}
            return cls(
                ModelKey(*head["key"]), head["version"],
                {name: Bins.from_dict(one) for name, one in head["bins"].items()}, **groups,
                numbers={name: np.array(values, np.float64) for name, values in head["numbers"].items()},
                calibration=Calibration(*arrays["calibration"]), classes=tuple(head["classes"]),
                importance=head["importance"], sample=arrays["sample"],
            )  # fmt: skip


def read_reference(settings: Settings, model: Model, key: ModelKey, version: int) -> Reference:
    """The reference of one of a model key's versions, built if it has not been yet.

    Raises:
        VersionNotFoundError: the registry has no such version.
    """
    path = f"monitoring/{key.slug}/references/{version}.npz"
    content = open_blobs(settings).get(path)
    found = _load(content) if content is not None else None
    if found is None:
        found = build_reference(settings, model, get_version(key, version, settings))
        open_blobs(settings).put(path, found.to_bytes())
    return found


@lru_cache(maxsize=256)
def _load(content: bytes) -> Reference | None:
    return Reference.from_bytes(content)


def build_reference(settings: Settings, model: Model, version: Version) -> Reference:
    """Read a version's snapshot once and count it."""
    table = read_part(model.spec, version.key, version.lineage.snapshot, settings)
    columns = [name for name in version.lineage.features if is_countable(table.schema.field(name).type)]
    bins = _keep_bins(settings, version.key, {name: table[name].combine_chunks() for name in columns})
    features = count_days(model, bins, table.select([model.spec.event_time, *columns]))
    rows = split_rows(table, model.spec, version.as_of).test
    test = table.take(pa.array(rows))
    if model.spec.segments is not None and version.key.is_pool:
        test = test.append_column(POOLED_FOR, segments_of(test, model.spec.segments.by))
    scores = np.load(io.BytesIO(read_artifact(version, "test_scores.npy", settings)), allow_pickle=False)
    bins[SCORE] = make_bins(pa.array(score_of(scores)))
    classes, codes = class_codes(label_array(table, model.spec), model.spec.task)
    label = codes[rows]
    numbers, taken = {}, np.zeros((0, len(columns)), np.int16)
    if model.spec.monitoring.policy.multivariate != "none":
        numbers["multivariate"], taken = _together(model, bins, table.select([model.spec.event_time, *columns]), test)
    is_class = model.spec.task != "regression"
    calibration = calibrate(label, scores) if is_class else Calibration(np.zeros(0), np.zeros(0))
    own = test.select([model.spec.event_time]).append_column(SCORE, pa.array(score_of(scores)))
    valued = model.spec.scope.valued_columns if model.spec.scope else ()
    facts = read_facts(settings, model, test[model.spec.event_time], valued, version.as_of,
                       version.lineage.source_versions.get(model.name)) if valued else None  # fmt: skip
    names = () if classes is None else tuple(str(one) for one in classes)
    payload = _describe_landed(settings, model, version, bins, test)
    return Reference(
        version.key, version.number, bins, features, count_days(model, {SCORE: bins[SCORE]}, own), payload,
        numbers={**_numbers(model, test, label, scores, calibration, facts, names), **numbers},
        calibration=calibration, sample=taken, classes=names,
        importance=_importance(version, settings, columns),
    )  # fmt: skip


def count_days(model: Model, bins: Mapping[str, Bins], table: pa.Table) -> Usual:
    """What is usual of a table's columns, by the partition of its event time."""
    partitions, day = by_partition(model.spec, times(table, model.spec.event_time))
    columns = [name for name in table.column_names if name in bins]
    width = max((len(bins[name]) for name in columns), default=1)
    counts = np.zeros((len(partitions), len(columns), width))
    for position, name in enumerate(columns):
        codes = bins[name].codes(table[name].combine_chunks())
        flat = np.bincount(day * width + codes, minlength=len(partitions) * width)
        counts[:, position] = flat.reshape(len(partitions), width)
    return learn_usual(model.spec, [one.key for one in partitions], {name: bins[name] for name in columns}, counts)


def groups_of(model: Model, table: pa.Table, prefix: str = "") -> dict[str, Any]:
    """Slices and sensitive attributes of some rows as text, (n_rows,) each, as far as the table has them.

    Of a pooled model also the segments that it stands in for, "" of rows of its own.
    """
    wanted = dict.fromkeys([*model.spec.evaluation.slices, *model.spec.evaluation.sensitive])
    there = [name for name in wanted if prefix + name in table.column_names]
    found = {name: np.array([str(one) for one in table[prefix + name].to_pylist()]) for name in there}
    if POOLED_FOR in table.column_names and table[POOLED_FOR].null_count < table.num_rows:
        found[POOLED_FOR] = np.array(pc.fill_null(pc.cast(table[POOLED_FOR], pa.string()), "").to_pylist(), np.str_)
    return found


def _numbers(
    model: Model,
    test: pa.Table,
    label: Any,
    scores: Floats,
    calibration: Calibration,
    facts: pa.Table | None,
    classes: Sequence[str],
) -> dict[str, Floats]:
    """What is measured of every test day, by name."""
    spec = model.spec
    partitions, day = by_partition(spec, times(test, spec.event_time))
    groups, keys = groups_of(model, test), record_keys(spec, test)
    found: dict[str, Floats] = {}
    for position in range(len(partitions)):
        rows = day == position
        one = {
            "metric": measure(spec, label[rows], scores[rows]), "estimate": expect(spec, scores[rows], calibration),
            "label": float(label[rows].mean()) if rows.any() and spec.task != "multiclass" else float("nan"),
            "volume": float(rows.sum()),
            **measure_groups(spec, {name: values[rows] for name, values in groups.items()}, label[rows], scores[rows]),
            **measure_value(model, facts, keys.filter(pa.array(rows)), scores[rows], classes),
        }  # fmt: skip
        for name, value in one.items():
            found.setdefault(name, np.full(len(partitions), np.nan))[position] = value
    return found


def _together(model: Model, bins: Mapping[str, Bins], table: pa.Table, test: pa.Table) -> tuple[Floats, Codes]:
    """How well each test day can be told from the other rows, and the sample that later days are told from."""
    spec = model.spec
    columns = {name: table[name].combine_chunks() for name in table.column_names if name in bins}
    codes = code_rows(bins, columns)
    event, tested = times(table, spec.event_time), times(test, spec.event_time)
    _, day = by_partition(spec, event)
    first, last = (int(np.searchsorted(event, moment, side="right")) - 1 for moment in (tested.min(), tested.max()))
    days = range(int(day[first]), int(day[last]) + 1)
    return np.array(separability_of_days(codes, day, days)), codes[sample_of(len(codes), ROWS)]


def _keep_bins(settings: Settings, key: ModelKey, columns: Mapping[str, Any]) -> dict[str, Bins]:
    """Bins of the columns: those of earlier champions where they still tell values apart, else new ones."""
    blobs, path = open_blobs(settings), f"monitoring/{key.slug}/bins.json"
    content = blobs.get(path)
    known = {name: Bins.from_dict(one) for name, one in json.loads(content).items()} if content else {}
    found = {}
    for name, column in columns.items():
        fresh = make_bins(column)
        old = known.get(name)
        found[name] = old if old is not None and _still_tells(old, fresh, column) else fresh
    kept = {name: one.to_dict() for name, one in {**known, **found}.items()}
    blobs.put(path, json.dumps(kept).encode())
    return found


def _still_tells(old: Bins, fresh: Bins, column: Any) -> bool:
    if old.kind != fresh.kind:
        return False
    by_old, by_fresh = (one.count(column)[:-1] for one in (old, fresh))
    rows = max(int(by_fresh.sum()), 1)
    # The same resolution: no bin of the old ones holds much more than the fullest of new ones would.
    return bool(by_old.max() <= by_fresh.max() + 0.1 * rows)


def _describe_landed(
    settings: Settings, model: Model, version: Version, bins: dict[str, Bins], test: pa.Table
) -> Usual:  # fmt: skip
    """What is usual of the payload's descriptors on the test days, as they landed; adds their bins."""
    kinds, spec = model.spec.monitoring.descriptors, model.spec
    if not kinds:
        return nothing_usual()
    partitions, _ = by_partition(spec, times(test, spec.event_time))
    table = Table(settings, spec.name, spec.name)
    rows = table.read([one.key for one in partitions], version.lineage.source_versions.get(spec.name),
                      [*kinds, spec.event_time, PARTITION_COLUMN])  # fmt: skip
    rows = rows.take(pa.array(sample_of(rows.num_rows, _DESCRIBED)))
    described = describe(kinds, {name: rows[name].to_pylist() for name in kinds})
    bins |= {name: make_bins(pa.array(values)) for name, values in described.items()}
    columns = {name: pa.array(values) for name, values in described.items()}
    return count_days(model, bins, pa.table({spec.event_time: rows[spec.event_time], **columns}))


def describe(kinds: Mapping[str, str], values: Mapping[str, Sequence[Any]]) -> dict[str, Floats]:
    """Numbers that describe columns of text, images or sound, named `column.number`."""
    return {
        f"{column}.{name}": numbers
        for column, kind in kinds.items() if column in values
        for name, numbers in DESCRIPTORS[kind].describe(values[column]).items()
    }  # fmt: skip


def _importance(version: Version, settings: Settings, columns: Sequence[str]) -> dict[str, float]:
    """Each feature's share of what the model loses without it; equal shares of a version that does not tell."""
    try:
        told = json.loads(read_artifact(version, "importance.json", settings))
    except VersionNotFoundError:
        told = {}
    return importance_shares(told, columns)
