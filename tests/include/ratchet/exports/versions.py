"""A registered version, without a registry."""

from __future__ import annotations

from datetime import UTC, datetime

from include.ratchet.registry.lineage import Lineage
from include.ratchet.registry.versions import Version
from include.ratchet.spec import ModelKey

AS_OF = datetime(2024, 1, 9, tzinfo=UTC)


def make_version(key: ModelKey, snapshot: str, **metrics: float) -> Version:
    """Version 3 of a key, trained on a snapshot."""
    lineage = Lineage(
        key=key, as_of=AS_OF, window_start=None, snapshot=snapshot, source_versions={"orders": 3}, features=("amount",),
        candidate="logistic", params={}, search={}, seed=7, spec_hash="5" * 64, code_hash="c" * 64, lock_hash="1" * 64,
        git_commit="abc", is_dirty=False, python="3.11",
    )  # fmt: skip
    return Version(key, 3, "promote", AS_OF, lineage, metrics, "run", "http://mlflow/3", {})
