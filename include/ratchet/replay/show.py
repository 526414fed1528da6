"""A replay's tables as people read them, in a terminal or in a task's log."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from include.ratchet.registry.trust import METHODS, SPACES
from include.ratchet.replay.answer import AnswerCheck
from include.ratchet.replay.explain import ExplainedAnswer
from include.ratchet.replay.recompute import FeatureCheck
from include.ratchet.replay.report import ReplayReport
from include.ratchet.replay.whatif import WhatIf
from include.ratchet.spec import WHOLE

_WIDTH = 160


def tables(report: ReplayReport) -> Iterator[Table]:
    """Answers, features that differ and why, and the other version's answers; empty ones are left out."""
    yield _answers(report)
    if any(check.differences for check in report.answers):
        yield _scores(report)
    yield from _features(report.features)
    if report.what_if is not None:
        yield from _what_if(report.what_if)
    for one in report.explained:
        yield _explained(one)


def as_text(report: ReplayReport) -> str:
    """The tables and the summary as plain text."""
    console = Console(file=io.StringIO(), width=_WIDTH, no_color=True)
    for table in tables(report):
        console.print(table)
    console.print(report.summary(), highlight=False)
    written = console.file
    return written.getvalue() if isinstance(written, io.StringIO) else ""


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left")


def _add(table: Table, *cells: str) -> None:
    """A row of texts as they are: what callers sent is no markup."""
    table.add_row(*(escape(cell) for cell in cells))


def _name(check: AnswerCheck) -> str:
    """A version's number, after the name of the segment that it belongs to."""
    return str(check.version) if check.segment == WHOLE else f"{check.segment}@{check.version}"


def _answers(report: ReplayReport) -> Table:
    table = _table(f"{report.model}: {report.selection}", "version", "answers", "same bits", "only alone",
                   "largest difference")  # fmt: skip
    for check in report.answers:
        _add(table, _name(check), str(check.rows), str(check.identical), str(check.alone or ""),
             f"{check.largest_difference:.3g}" if not check.is_identical else "")  # fmt: skip
    if report.unanswered:
        _add(table, "none", str(report.unanswered), "", "", "")
    return table


def _scores(report: ReplayReport) -> Table:
    table = _table("answers that differ", "request", "row", "version", "recorded", "again")
    for check in report.answers:
        for one in check.differences:
            _add(table, one.request_id, str(one.row), _name(check), repr(one.recorded), repr(one.again))
    return table


def _features(check: FeatureCheck) -> Iterator[Table]:
    if check.explanations:
        table = _table("why recomputed features differ", "rows", "cause", "")
        for one in check.explanations:
            _add(table, str(one.rows), one.cause, one.words)
        yield table
        table = _table("features that differ", "request", "row", "feature", "recorded", "recomputed", "cause")
        for value in check.differences:
            _add(table, value.request_id, str(value.row), value.feature, repr(value.recorded),
                 repr(value.recomputed), value.cause)  # fmt: skip
        yield table
    if check.left_out:
        table = _table("not compared", "what", "why")
        for name, why in check.left_out.items():
            _add(table, name, why)
        yield table


def _what_if(found: WhatIf) -> Iterator[Table]:
    of = "" if found.segment == WHOLE else f" of {found.segment}"
    table = _table(f"with version {found.version}{of}", "", "")
    _add(table, "answers that change", f"{found.changed} of {found.rows}")
    _add(table, "largest change", f"{found.largest_change:.4g}")
    if found.decided_otherwise is not None:
        _add(table, "decided otherwise", f"{found.decided_otherwise:.2%}")
    _add(table, "features", found.features)
    if found.metric is None:
        _add(table, "labels", "none have come yet")
    else:
        _add(table, "rows with a label", str(found.metric.rows))
        _add(table, f"{found.metric.metric} as answered", str(found.metric.before))
        _add(table, f"{found.metric.metric} with it", str(found.metric.after))
        _add(table, "gain", str(found.metric.gain))
    yield table
    if found.answers:
        table = _table("most changed", "request", "row", "key", "before", "after")
        for one in found.answers:
            _add(table, one.request_id, str(one.row), one.key, f"{one.before:.6g}", f"{one.after:.6g}")
        yield table


def _explained(one: ExplainedAnswer) -> Table:
    """Columns of an answer, those that moved it most first; of several classes a column for each."""
    by = str(one.version) if one.segment == WHOLE else f"{one.segment}@{one.version}"
    title = f"{one.request_id}, row {one.row}: {one.score:.6g} by version {by}"
    if one.explanation is None:
        table = _table(title, "not explained")
        _add(table, one.problem)
        return table
    told = one.explanation
    amounts = {name: _amounts(value) for name, value in told["contributions"].items()}
    base = _amounts(told["base"])
    table = _table(f"{title}, in {SPACES[told['space']]}, {METHODS[told['method']]}", "column", "value", *(
        f"contribution {name}".strip() for name in base))  # fmt: skip
    for name in sorted(amounts, key=lambda column: -max(map(abs, amounts[column].values()))):
        _add(table, name, str(one.features[name]), *(f"{value:+.4g}" for value in amounts[name].values()))
    _add(table, "base: the mean over training rows", "", *(f"{value:.4g}" for value in base.values()))
    return table


def _amounts(value: float | dict[str, float]) -> dict[str, float]:
    """By class; of one output, under an empty name."""
    return value if isinstance(value, dict) else {"": value}
