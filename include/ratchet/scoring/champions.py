"""The champions that score: the model's only one, or those of its segments and the pooled one, loaded on first use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.data.segments import segments_of
from include.ratchet.errors import SchemaChangedError
from include.ratchet.features import feature_names
from include.ratchet.registry.fleet import read_champions
from include.ratchet.registry.ledger import AliasState
from include.ratchet.registry.versions import Version, get_version, load_estimator
from include.ratchet.settings import Settings
from include.ratchet.spec import WHOLE, Model, ModelKey
from include.ratchet.training.fit import predict, steady
from include.ratchet.training.frames import features_frame

_HELD = 512
"""Estimators in memory at a time; of segments, some 100 kB each."""


@dataclass(frozen=True)
class Answer:
    """What is said of some rows of a chunk.

    Attributes:
        places: (n_rows,) of the chunk.
        segments: (n_rows,) of strings, those whose model answered.
        pooled_for: (n_rows,) of strings, the rows' own segments where the pooled model stood in for them, else null.
        versions: (n_rows,) of int32.
        names: (n_rows,) of strings, the versions' full ones.
        scores: (n_rows,), or (n_rows, n_classes) of a multiclass task; None if no model answered.
        classes: of a classification, the same for all of the rows.
        error: why no model answered.
    """

    places: npt.NDArray[np.int64]
    segments: pa.Array
    pooled_for: pa.Array
    versions: pa.Array
    names: pa.Array
    scores: npt.NDArray[np.float64] | None
    classes: tuple[Any, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class _Loaded:
    version: Version
    estimator: Any
    classes: tuple[Any, ...]


def find_champions(settings: Settings, model: Model) -> dict[str, AliasState]:
    """The champions that rows of a model may be scored by, by segment; none as long as nothing was promoted."""
    found, segments = read_champions(model.name, settings), model.spec.segments
    if segments is None:
        return {WHOLE: found[WHOLE]} if WHOLE in found else {}
    return found if segments.pool else {segment: one for segment, one in found.items() if segment != WHOLE}


class Champions:
    """Scores rows, each by the champion of its segment or by the pooled one. One thread at a time.

    Args:
        settings: where the registry is.
        model: whose rows.
        states: the champions, see `find_champions`.
    """

    def __init__(self, settings: Settings, model: Model, states: Mapping[str, AliasState]) -> None:
        self._settings, self._model, self._states = settings, model, states
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()
        # The only or pooled one is wanted for nearly everything: what is wrong with it is said at once.
        self.whole: Version | None = self._load(WHOLE).version if WHOLE in states else None

    @property
    def identity(self) -> list[Any]:
        """What of them decides the scores, as JSON can hold it."""
        if self._model.spec.segments is None:
            return [str(self.whole), self.whole.run_id if self.whole else None]
        versions = {segment: one.version for segment, one in sorted(self._states.items())}
        return [self._model.spec.segments.model_dump(mode="json", include={"by", "pool"}), versions]

    @property
    def as_of(self) -> datetime | None:
        """What the one knew that knew most."""
        if self._model.spec.segments is None:
            return self.whole.as_of if self.whole else None
        return max((one.as_of for one in self._states.values() if one.as_of is not None), default=None)

    def score(self, rows: pa.Table, features: pa.Table) -> Iterator[Answer]:
        """Answer the rows of a chunk.

        Args:
            rows: as they were read.
            features: theirs, in the same order.

        Yields:
            One answer for all rows that have the same classes, and one for those without a model.

        Raises:
            VersionNotFoundError: a champion is not in the registry.
            SchemaChangedError: a champion needs a feature that the code no longer gives.
        """
        own = _segments(self._model, rows)
        kinds: dict[tuple[Any, ...], list[tuple[npt.NDArray[np.int64], str, npt.NDArray[np.float64]]]] = {}
        left: list[npt.NDArray[np.int64]] = []
        for segment, places in self._group(own).items():
            if segment not in self._states:
                left.append(places)
                continue
            one = self._load(segment)
            part = features if len(places) == rows.num_rows else features.take(pa.array(places))
            frame = features_frame(part, one.version.lineage.features)
            with steady(self._model):
                scores = predict(one.estimator, frame, self._model.spec.task)
            kinds.setdefault(one.classes, []).append((places, segment, scores))
        for classes, parts in kinds.items():
            yield self._answer(own, classes, parts)
        if left:
            yield self._refuse(own, np.sort(np.concatenate(left)))

    def _group(self, own: pa.DictionaryArray) -> dict[str, npt.NDArray[np.int64]]:
        """The places of the rows that each champion answers; of those that none does, by their own segment."""
        codes, names = own.indices.to_numpy(), own.dictionary.to_pylist()
        answering = [name if name in self._states or WHOLE not in self._states else WHOLE for name in names]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(answering))}
        by = np.array([numbers[name] for name in answering])[codes] if len(codes) else codes
        order = np.argsort(by, kind="stable")
        bounds = np.searchsorted(by[order], np.arange(len(numbers) + 1))
        groups = {name: order[bounds[number] : bounds[number + 1]] for name, number in numbers.items()}
        # Those that are loaded go first, or more than are held would push one another out in every chunk.
        return {name: groups[name] for name in sorted(groups, key=lambda one: one not in self._loaded)
                if len(groups[name])}  # fmt: skip

    def _answer(
        self, own: pa.DictionaryArray, classes: tuple[Any, ...],
        parts: Sequence[tuple[npt.NDArray[np.int64], str, npt.NDArray[np.float64]]],
    ) -> Answer:  # fmt: skip
        places = np.concatenate([place for place, _, _ in parts])
        numbers = np.repeat(np.arange(len(parts)), [len(place) for place, _, _ in parts])
        by, order = [segment for _, segment, _ in parts], np.argsort(places, kind="stable")
        picked = pa.array(numbers[order])
        segments = pa.array(by, pa.string()).take(picked)
        keys = [ModelKey(self._model.name, segment) for segment in by]
        versions = [self._states[segment].version for segment in by]
        mine = own.take(pa.array(places[order])).cast(pa.string())
        stands_in = np.array([segment == WHOLE for segment in by])[numbers[order]]
        is_pooled = stands_in & (mine.to_numpy(zero_copy_only=False) != WHOLE)
        return Answer(
            places=places[order],
            segments=segments,
            pooled_for=pa.array(np.where(is_pooled, mine.to_numpy(zero_copy_only=False), None), pa.string()),
            versions=pa.array(versions, pa.int32()).take(picked),
            names=pa.array([f"{key}@{number}" for key, number in zip(keys, versions, strict=True)]).take(picked),
            scores=np.concatenate([scores for _, _, scores in parts])[order],
            classes=classes,
        )

    def _refuse(self, own: pa.DictionaryArray, places: npt.NDArray[np.int64]) -> Answer:
        mine, count = own.take(pa.array(places)).cast(pa.string()), len(places)
        return Answer(
            places, mine, pa.nulls(count, pa.string()), pa.nulls(count, pa.int32()),
            pa.array([f"{ModelKey(self._model.name, one)}@none" for one in mine.to_pylist()], pa.string()), None,
            error="its segment has no champion, and no pooled model stands in (segments.pool)",
        )  # fmt: skip

    def _load(self, segment: str) -> _Loaded:
        if segment in self._loaded:
            self._loaded.move_to_end(segment)
            return self._loaded[segment]
        key = ModelKey(self._model.name, segment)
        version = get_version(key, self._states[segment].version, self._settings)
        _check_features(self._model, version)
        estimator = load_estimator(self._model, version, self._settings)
        classes = tuple(getattr(estimator, "classes_", ())) if self._model.spec.task == "multiclass" else ()
        self._loaded[segment] = _Loaded(version, estimator, classes)
        if len(self._loaded) > _HELD:
            self._loaded.popitem(last=False)
        return self._loaded[segment]


def _segments(model: Model, rows: pa.Table) -> pa.DictionaryArray:
    """The segment of each row; WHOLE of a model that is not divided."""
    if model.spec.segments is not None:
        return segments_of(rows, model.spec.segments.by)
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows.num_rows, np.int32)), pa.array([WHOLE]))


def _check_features(model: Model, version: Version) -> None:
    """That the code still gives the features that a version needs."""
    missing = [name for name in version.lineage.features if name not in feature_names(model)]
    if missing:
        message = (
            f"{version} needs {', '.join(missing)}; found features {', '.join(feature_names(model))}. "
            f"Give them again in {model.folder / 'features.py'}, or train a new version"
        )
        raise SchemaChangedError(message)
