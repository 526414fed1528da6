"""What a validation says: which expectations did not hold, with numbers, and where the whole result is kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from include.ratchet.errors import ValidationFailedError


@dataclass(frozen=True)
class Finding:
    """One expectation that did not hold.

    Attributes:
        expectation: its name in Great Expectations.
        column: the column it is about, None if about the table.
        detail: what was found and what was expected, with numbers.
    """

    expectation: str
    column: str | None
    detail: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.column or 'table'}: {self.expectation}: {self.detail}"


@dataclass(frozen=True)
class ValidationReport:
    """The outcome of one suite on one table's partition, several partitions, or a snapshot.

    Attributes:
        model: the model's name.
        table: the table's, or `snapshot`.
        subject: the partition's key, a range of keys, or the snapshot's id.
        run_id: the run that asked.
        as_of: the instant it was judged as of, ISO 8601 in UTC.
        rows: rows that were looked at.
        checked: expectations that were checked.
        failed: those of severity `fail` that did not hold.
        warned: those of severity `warn` that did not hold.
        results_path: the results as JSON.
        docs_path: the results as a page.
    """

    model: str
    table: str
    subject: str
    run_id: str
    as_of: str
    rows: int
    checked: int
    failed: tuple[Finding, ...]
    warned: tuple[Finding, ...]
    results_path: str
    docs_path: str

    @property
    def passed(self) -> bool:
        """Whether every expectation of severity `fail` held."""
        return not self.failed

    def raise_for_failures(self) -> None:
        """Stop if the data is not fit for use.

        Raises:
            ValidationFailedError: with every expectation of severity `fail` that did not hold.
        """
        if self.passed:
            return
        listed = "\n".join(f"  {finding}" for finding in self.failed)
        message = (
            f"{self.model}: {self.table} {self.subject}: {len(self.failed)} of {self.checked} expectations failed on "
            f"{self.rows} rows:\n{listed}\nAll results: {self.docs_path}. Repair the data at its source and land it "
            "again, or change the rule (or its severity) in the spec."
        )
        raise ValidationFailedError(message)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "passed": self.passed}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The report of `to_dict`, also after a way through JSON."""
        known = {name: value for name, value in data.items() if name != "passed"}
        for side in ("failed", "warned"):
            known[side] = tuple(Finding(**finding) for finding in data[side])
        return cls(**known)
