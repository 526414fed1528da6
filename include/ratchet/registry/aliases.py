"""MLflow's aliases follow those of the ledger's database, which decides."""

from __future__ import annotations

from collections.abc import Mapping

from include.ratchet.registry.artifacts import write_aliases
from include.ratchet.registry.ledger import CHALLENGER, CHAMPION, PREVIOUS, AliasState
from include.ratchet.settings import Settings
from include.ratchet.spec import ModelKey


def follow(key: ModelKey, aliases: Mapping[str, AliasState], settings: Settings, *, is_first: bool = False) -> None:
    """Make MLflow's aliases say what the database says.

    Args:
        key: whose.
        aliases: what the database says.
        settings: where MLflow is.
        is_first: whether the key had none before, so that none goes away.

    Raises:
        RegistryUnavailableError: its server cannot be told. What the database says stands all the same, and the next
            move of the model makes up for it.
    """
    wanted = {alias: state.version for alias, state in aliases.items()}
    gone = set() if is_first else {CHAMPION, PREVIOUS, CHALLENGER} - wanted.keys()
    if settings.mlflow_url.startswith("http"):
        write_aliases(key.slug, wanted, gone, settings)
        return
    from include.ratchet.registry.versions import client_of

    client = client_of(settings)
    for alias, number in wanted.items():
        client.set_registered_model_alias(key.slug, alias, str(number))
    for alias in gone:
        client.delete_registered_model_alias(key.slug, alias)
