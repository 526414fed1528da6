"""What other tools read of us: OpenLineage, DVC and Feast, each in its own form."""

from __future__ import annotations

from pathlib import Path

FACETS = Path(__file__).with_name("schemas")
"""JSON schemas of the facets that OpenLineage has none for, by version."""
