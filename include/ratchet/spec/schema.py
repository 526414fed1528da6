"""The JSON Schema that lets an editor complete and check a spec while it is written."""

from __future__ import annotations

import json
from pathlib import Path

from include.ratchet.spec.model import ModelSpec

SCHEMA_PATH = Path(__file__).with_name("model.schema.json")


def render_schema() -> str:
    """The schema as committed beside this module; a test keeps the two the same."""
    schema = ModelSpec.model_json_schema()
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2) + "\n"
