"""The card's sections on what a version depends on, also as the command line shows them."""

from __future__ import annotations

from collections.abc import Iterator

from include.ratchet.dependencies.feedback import Feedback
from include.ratchet.dependencies.necessity import Necessity
from include.ratchet.dependencies.reliability import Share
from include.ratchet.dependencies.report import DependencyReport
from include.ratchet.dependencies.ties import Ties
from include.ratchet.dependencies.usage import Unused
from include.ratchet.evaluation.intervals import Interval
from include.ratchet.registry.markdown import draw_table, escape


def render_dependencies(report: DependencyReport | None) -> Iterator[str]:
    """What the training set depends on; nothing if that was not looked into."""
    if report is None:
        return
    yield "## Data dependencies"
    yield f"Of {report.start:%Y-%m-%d} to {report.as_of:%Y-%m-%d}."
    if report.sources:
        yield draw_table(
            ("table", "partitions", "missing", "late", "too few rows", "broken", "rows quarantined", "worst days"),
            ((one.table, one.partitions, _share(one.missing), _share(one.late), _share(one.short), _share(one.broken),
              f"{one.quarantined_rows:.2%}", _worst(one.missing, one.late, one.short, one.broken))
             for one in report.sources),
        )  # fmt: skip
    if report.changes:
        yield "## Columns that changed their meaning"
        yield draw_table(("day", "column", "is", "how", "read by the model"), (
            (one.day, f"{one.table}.{one.column}", one.kind, one.detail, "yes" if one.is_read else "no")
            for one in report.changes))  # fmt: skip
    else:
        yield "No column changed its meaning."
    if report.schema:
        yield f"Against the champion's training set: {escape('; '.join(report.schema))}."
    yield from _draw_ties(report.ties)
    yield from _draw_unused(report.unused)
    yield from render_necessity(report.necessity)
    yield from render_feedback(report.feedback)


def render_necessity(needs: Necessity | None) -> Iterator[str]:
    """What could go; nothing if nobody asked."""
    if needs is None:
        return
    yield "## What the model could do without"
    yield (
        f"The candidate was fitted on {needs.learnt_rows} rows without one group of features after the other, and lost "
        f"this much {escape(needs.metric)} (with all: {needs.value:.4f}) on {needs.measured_rows} validation rows. "
        f"A group could go if surely no more than {needs.tolerance:g} is lost."
    )
    yield draw_table(("features", "lost without", "could go", "then nobody reads", "cost", "bytes a row", "missing"), (
        (", ".join(one.features), str(one.lost) if one.lost else one.note, "yes" if one.could_go else "no",
         ", ".join(one.frees), "; ".join(one.costs), f"{one.bytes_a_row:.0f}", f"{one.missing:.1%}")
        for one in needs.needs))  # fmt: skip
    if needs.together is not None:
        yield f"Without all that could go at once: {needs.together}."
    if needs.left:
        yield f"{needs.left} more important groups were not tried."


def render_feedback(feedback: Feedback | None) -> Iterator[str]:
    """What acting on answers does; nothing without a hold-out that is large enough."""
    if feedback is None:
        return
    yield "## Feedback: what acting on answers does to outcomes"
    word = "Acting surely moves outcomes" if feedback.is_found else "No effect is sure; one within the intervals may be"
    yield (
        f"{word}. Outcome: {escape(feedback.outcome)}. Of {feedback.rows} rows, {feedback.held_rows} were held out at "
        "random. The effect is also the bias of what is learnt from, or measured on, rows that were acted on."
    )
    rows = [("effect over all rows", feedback.effect), ("where the model decides positive", feedback.decided),
            ("elsewhere", feedback.undecided), (f"{feedback.metric}, acted on", feedback.metric_acted_on),
            (f"{feedback.metric}, held out", feedback.metric_held_out),
            (f"{feedback.metric}, bias", feedback.metric_bias)]  # fmt: skip
    yield draw_table(("", "value", "interval"), (
        (name, f"{one.value:+.4f}", _ends(one)) for name, one in rows if one is not None))  # fmt: skip
    yield draw_table(("scores", "rows", "held out", "outcome where acted on", "where held out", "effect", "interval"), (
        (f"{one.low:.3f} to {one.high:.3f}", one.rows, one.held_rows, f"{one.acted_on:.4f}", f"{one.held_out:.4f}",
         f"{one.effect.value:+.4f}", _ends(one.effect))
        for one in feedback.bands))  # fmt: skip


def _draw_ties(ties: Ties) -> Iterator[str]:
    if ties.clusters:
        yield "## Tied features"
        yield draw_table(("features", "strongest tie", "strength", "measure"), (
            (", ".join(one.features), " and ".join(one.strongest), f"{one.strength:.3f}", one.measure)
            for one in ties.clusters))  # fmt: skip
    for group in ties.duplicates:
        yield f"Equal in every row: {escape(', '.join(group))}."
    if ties.constants:
        yield f"The same in every row: {escape(', '.join(ties.constants))}."


def _draw_unused(unused: Unused) -> Iterator[str]:
    if unused.columns:
        yield f"Landed and read by nobody: {escape(', '.join(unused.columns))}."
    if unused.tables:
        yield f"Tables that no feature reads: {escape(', '.join(unused.tables))}."
    if unused.features:
        gone = ", ".join(f"{name} (until version {number})" for name, number in unused.features)
        yield f"Features of champions before that are no longer given: {escape(gone)}."


def _share(one: Share) -> str:
    if not one.of:
        return "not known"
    return f"{one.count} of {one.of} ({one.share.low:.1%} to {one.share.high:.1%})"


def _worst(*shares: Share) -> str:
    return ", ".join(dict.fromkeys(key for one in shares for key in one.worst[:2]))


def _ends(one: Interval) -> str:
    return f"{one.low:+.4f} to {one.high:+.4f}"
