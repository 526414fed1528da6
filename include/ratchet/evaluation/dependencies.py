"""The gates that a spec sets on what a snapshot depends on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from include.ratchet.evaluation.verdict import GateResult
from include.ratchet.spec.dependencies import DependencyGateSpec


@dataclass(frozen=True)
class DependencyFacts:
    """What gates read of a snapshot's dependencies.

    Attributes:
        late: share of each table's partitions that were missing or late.
        broken: share of each table's partitions that were broken.
        changes: `table.column@day` of each column that the model reads and that changed its meaning.
    """

    late: Mapping[str, float] = field(default_factory=dict)
    broken: Mapping[str, float] = field(default_factory=dict)
    changes: tuple[str, ...] = ()


def hold_dependencies(gates: DependencyGateSpec | None, facts: DependencyFacts | None) -> Iterator[GateResult]:
    """What the gates say of a snapshot, each that is set; nothing where it was not looked into."""
    if gates is None or facts is None:
        return
    for name, limit, shares in (
        ("sources in time", gates.max_late_share, facts.late),
        ("sources whole", gates.max_broken_share, facts.broken),
    ):
        if limit is not None:
            worst = max(shares, key=lambda table: shares[table], default=None)
            found = f"{shares[worst]:.1%} of the partitions of {worst}" if worst else "no table with partitions"
            yield GateResult(name, worst is None or shares[worst] <= limit, found, f"at most {limit:.1%}")
    if gates.no_semantic_change:
        new = [change for change in facts.changes if change not in gates.accepted]
        found = ", ".join(new) or "none" + (f" but {len(facts.changes)} accepted" if facts.changes else "")
        expected = "none, or those under gates.dependencies.accepted"
        yield GateResult("columns mean what they did", not new, found, expected)
