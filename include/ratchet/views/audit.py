"""How a model came to its answers at an instant, on one page: which version, of what, by whom, and what it says now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from include.ratchet.data.segments import read_part
from include.ratchet.data.snapshots import load_snapshot
from include.ratchet.errors import RecordNotFoundError, VersionNotFoundError
from include.ratchet.evaluation.verdict import GateResult
from include.ratchet.pipeline.reproduce import compare_environment
from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.registry import ledger
from include.ratchet.registry.ledger import CHAMPION, Entry
from include.ratchet.registry.markdown import draw_table, escape
from include.ratchet.registry.versions import Version, card_url, get_version
from include.ratchet.replay.answer import answered_by, check_answers
from include.ratchet.replay.find import Selection, answered, find_records
from include.ratchet.replay.whatif import ask_version
from include.ratchet.rollout.guard import ACTOR
from include.ratchet.spec import Model, ModelKey, partition_of

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 200
"""Answers before the instant that are looked at, the newest."""
_TRAIL = ("request", "verdict", "approval", "promotion", "rollout", "revert", "conflict", "action")


@dataclass(frozen=True)
class Step:
    """Something that the ledger says of a version: when, what, by whom, and why."""

    at: datetime
    kind: str
    actor: str
    reason: str


@dataclass(frozen=True)
class VersionAudit:
    """One version that answered, or was to.

    Attributes:
        number: of the version, of `key`.
        key: whose it is: a segment's, or the pooled model's that stood in for it.
        answers: of those looked at, how many it gave.
        identical: of them, how many it gives again to the bit, from the recorded features.
        made: estimator, parameters, seed, window, training set, table versions: what it learned from, and how.
        code: commit, code, spec and lock that it was made by.
        here: what of these is another here and now; nothing: it can be made again in this place.
        outcome: of its gates.
        gates: each with what it found and expected.
        trail: what happened to it, oldest first.
        approved_by: persons who let it through or moved it; nobody: its gates alone did.
        erased_rows: rows of persons that have gone from its training set since.
        card: where its card is.
    """

    number: int
    key: str
    answers: int
    identical: int
    made: Mapping[str, Any]
    code: Mapping[str, str]
    here: tuple[str, ...]
    outcome: str
    gates: tuple[GateResult, ...]
    trail: tuple[Step, ...]
    approved_by: tuple[str, ...]
    erased_rows: int
    card: str


@dataclass(frozen=True)
class Today:
    """What the present champion answers to the same rows.

    Attributes:
        version: the present champion.
        rows: that were asked.
        changed: of them, how many scores are other bits.
        largest_change: of a score.
        decided_otherwise: share with another decision; None of a regression.
    """

    version: int
    rows: int
    changed: int
    largest_change: float
    decided_otherwise: float | None


@dataclass(frozen=True)
class Audit:
    """An audit.

    Attributes:
        key: whose.
        at: the instant.
        champion: by the ledger, at that instant; None before the first.
        since: from when it was.
        first: prediction time of the oldest answer that was looked at; None without any.
        last: of the newest.
        answers: how many were looked at.
        versions: those that gave them, or the champion alone where nothing was answered.
        today: what they would be now; None where nothing was answered, or there is no champion.
        missing: what could not be found, in words.
    """

    key: str
    at: datetime
    champion: int | None
    since: datetime | None
    first: datetime | None
    last: datetime | None
    answers: int
    versions: tuple[VersionAudit, ...]
    today: Today | None
    missing: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it, with times as text."""
        return asdict(self)


