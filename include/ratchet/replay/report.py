"""A replay as a whole: the same answers, the same features, and what another version would have said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from include.ratchet.pipeline.workspace import Workspace
from include.ratchet.replay.answer import AnswerCheck, check_answers
from include.ratchet.replay.explain import ExplainedAnswer, explain_answers
from include.ratchet.replay.find import Selection, answered, find_records
from include.ratchet.replay.recompute import FeatureCheck, check_features
from include.ratchet.replay.whatif import WhatIf, ask_version
from include.ratchet.spec import WHOLE


@dataclass(frozen=True)
class ReplayReport:
    """What came of answering records again.

    Attributes:
        model: name.
        selection: what was asked for, in words.
        records: that were found.
        unanswered: of them, those that have no score, and so cannot be answered again.
        answers: by version, from the recorded features.
        features: recorded ones beside those computed again.
        what_if: with another version, if one was asked for.
        explained: the answers with what each column contributed, if that was asked for.
    """

    model: str
    selection: str
    records: int
    unanswered: int
    answers: tuple[AnswerCheck, ...]
    features: FeatureCheck
    what_if: WhatIf | None
    explained: tuple[ExplainedAnswer, ...] = ()

    @property
    def is_identical(self) -> bool:
        """Whether every version gives the bits that it gave."""
        return all(check.is_identical for check in self.answers)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "model": self.model,
            "selection": self.selection,
            "records": self.records,
            "unanswered": self.unanswered,
            "is_identical": self.is_identical,
            "answers": [check.to_dict() for check in self.answers],
            "features": self.features.to_dict(),
            "what_if": self.what_if.to_dict() if self.what_if else None,
            "explained": [one.to_dict() for one in self.explained],
        }

    def summary(self) -> str:
        """The result in a sentence."""
        same, rows = sum(check.identical for check in self.answers), sum(check.rows for check in self.answers)
        equal = f"{self.features.equal} of {self.features.rows} rows"
        word = "identical" if self.is_identical else "not identical"
        others = sorted({kernels for check in self.answers for kernels in check.kernels})
        why = f" (some were computed with other numeric kernels than are here: {', '.join(others)})" if others else ""
        return (
            f"{word}: {same} of {rows} answers of {self.model} have the same bits{why}; recomputed features are the "
            f"same in {equal}, {self.features.unexplained} differ unexplained"
        )


def replay(
    workspace: Workspace, name: str, selection: Selection, with_version: int | None = None, *, explain: bool = False
) -> ReplayReport:
    """Answer recorded requests again.

    Args:
        workspace: the installation.
        name: of the model.
        selection: which records.
        with_version: another version to ask as well: of the segment that is selected, otherwise of the whole or
            pooled model.
        explain: whether to say of every answer what each column contributed to it.

    Raises:
        RecordNotFoundError: there is no such record, or the pooled model, whose version is asked, answered none.
        VersionNotFoundError: a version is not in the registry.
    """
    settings, model = workspace.settings, workspace.model(name)
    records = find_records(settings, model, selection)
    rows = answered(records)
    return ReplayReport(
        model=name,
        selection=str(selection),
        records=records.num_rows,
        unanswered=records.num_rows - rows.num_rows,
        answers=check_answers(settings, model, rows) if rows.num_rows else (),
        features=check_features(settings, model, rows),
        what_if=ask_version(settings, model, rows, with_version, selection.segment or WHOLE)
        if with_version and rows.num_rows
        else None,
        explained=explain_answers(settings, model, rows) if explain and rows.num_rows else (),
    )
