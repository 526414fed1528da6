"""Models of segments without training them: copies of a whole model's version, each with an answer of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path

from include.ratchet.registry.database import aliases, engine_of
from include.ratchet.registry.formats import dump_model
from include.ratchet.registry.versions import client_of, get_version, load_estimator
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey, get_model


def copy_version(settings: Settings, key: ModelKey, shift: float = 0.0, *, is_broken: bool = False) -> int:
    """Register a further version of a key: the whole model's first one, with its log odds moved; returns its number.

    One that is broken has a file that cannot be read.
    """
    from mlflow.exceptions import MlflowException

    client, model = client_of(settings), get_model(settings.models_dir, key.model)
    whole = get_version(key.pool, 1, settings)
    estimator = load_estimator(model, whole, settings)
    estimator[-1].intercept_ = estimator[-1].intercept_ + shift
    content, _ = dump_model(estimator, model.spec)
    run = client.create_run(client.get_run(whole.run_id).info.experiment_id)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.skops").write_bytes(b"no model" if is_broken else content)
        client.log_artifacts(run.info.run_id, folder, "fitted")
    try:
        client.create_registered_model(key.slug)
    except MlflowException:
        client.get_registered_model(key.slug)
    found = client.get_model_version(key.pool.slug, "1")
    made = client.create_model_version(key.slug, found.source, run.info.run_id, tags=found.tags)
    return int(made.version)


def set_champion(settings: Settings, key: ModelKey, version: int | None, alias: str = "champion") -> None:
    """Let an alias of a key name a version, or nothing."""
    mine = (aliases.c.model == key.model, aliases.c.segment == key.segment, aliases.c.alias == alias)
    with engine_of(settings.database_url).begin() as connection:
        connection.execute(aliases.delete().where(*mine))
        if version is not None:
            connection.execute(aliases.insert(), {
                "model": key.model, "segment": key.segment, "alias": alias, "version": version, "ledger_id": 0,
            })  # fmt: skip
