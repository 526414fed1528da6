"""What of a spec decides a model's bits: the hash by which trainings of the same are known."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.ratchet.spec.model import ModelSpec

_ASIDE = ("segments", "serving", "rollout", "monitoring", "alerts", "scope", "privacy", "dependencies")
"""Sections that say how a model is run, watched and answered for; what decides of them is hashed by itself."""


def hash_spec(spec: ModelSpec) -> str:
    """SHA-256 of what a spec says of the model: defaults filled in; comments, order and operation left out."""
    content = spec.model_dump(mode="json", exclude=set(_ASIDE))
    for operational in ("backend", "isolation", "resources"):  # another place, the same result
        del content["training"][operational]
    if spec.scope is not None:
        content["scope"] = spec.scope.model_dump(mode="json", include={"guardrails", "references", "business"})
    for told in ("costs", "bias"):  # words on the card
        del content["evaluation"][told]
    if spec.gates.dependencies is None:  # what is not asked leaves the hash as it was before it could be
        del content["gates"]["dependencies"]
    if annotations := content["label"].pop("annotations"):
        content["label"]["annotations"] = {**annotations, "review": None}
    if spec.segments is not None:
        content["segments"] = spec.segments.model_dump(mode="json", include={"by", "min_rows", "pool"})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
