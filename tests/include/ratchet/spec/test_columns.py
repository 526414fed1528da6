from __future__ import annotations

import pytest
from pydantic import ValidationError

from include.ratchet.spec.tables import ColumnSpec


@pytest.mark.parametrize("kind", ["integer", "float", "string"])
def test_numbers_and_lengths_have_bounds(kind: str) -> None:
    assert ColumnSpec.model_validate({"type": kind, "min": 1}).min == 1


@pytest.mark.parametrize("kind", ["boolean", "timestamp", "date"])
def test_nothing_else_has(kind: str) -> None:
    with pytest.raises(ValidationError, match=f"found type {kind}"):
        ColumnSpec.model_validate({"type": kind, "max": 1})
