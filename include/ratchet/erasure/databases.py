"""A person out of the database's online histories, and out of the pages that an update leaves behind."""

from __future__ import annotations

from sqlalchemy import text

from include.ratchet.features import Inputs, build_histories
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry.database import engine_of
from include.ratchet.serving.histories import open_store
from include.ratchet.spec import Model, ModelKey


def purge_histories(workspace: Workspace, model: Model) -> None:
    """Make the online features anew from what has landed now, as of the instant that they know, if there are any."""
    settings = workspace.settings
    store, key = open_store(settings), ModelKey(model.name)
    found = store.read(key)
    if found is None:
        return
    store.write(key, build_histories(model, Inputs.open(settings, model), found[0].known_until, settings=settings))
    engine = engine_of(settings.database_url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # SQLite vacuums all or nothing; PostgreSQL empties the pages of one table.
        connection.execute(text("VACUUM" if engine.dialect.name == "sqlite" else "VACUUM histories"))
