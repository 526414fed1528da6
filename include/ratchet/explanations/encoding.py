"""Which of the spec's columns each encoded column is made of, where an estimator's own steps say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from include.ratchet.training.metrics import Floats

Sources = tuple[int, ...]
"""By encoded column, the position of the column that it comes from."""


class NotSeparableError(Exception):
    """An estimator is not one whose parts are known; it is explained from outside then."""


@dataclass(frozen=True)
class Encoding:
    """An estimator as steps that encode columns, each by itself, and a last one that predicts.

    Attributes:
        steps: fitted transformers.
        last: fitted estimator.
        sources: by encoded column.
    """

    steps: tuple[Any, ...]
    last: Any
    sources: Sources

    def encode(self, features: pd.DataFrame) -> Floats:
        """What the last step sees, (n_rows, n_encoded)."""
        made: Any = features
        for step in self.steps:
            made = step.transform(made)
        made = made.toarray() if hasattr(made, "toarray") else np.asarray(made)
        if made.shape[1] != len(self.sources):
            message = f"{len(self.sources)} encoded columns were expected, and there are {made.shape[1]}"
            raise NotSeparableError(message)
        return np.asarray(made, dtype=np.float64)


def read_encoding(estimator: Any, columns: int) -> Encoding:
    """An estimator's steps with the way of each of its columns through them.

    Raises:
        NotSeparableError: a step is not one that is known to encode every column by itself.
    """
    *before, last = _steps(estimator)
    return Encoding(tuple(before), last, _follow(before, tuple(range(columns))))


def _steps(estimator: Any) -> list[Any]:
    """The steps of a pipeline, and of pipelines in it, without those that do nothing."""
    found = []
    for step in [one for _, one in getattr(estimator, "steps", [("", estimator)])]:
        if step is None or step == "passthrough":
            continue
        found += _steps(step) if hasattr(step, "steps") else [step]
    return found


def _follow(steps: Sequence[Any], sources: Sources) -> Sources:
    for step in steps:
        sources = tuple(sources[place] for place in _trace(step, len(sources)))
    return sources


def _trace(step: Any, columns: int) -> Sources:
    """By column that a transformer makes, the position of the one that it is made of."""
    from sklearn.base import OneToOneFeatureMixin
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import FunctionTransformer, Normalizer, OneHotEncoder

    everything = tuple(range(columns))
    if step == "passthrough" or (isinstance(step, FunctionTransformer) and step.func is None):
        return everything
    if isinstance(step, ColumnTransformer):
        return _trace_columns(step, columns)
    if hasattr(step, "steps"):
        return _follow(_steps(step), everything)
    if isinstance(step, OneHotEncoder):
        return tuple(np.repeat(everything, step._n_features_outs).tolist())
    if isinstance(step, SimpleImputer):
        added = step.indicator_.features_.tolist() if step.add_indicator else []
        return (*_kept(step, columns), *added)
    # Of other people's classes it is not known whether they look at one column at a time.
    is_known = isinstance(step, OneToOneFeatureMixin) and type(step).__module__.startswith("sklearn.")
    if is_known and not isinstance(step, Normalizer):
        return everything
    message = f"{type(step).__name__} is not known to encode every column by itself"
    raise NotSeparableError(message)


def _kept(step: Any, columns: int) -> Sources:
    """Columns that an imputer did not drop for having no value at all."""
    if step.keep_empty_features or step.strategy == "constant":
        return tuple(range(columns))
    return tuple(np.flatnonzero(~pd.isna(step.statistics_)).tolist())


def _trace_columns(step: Any, columns: int) -> Sources:
    from sklearn.utils import _safe_indexing

    names = getattr(step, "feature_names_in_", range(columns))
    places = pd.DataFrame([range(columns)], columns=list(names))
    found: dict[int, int] = {}
    for name, one, chosen in step.transformers_:
        part = step.output_indices_.get(name, slice(0, 0))
        if one == "drop" or part.start == part.stop:
            continue
        own = np.asarray(_safe_indexing(places, chosen, axis=1))[0].tolist()
        made = [own[place] for place in _trace(one, len(own))]
        found |= zip(range(part.start, part.stop), made, strict=True)
    return tuple(found[place] for place in sorted(found))
