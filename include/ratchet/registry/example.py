"""Rows with the scores that a version gave them: a few that a server holds it to, and those that it is explained by."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

EXAMPLE, BACKGROUND = "example.json", "background.json"
ROWS = 5


def dump_example(features: pd.DataFrame, scores: npt.NDArray[np.float64], count: int = ROWS) -> bytes:
    """The first rows and their scores; floats keep every bit."""
    rows = features.iloc[:count]
    columns = {name: [_plain(value) for value in rows[name]] for name in rows.columns}
    return json.dumps({"features": columns, "scores": scores[:count].tolist()}).encode()


def load_example(content: bytes) -> tuple[pd.DataFrame, npt.NDArray[np.float64]]:
    """The rows and scores back, in the types that estimators take."""
    import pandas as pd

    read = json.loads(content)
    columns = {
        name: pd.Series(values, dtype=object if any(isinstance(value, str) for value in values) else None)
        for name, values in read["features"].items()
    }
    return pd.DataFrame(columns), np.asarray(read["scores"], dtype=np.float64)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else float(value)


def dump_array(values: npt.NDArray[np.float64]) -> bytes:
    """An array as a `.npy` file."""
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    return content.getvalue()