def audit_model(workspace: Workspace, key: ModelKey, at: datetime, request_id: str | None = None) -> Audit:
    """What answered at an instant, and how that came about.

    Args:
        workspace: the installation.
        key: of the model, or of one of its segments.
        at: the instant, in the records' time.
        request_id: of one request; its time is taken in place of `at`.

    Raises:
        RecordNotFoundError: there is no such request.
    """
    settings, model = workspace.settings, workspace.model(key.model)
    rows = _read_answers(workspace, model, key, at, request_id)
    if request_id is not None and rows is not None and rows.num_rows:
        at = rows["prediction_time"][0].as_py() or at
    history = [row for row in ledger.history(key, settings) if row.recorded_at <= at]
    crowned = next((row for row in reversed(history) if row.kind in ("promotion", "revert")), None)
    missing: list[str] = [] if rows is not None else [f"nothing of {key} was answered in the two partitions before"]
    counts = {} if rows is None else {
        (ModelKey(key.model, segment), number): len(places) for (segment, number), places in answered_by(rows).items()
    }  # fmt: skip
    if not counts and crowned is not None and crowned.version is not None:
        counts = {(key, crowned.version): 0}
    checks = {} if rows is None else {(one.segment, one.version): one for one in check_answers(settings, model, rows)}
    versions = []
    for (own, number), answers in counts.items():
        try:
            version = get_version(own, number, settings)
        except VersionNotFoundError as error:
            missing.append(str(error))
            continue
        check = checks.get((own.segment, number))
        versions.append(_audit_version(workspace, model, version, answers, check.identical if check else 0))
    times = None if rows is None else rows["prediction_time"].drop_null().sort()
    return Audit(
        str(key), at, crowned.version if crowned else None, crowned.recorded_at if crowned else None,
        times[0].as_py() if times else None, times[-1].as_py() if times else None,
        0 if rows is None else rows.num_rows, tuple(versions), _ask_today(workspace, model, key, rows), tuple(missing),
    )  # fmt: skip


def _read_answers(
    workspace: Workspace, model: Model, key: ModelKey, at: datetime, request_id: str | None
) -> pa.Table | None:
    """The newest answers before an instant, in the order of their predictions; None without any."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # A prediction is made ahead of its event, by as much as the spec says.
    last = partition_of(model.spec, at + model.spec.prediction_lead)
    before = partition_of(model.spec, last.start - timedelta(seconds=1))
    segment = None if model.spec.segments is None or key.is_pool else key.segment
    selection = Selection(request_id, segment=segment) if request_id else Selection(
        start=before.start, end=last.end, segment=segment
    )  # fmt: skip
    try:
        rows = answered(find_records(workspace.settings, model, selection))
    except RecordNotFoundError:
        if request_id is not None:
            raise
        return None
    if request_id is None:
        moment = pc.coalesce(rows["prediction_time"], rows["event_time"])
        rows = rows.append_column("_moment", moment)
        rows = rows.filter(pc.less_equal(moment, pa.scalar(at, moment.type))).sort_by("_moment")
        rows = rows.slice(max(rows.num_rows - ROWS, 0)).drop_columns(["_moment"])
    return rows if rows.num_rows else None


def _audit_version(workspace: Workspace, model: Model, version: Version, answers: int, identical: int) -> VersionAudit:
    settings, lineage = workspace.settings, version.lineage
    try:
        snapshot = load_snapshot(version.key.pool, lineage.snapshot, settings)
        rows, erased = snapshot.rows, snapshot.erased_rows
        if not version.key.is_pool:
            rows = read_part(model.spec, version.key, snapshot.id, settings).num_rows
    except FileNotFoundError:
        rows, erased = 0, 0
    entries = [row for row in ledger.history(version.key, settings) if row.kind in _TRAIL
               and (row.version == version.number or _starts(row, version))]  # fmt: skip
    verdict = next((row for row in entries if row.kind == "verdict"), None)
    gates = tuple(GateResult(**gate) for gate in (verdict.details.get("gates", ()) if verdict else ()))
    return VersionAudit(
        number=version.number, key=str(version.key), answers=answers, identical=identical,
        made={
            "as of": lineage.as_of.isoformat(), "estimator": lineage.candidate, "parameters": dict(lineage.params),
            "seed": lineage.seed, "search": dict(lineage.search), "training set": lineage.snapshot,
            "training rows": rows, "table versions": dict(lineage.source_versions),
            "window from": lineage.window_start.isoformat() if lineage.window_start else None,
            "learned on from": lineage.base, "features": list(lineage.features),
        },
        code={
            "commit": lineage.git_commit + (" (with uncommitted changes)" if lineage.is_dirty else ""),
            "code": lineage.code_hash, "spec": lineage.spec_hash, "lock": lineage.lock_hash, "Python": lineage.python,
            "kernels": lineage.kernels,
        },
        here=compare_environment(lineage, model), outcome=version.outcome, gates=gates,
        trail=tuple(Step(row.recorded_at, row.kind, row.actor, row.reason) for row in entries),
        approved_by=_find_people(entries), erased_rows=erased, card=card_url(version, settings),
    )  # fmt: skip


def _starts(row: Entry, version: Version) -> bool:
    """Whether a request to retrain was answered by this version."""
    return row.kind == "request" and row.idempotency_key in str(version.tags.get("ratchet.requests", ""))


def _find_people(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Persons who let a version through or moved it: what runs by itself says so in its name."""
    movers = (row.actor for row in entries if row.kind in ("approval", "promotion", "rollout", "revert"))
    return tuple(dict.fromkeys(name for name in movers if " run" not in name and name != ACTOR))


