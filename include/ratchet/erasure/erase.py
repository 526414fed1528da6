"""Erasing a person: from what landed to what was reported, in an order in which nothing comes back.

First they are remembered as erased, so that no source and no log brings them again. Then their rows are found by the
column that names them, and everything else by the keys of those rows; so these go last, and an attempt that is cut off
can be made again. What is left over is searched for, word by word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from include.ratchet.data.blobs import open_blobs
from include.ratchet.data.erased import remember_erased
from include.ratchet.data.records import RecordTable
from include.ratchet.data.tables import Table
from include.ratchet.erasure.databases import purge_histories
from include.ratchet.erasure.search import Words, walk
from include.ratchet.erasure.snapshots import purge_snapshots
from include.ratchet.erasure.subject import RECORDS, Hunt
from include.ratchet.erasure.tables import Mask, Purged, purge_table
from include.ratchet.monitoring.profile import ProfileTable
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import Entry
from include.ratchet.registry.rewrite import find_versions, read_files
from include.ratchet.registry.versions import Version
from include.ratchet.spec import Model, ModelKey

_TABLES = ("tables", "requests", "scores", "feedback", "profiles", "snapshots", "erased")
"""Folders of the store that are gone through by their rows, not by words."""
_QUARANTINE = "__quarantine"


@dataclass(frozen=True)
class Certificate:
    """What was done for one person, without naming them.

    Attributes:
        model: whose rows.
        digest: what the person is remembered by.
        erased_at: when.
        tables: rows that went, by table.
        floors: the oldest version of each table that can still be read: nothing before can be made again from it.
        snapshots: rows that went, by training set.
        trained: versions that had learned from them, such as `orders@3`; their estimators stay as they were fitted.
        files: reports and other files that quoted them, and are gone.
        left: files that still quote them and are not ours to change.
        searched: whether identifier or keys are long enough to be searched for word by word.
        promise: what can still be reproduced.
        retraining: the request to train again without them, if one was made.
    """

    model: str
    digest: str
    erased_at: datetime
    tables: dict[str, int]
    floors: dict[str, int]
    snapshots: dict[str, int]
    trained: tuple[str, ...]
    files: tuple[str, ...]
    left: tuple[str, ...]
    searched: bool
    promise: str
    retraining: str | None

    @property
    def rows(self) -> int:
        """That went, of tables."""
        return sum(self.tables.values())

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "erased_at": self.erased_at.isoformat()}


def erase_subject(
    workspace: Workspace, model: Model, subject: str, *, actor: str, reason: str, retrain: bool = False
) -> Certificate:
    """Take a person out of everything that is kept of a model; what was done is said in the ledger.

    Run again, it finds what an attempt that was cut off has left.

    Args:
        workspace: the installation.
        model: whose rows; its spec names the column of the person.
        subject: the value of that column.
        actor: who asks.
        reason: why; it may not name the person.
        retrain: whether a training is asked for where a champion had learned from them.

    Raises:
        SpecError: the spec names no such column.
        ValueError: the subject is empty, is none of the column's type, or the reason names them.
    """
    settings, hunt = workspace.settings, Hunt(model, subject)
    if not reason.strip():
        message = "reason: found nothing; expected why, such as the number of their request"
        raise ValueError(message)
    if subject in reason:
        message = "reason: it names the person; expected why, such as the number of their request. The ledger is kept"
        raise ValueError(message)
    digest = remember_erased(settings, model.spec, hunt.value)
    hunt.gather(settings)
    versions = find_versions(model.name, settings)
    snapshots, touched = purge_snapshots(settings, model, hunt.in_keyed, versions)
    words = Words([str(hunt.value), *hunt.names])
    files = _remove_quoting(workspace, model, hunt, words, touched)
    purged = _purge_tables(workspace, model, hunt)
    purge_histories(workspace, model)
    certificate = Certificate(
        model.name, digest, workspace.clock(), {name: one.rows for name, one in purged.items()},
        {name: one.version for name, one in purged.items()}, snapshots,
        tuple(f"{one.key.slug}@{one.number}" for one in touched), files,
        _find_left(workspace, versions, words), bool(words.known), _promise(touched, hunt.is_feature(touched)),
        _ask_retraining(workspace, model, touched, actor, digest) if retrain else None,
    )  # fmt: skip
    ledger.record(
        Entry(
            ModelKey(model.name), "erasure", f"erasure:{model.name}:{digest}:{certificate.erased_at.isoformat()}",
            actor, reason, certificate.erased_at, details=certificate.to_dict(),
        ),
        settings,
    )  # fmt: skip
    return certificate


def _purge_tables(workspace: Workspace, model: Model, hunt: Hunt) -> dict[str, Purged]:
    """Every table of a model; those by whose rows the others are found come last."""
    settings, spec = workspace.settings, model.spec
    masks: dict[str, Mask] = {"feedback": hunt.in_feedback, "profiles": hunt.profile_rows}
    masks |= dict.fromkeys(RECORDS, hunt.in_records)
    tables: dict[str, Table] = {"feedback": RecordTable(settings, model, "feedback"),
                                "profiles": ProfileTable(settings, model.name)}  # fmt: skip
    for name in open_blobs(settings).names(f"tables/{model.name}"):
        column = spec.subject_of(name)
        tables[name] = Table(settings, model.name, name)
        if name.endswith(_QUARANTINE):
            masks[name] = hunt.in_quarantine
        elif column is not None:
            masks[name] = hunt.naming(column)
        elif name in spec.tables:
            del tables[name]  # not about persons
        else:
            masks[name] = hunt.in_keyed
    tables |= {kind: RecordTable(settings, model, kind) for kind in RECORDS}
    if model.name in tables:
        tables[model.name] = tables.pop(model.name)
    return {name: purge_table(settings, table, masks[name]) for name, table in tables.items()
            if table.version() is not None}  # fmt: skip


def _remove_quoting(
    workspace: Workspace, model: Model, hunt: Hunt, words: Words, touched: Iterable[Version]
) -> tuple[str, ...]:
    """Remove reports of the days and training sets that the person was in, and whatever else quotes them."""
    blobs = open_blobs(workspace.settings)
    references = {f"monitoring/{one.key.slug}/references/{one.number}.npz" for one in touched}
    gone = []
    for folder in blobs.names(""):
        for path in walk(blobs, folder) if folder not in _TABLES else ():
            parts = path.split("/")
            is_own = len(parts) > 2 and parts[1].partition(".")[0] == model.name
            is_report = is_own and parts[-3] == "reports" and parts[-2] in hunt.partitions
            is_quoting = (is_own or folder == "alerts") and words.are_in(blobs.get(path) or b"")
            if path in references or is_report or is_quoting:
                blobs.remove(path)
                gone.append(path)
    return tuple(gone)


def _find_left(workspace: Workspace, versions: Sequence[Version], words: Words) -> tuple[str, ...]:
    """Files of the registry that quote the person; those are named, as a model is not changed behind its back."""
    found = []
    for version in versions if words.known else ():
        found += [f"{version.key.slug}@{version.number}/{path}"
                  for path, content in read_files(version, workspace.settings) if words.are_in(content)]  # fmt: skip
    return tuple(found)


def _ask_retraining(
    workspace: Workspace, model: Model, touched: Iterable[Version], actor: str, digest: str
) -> str | None:
    """Ask for a training of every key whose champion had learned from the person."""
    settings, asked = workspace.settings, None
    for version in touched:
        champion = ledger.read_aliases(version.key, settings).get(ledger.CHAMPION)
        if champion is None or champion.version != version.number:
            continue
        asked = f"request:{version.key.slug}:erasure:{digest}"
        why = f"version {version.number} had learned from rows of a person who was erased"
        details = {"cause": "erasure", "erased": digest}
        ledger.record(
            Entry(version.key, "request", asked, actor, why, workspace.clock(), version.number, details=details),
            settings,
        )
    return asked


def _promise(touched: Sequence[Version], is_feature: bool) -> str:
    if not touched:
        return "no version had learned from them: each can still be made again from the rows that are left"
    names = ", ".join(f"{one.key.slug}@{one.number}" for one in touched)
    said = (
        f"{names} had learned from them and cannot be made again to the bit; requests that they answered can still be "
        "recomputed, as their estimators stay"
    )
    return f"{said}. The identifier is a feature, which an estimator may hold: retire them" if is_feature else said
