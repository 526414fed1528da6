"""What gates say of a candidate, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from include.ratchet.errors import GateRefusedError

Outcome = Literal["promote", "hold", "reject"]


@dataclass(frozen=True)
class GateResult:
    """One gate's word.

    Attributes:
        name: the gate.
        passed: whether the candidate passed.
        found: the numbers, as people read them.
        expected: the threshold, likewise.
        refusal: what a failure leads to: `reject`, or `hold` where the candidate cannot be judged or placed yet.
    """

    name: str
    passed: bool
    found: str
    expected: str
    refusal: Literal["hold", "reject"] = "reject"


@dataclass(frozen=True)
class Verdict:
    """All gates of a candidate: promote, hold or reject."""

    outcome: Outcome
    gates: tuple[GateResult, ...]

    @property
    def failed(self) -> tuple[GateResult, ...]:
        """The gates that were not passed."""
        return tuple(gate for gate in self.gates if not gate.passed)

    @property
    def reason(self) -> str:
        """One sentence."""
        if not self.failed:
            return f"passed all {len(self.gates)} gates"
        return "; ".join(f"{gate.name}: found {gate.found}, expected {gate.expected}" for gate in self.failed)

    def table(self) -> str:
        """The gates as text in columns, for a log."""
        rows = [("gate", "", "found", "expected")]
        rows += [(g.name, "pass" if g.passed else g.refusal, g.found, g.expected) for g in self.gates]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                         for row in rows)  # fmt: skip

    def raise_for_rejection(self, subject: str) -> None:
        """Fail where the verdict is to reject.

        Raises:
            GateRefusedError: with the gate table.
        """
        if self.outcome == "reject":
            message = f"{subject} is rejected: {self.reason}\n{self.table()}"
            raise GateRefusedError(message)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Verdict:
        """The verdict back from its JSON form."""
        return cls(content["outcome"], tuple(GateResult(**gate) for gate in content["gates"]))
