"""Great Expectations suites from the spec and the model's own, over landed partitions and snapshots."""

from __future__ import annotations

from include.ratchet.validation.reports import Finding, ValidationReport
from include.ratchet.validation.subjects import validate_partition, validate_partitions, validate_snapshot

__all__ = ["Finding", "ValidationReport", "validate_partition", "validate_partitions", "validate_snapshot"]
