from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from include.ratchet.errors import SpecError
from include.ratchet.spec import load_model

SPEC: dict[str, Any] = {
    "name": "toy",
    "owner": "us",
    "description": "A toy that the tests load.",
    "task": "binary",
    "source": {"python": "rows"},
    "keys": ["id"],
    "event_time": "at",
    "label": {"column": "y", "available_time": "known_at"},
}
TABLE = {"source": {"python": "more"}, "keys": ["id"], "event_time": "seen_at"}


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"columns": {"at": {"type": "date"}}}, "columns.at.type"),
        ({"columns": {"known_at": {"type": "string"}}}, "columns.known_at.type"),
        ({"tables": {"more": {**TABLE, "columns": {"seen_at": {"type": "date"}}}}}, "tables.more.columns.seen_at.type"),
    ],
)
def test_a_time_is_a_timestamp(tmp_path: Path, changes: dict[str, Any], where: str) -> None:
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "model.yaml").write_text(yaml.safe_dump({**SPEC, **changes}))
    with pytest.raises(SpecError, match=rf"{where}: .* found (date|string); expected timestamp"):
        load_model(folder)
