from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from include.ratchet.data.sources.function import FunctionSource, to_arrow
from include.ratchet.errors import PartitionUnavailableError, SourceError
from include.ratchet.spec import Model
from tests.include.ratchet.data.orders import day


def test_pandas_and_arrow_say_the_same() -> None:
    table = pa.table({"a": [1, None], "b": ["x", None], "t": pa.array([0, None], pa.timestamp("ns"))})
    frame = table.to_pandas()
    assert to_arrow(table, "f") is table
    assert to_arrow(table.to_batches()[0], "f").equals(table)
    found = to_arrow(frame.set_index(pd.Index([7, 9])), "f")
    assert found["b"].to_pylist() == ["x", None]
    assert found["a"].to_pylist() == [1.0, None]
    assert found["t"].to_pylist() == table["t"].to_pylist()


def test_mixed_values_become_text() -> None:
    found = to_arrow(pd.DataFrame({"a": [1, "x", None, float("nan")]}), "f")
    assert found["a"].to_pylist() == ["1", "x", None, None]


def test_anything_else_is_refused() -> None:
    with pytest.raises(SourceError, match="f returned list; expected a pandas DataFrame or a pyarrow Table"):
        to_arrow([{"a": 1}], "f")


def test_an_error_in_the_function_names_file_partition_and_cause(model: Model) -> None:
    (model.folder / "sources.py").write_text("def orders(partition, as_of):\n    return 1 / 0\n")
    with pytest.raises(SourceError, match=r"sources\.py: orders\('2024-01-01'\) raised ZeroDivisionError"):
        FunctionSource(model, "orders").read(day(model, 1), day(model, 1).end)


def test_no_rows_are_no_partition(model: Model) -> None:
    code = "import pandas as pd\ndef orders(partition, as_of):\n    return pd.DataFrame({'order_id': []})\n"
    (model.folder / "sources.py").write_text(code)
    with pytest.raises(PartitionUnavailableError, match=r"looked at sources\.py:orders"):
        FunctionSource(model, "orders").read(day(model, 1), day(model, 1).end)


def test_the_function_is_handed_partition_and_as_of(model: Model) -> None:
    code = "import pyarrow as pa\ndef orders(p, as_of):\n    return pa.table({'key': [p.key], 'as_of': [as_of]})\n"
    (model.folder / "sources.py").write_text(code)
    batch = FunctionSource(model, "orders").read(day(model, 1), day(model, 3).end)
    assert batch.table.to_pylist() == [{"key": "2024-01-01", "as_of": day(model, 3).end}]
