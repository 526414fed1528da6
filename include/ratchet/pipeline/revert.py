"""Going back: the previous champion serves again."""

from __future__ import annotations

from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import Entry
from include.ratchet.registry.versions import follow
from include.ratchet.spec import ModelKey


def revert(workspace: Workspace, key: ModelKey, *, actor: str, reason: str) -> tuple[int, int]:
    """Make the previous version the champion.

    Returns:
        The champion before and after.

    Raises:
        NothingToRevertError: there is no previous version.
        LedgerConflictError: the champion moved at the same moment.
    """
    champion, previous = ledger.plan_revert(key, workspace.settings)
    now = workspace.clock()
    entry = Entry(
        key=key, kind="revert", idempotency_key=f"revert:{key.slug}:{champion.version}:{now.isoformat()}",
        actor=actor, reason=reason, recorded_at=now, version=previous.version, as_of=previous.as_of,
        details={"from": champion.version},
    )  # fmt: skip
    aliases = ledger.move_champion(entry, champion.version, workspace.settings)
    follow(key, aliases, workspace.settings)
    return champion.version, previous.version