def _ask_today(workspace: Workspace, model: Model, key: ModelKey, rows: pa.Table | None) -> Today | None:
    champion = ledger.read_aliases(key, workspace.settings).get(CHAMPION)
    if champion is None or rows is None:
        return None
    found = ask_version(workspace.settings, model, rows, champion.version, key.segment)
    return Today(found.version, found.rows, found.changed, found.largest_change, found.decided_otherwise)


def render_audit(audit: Audit) -> str:
    """The page in Markdown. Whatever users or data supplied is escaped."""
    parts = [
        f"# Audit of {escape(audit.key)} at {audit.at:%Y-%m-%d %H:%M} UTC",
        draw_table(("", ""), [
            ("champion by the ledger", "none yet" if audit.champion is None
             else f"version {audit.champion}, since {audit.since:%Y-%m-%d %H:%M}"),
            ("answers looked at", "none" if audit.first is None
             else f"{audit.answers}, predicted {audit.first:%Y-%m-%d %H:%M} to {audit.last:%Y-%m-%d %H:%M}"),
            *(("not found", words) for words in audit.missing),
        ]),
    ]  # fmt: skip
    for one in audit.versions:
        parts += _render_version(one)
    if audit.today is not None:
        now = audit.today
        other = "" if now.decided_otherwise is None else f"; {now.decided_otherwise:.1%} would be decided otherwise"
        parts += [
            "## What would be answered today",
            f"Version {now.version} is champion now. Of {now.rows} rows it scores {now.changed} otherwise, by up to "
            f"{now.largest_change:.4g}{other}.",
        ]
    return "\n\n".join(parts) + "\n"


def _render_version(one: VersionAudit) -> Iterator[str]:
    yield f"## Version {one.number} of {escape(one.key)}"
    yield (
        f"It gave {one.answers} of the answers, and gives {one.identical} of them again to the bit. "
        f"Its card: [{one.card}]({one.card})"
    )
    erased = f"{one.erased_rows} rows of persons who were erased since have gone" if one.erased_rows else "whole"
    yield draw_table(("", ""), [*((name, _tell(value)) for name, value in one.made.items()), ("its rows now", erased)])
    yield draw_table(("made by", ""), list(one.code.items()))
    again = "; ".join(one.here) or "nothing: it can be made again here"
    yield draw_table(("", ""), [("approved by", ", ".join(one.approved_by) or "nobody: its gates alone"),
                                ("differs here and now", again)])  # fmt: skip
    yield f"### Gates: {one.outcome}"
    yield draw_table(("gate", "", "found", "expected"),
                     [(g.name, "pass" if g.passed else g.refusal, g.found, g.expected) for g in one.gates])  # fmt: skip
    yield "### What happened to it"
    trail = [(f"{step.at:%Y-%m-%d %H:%M}", step.kind, step.actor, step.reason) for step in one.trail]
    yield draw_table(("when", "what", "by", "why"), trail)


def _tell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {inner}" for name, inner in value.items()) or "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
