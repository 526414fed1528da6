"""Bringing online features up to date with what has landed."""

from __future__ import annotations

from datetime import datetime

from include.ratchet.features import Histories, Inputs, build_histories, definition_hash
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.serving.histories import open_store
from include.ratchet.spec import Model, ModelKey


def materialise(workspace: Workspace, model: Model, known_until: datetime) -> Histories:
    """Put what online features need where the prediction service finds it.

    What the service knows never goes back: days that are landed again bring their rows, and not their time.

    Args:
        workspace: the installation.
        model: whose features.
        known_until: what became available before it is taken.

    Raises:
        SpecError: a feature is a `query`, which cannot be served online.
    """
    store, key = open_store(workspace.settings), ModelKey(model.name)
    found = store.read(key)
    if found is not None and found[0].definition == definition_hash(model):
        known_until = max(known_until, found[0].known_until)
    inputs = Inputs.open(workspace.settings, model, as_of=known_until)
    built = build_histories(model, inputs, known_until, settings=workspace.settings)
    store.write(key, built)
    return built
