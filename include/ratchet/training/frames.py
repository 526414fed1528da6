"""From a snapshot's columns to what estimators take, always in the same order and with the same types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import pandas as pd

    from include.ratchet.spec import ModelSpec

PREDICTION_TIME = "_prediction_time"
LABEL_AVAILABLE = "_label_available_time"


def features_frame(table: pa.Table, features: Sequence[str]) -> pd.DataFrame:
    """The feature columns as (n_rows, n_features): text as `object` with None, everything else as float64.

    Integers and booleans become floats, so that a null, which turns their column into floats anyway,
    changes no other row's type.
    """
    import pandas as pd

    texts = {name for name in features if _is_text(table.schema.field(name).type)}
    numbers = [name for name in features if name not in texts]
    block = np.empty((len(numbers), table.num_rows))  # as the frame keeps it, so that nothing is copied again
    for place, name in enumerate(numbers):
        block[place] = table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
    frame = pd.DataFrame(block.T, columns=numbers, copy=False)
    for place, name in enumerate(features):
        if name in texts:
            frame.insert(place, name, table.column(name).to_pandas().astype(object))
    return frame


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def label_array(table: pa.Table, spec: ModelSpec) -> npt.NDArray[Any]:
    """The label, (n_rows,): int8 0/1 (binary), the values themselves (multiclass), float64 (regression)."""
    column = table.column(spec.label.column)
    if spec.task == "regression":
        return pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
    if spec.task == "multiclass":
        return np.asarray(column.to_pylist())
    if spec.label.positive is None:
        return pc.cast(pc.cast(column, pa.bool_()), pa.int8()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
    positive = pc.equal(column, pa.scalar(spec.label.positive, column.type))
    return pc.cast(positive, pa.int8()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def class_codes(label: npt.NDArray[Any], task: str) -> tuple[npt.NDArray[Any] | None, npt.NDArray[Any]]:
    """The classes of a multiclass task, sorted, and each label's position among them, (n_rows,): what metrics take.

    Take them of a whole snapshot: its parts may lack a class. Labels of other tasks stand for themselves.
    """
    if task != "multiclass":
        return None, label
    classes, codes = np.unique(label, return_inverse=True)
    return classes, codes.astype(np.int64)


def times(table: pa.Table, column: str) -> npt.NDArray[np.datetime64]:
    """A timestamp column as datetime64[us], in UTC."""
    stamp = pc.cast(table.column(column), pa.timestamp("us", tz="UTC"))
    return pc.cast(stamp, pa.timestamp("us")).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
