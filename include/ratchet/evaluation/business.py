"""What predictions are worth in the business's own unit, by the expression that the spec's scope states."""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.data.casting import ARROW_TYPES
from include.ratchet.data.facts import find_facts
from include.ratchet.errors import SpecError
from include.ratchet.evaluation.comparison import CHAMPION, Comparison, Contender, compare_measures
from include.ratchet.evaluation.intervals import Interval
from include.ratchet.spec import Model, ModelSpec
from include.ratchet.spec.scope import DECISION, SCORE, BusinessSpec
from include.ratchet.training.metrics import Floats, Weighted

_ROWS = "_rows"


@dataclass(frozen=True)
class BusinessResult:
    """What predictions of the test rows are worth, by the scope's expression.

    Attributes:
        name: of the value.
        unit: that it is counted in.
        lower_is_better: its direction.
        rows: of known value for the candidate and all rivals; means are theirs.
        mean: a prediction's.
        rivals: means of baselines, champion and pooled model, and the candidate's paired gain over each.
    """

    name: str
    unit: str
    lower_is_better: bool
    rows: int
    mean: Interval
    rivals: tuple[Comparison, ...]

    @property
    def champion(self) -> Comparison | None:
        """Against the present champion, if there is one."""
        return next((one for one in self.rivals if one.name == CHAMPION), None)


def value_predictions(spec: ModelSpec, facts: pa.Table, scores: Floats, rivals: Sequence[Contender],
           classes: npt.NDArray[Any] | None) -> BusinessResult | None:  # fmt: skip
    """What a candidate's predictions are worth beside its rivals'.

    Rows count of which everybody's is known: else one would be judged on easier rows.
    """
    business = spec.business
    if business is None:
        return None
    values = np.stack([value_rows(spec, business, facts, of, classes) for of in (scores, *(r.scores for r in rivals))])
    values[:, ~np.isfinite(values).all(axis=0)] = np.nan
    sign = -1.0 if business.lower_is_better else 1.0
    measures = [mean_value(one) for one in values]
    mean, comparisons = compare_measures(spec, len(scores), measures, rivals, 1, sign)
    rows = int(np.isfinite(values[0]).sum())
    return BusinessResult(business.name, business.unit, business.lower_is_better, rows, mean[0], tuple(comparisons))


def read_business(content: Mapping[str, Any] | None) -> BusinessResult | None:
    """The result back from its JSON form, if there is one."""
    if content is None:
        return None
    rivals = tuple(Comparison.from_dict(one) for one in content["rivals"])
    return BusinessResult(**{**content, "mean": Interval(**content["mean"]), "rivals": rivals})


def value_rows(
    spec: ModelSpec, business: BusinessSpec, facts: pa.Table, scores: Floats, classes: npt.NDArray[Any] | None = None
) -> Floats:
    """Each row's value, (n_rows,); nan where the expression gives null.

    Args:
        spec: the model's, with the threshold of a decision.
        business: states the expression.
        facts: the columns that it reads, (n_rows,) each.
        scores: (n_rows,) or (n_rows, n_classes).
        classes: (n_classes,) of a multiclass task.

    Raises:
        SpecError: the expression cannot be computed on these rows.
    """
    columns = {name: facts[name] for name in facts.column_names}
    if classes is not None:
        columns[SCORE] = pa.array(scores.max(axis=1))
        columns[DECISION] = pa.array([str(classes[place]) for place in scores.argmax(axis=1)], pa.string())
    else:
        columns[SCORE] = pa.array(scores, pa.float64())
        columns[DECISION] = pa.array(scores >= spec.evaluation.threshold) if spec.task == "binary" else columns[SCORE]
    return _compute(spec, business, pa.table(columns))


def value_landed(
    model: Model, landed: pa.Table | None, keys: pa.Array, scores: Floats, classes: npt.NDArray[Any] | None = None
) -> Floats:
    """Each prediction's value by what landed of its row, (n_rows,); nan where it is not known or not stated.

    Args:
        model: states what a prediction is worth, or does not.
        landed: as `read_facts` gives it.
        keys: (n_rows,) of the rows, as records name them.
        scores: (n_rows,) or (n_rows, n_classes).
        classes: (n_classes,) of a multiclass task.
    """
    business = model.spec.business
    if business is None:
        return np.full(len(keys), np.nan)
    return value_rows(model.spec, business, find_facts(model, landed, keys, business.columns), scores, classes)


def check_business(spec: ModelSpec) -> None:
    """Compute the scope's expression on a row without any value, of the types that the spec lists.

    Raises:
        SpecError: it cannot be computed, such as a difference of text.
    """
    business = spec.business
    if business is not None:
        nothing = {name: pa.nulls(1, ARROW_TYPES[spec.columns[name].type]) for name in business.columns}
        classes = np.zeros(1, np.str_) if spec.task == "multiclass" else None
        value_rows(spec, business, pa.table(nothing), np.zeros((1, 1) if spec.task == "multiclass" else 1), classes)


def mean_value(values: Floats) -> Weighted:
    """The mean of rows' values as a function of row weights; rows of unknown value are not counted."""
    known = np.isfinite(values).astype(np.float64)
    filled = np.nan_to_num(values, posinf=0.0, neginf=0.0)

    def measured(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ filled) / (weights @ known)

    return measured


@lru_cache(maxsize=1)
def _open_engine() -> Any:
    """One for the process: to open another for each of thousands of segments would cost more than what they compute."""
    import duckdb

    # DuckDB complains of what is still open when the interpreter has gone.
    atexit.register(_open_engine.cache_clear)
    return duckdb.connect(config={"enable_external_access": False, "threads": 1})


def _compute(spec: ModelSpec, business: BusinessSpec, rows: pa.Table) -> Floats:
    import duckdb

    with _open_engine().cursor() as connection:
        connection.register(_ROWS, rows)
        statement = f"SELECT CAST(({business.value}) AS DOUBLE) AS value FROM {_ROWS}"  # noqa: S608
        try:
            found = connection.sql(statement).to_arrow_table()["value"]
        except duckdb.Error as error:
            message = (
                f"{spec.name}: scope.business.value: found {business.value!r}; expected a number for each row, from "
                f"{', '.join(f'{field.name} ({field.type})' for field in rows.schema)}. {str(error).splitlines()[0]}"
            )
            raise SpecError(message) from None
    return np.asarray(found.to_numpy(zero_copy_only=False), np.float64)
