"""The card's sections on what a version leans on, and on bias."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from include.ratchet.evaluation.parity import Parity
from include.ratchet.evaluation.report import EvaluationReport
from include.ratchet.evaluation.sources import Finding
from include.ratchet.evaluation.thresholds import NOBODY, GroupRule, ThresholdPlan, WhatIf
from include.ratchet.explanations.overview import Overview
from include.ratchet.registry.markdown import draw_table, escape

_SHOWN = 20
"""Columns that a card lists."""
SPACES = {
    "log_odds": "log odds", "log_scores": "the classes' scores before softmax", "log_value": "the value's logarithm",
    "probability": "probability", "value": "the label's units",
}  # fmt: skip
"""Spaces of contributions in words."""
METHODS = {
    "trees": "exact, from the trees", "linear": "exact, from the coefficients",
    "enumerated": "exact, from every set of columns", "sampled": "sampled, from random orders of columns",
}  # fmt: skip
"""Methods of contributions in words."""


def render_overview(overview: Overview | None) -> Iterator[str]:
    """What a version leans on; nothing if that was not measured."""
    if overview is None:
        return
    yield "## What it leans on"
    note = f" It was asked from outside, as {escape(overview.note)}." if overview.note else ""
    yield (
        f"Mean absolute Shapley values of {overview.rows} test rows against {overview.background} training rows, in "
        f"{SPACES[overview.space]}; {METHODS[overview.method]}.{note} Lost is what the metric loses when the column is "
        "shuffled. Neither says what would happen in the world if the column were changed."
    )
    yield draw_table(("column", "mean size", "share", "interval", "lost"), (
        (one.column, f"{one.size.value:.4g}", f"{one.share.value:.1%}", f"{one.share.low:.1%} to {one.share.high:.1%}",
         "" if one.lost is None else f"{one.lost:+.4f}")
        for one in overview.weights[:_SHOWN]
    ))  # fmt: skip
    if len(overview.weights) > _SHOWN:
        rest = sum(one.share.value for one in overview.weights[_SHOWN:])
        yield f"The other {len(overview.weights) - _SHOWN} columns have {rest:.1%} together."


def render_bias(report: EvaluationReport, sources: Sequence[Finding] = ()) -> Iterator[str]:
    """Fairness before and after, what other thresholds would cost, and the checklist of people's part in the data."""
    for parity in report.parity:
        yield from _draw_parity(parity)
    for plans in report.thresholds:
        yield from _draw_thresholds(plans)
    if sources:
        yield "## Sources of human bias in the data"
        yield draw_table(("", "question", "answer", "by"), (
            (one.status, one.question, one.answer or "nobody has said", one.by) for one in sources))  # fmt: skip


def _draw_parity(parity: Parity) -> Iterator[str]:
    changes = [("largest difference", "", change) for change in parity.gaps]
    changes += [(one.group, str(one.rows), change) for one in parity.groups for change in one.rates]
    if not changes:
        return
    yield f"## Fairness over {escape(parity.column)}: before and after"
    if any(change.before for *_, change in changes):
        yield "Rates of champion and of this version on the test rows, with intervals; those of a change are paired."
    else:
        yield "Rates of this version on the test rows, with intervals; there is no champion to compare it with."
    yield draw_table(("group", "rows", "rate", "before", "after", "change"), (
        (group, rows, words_of(change.rate), str(change.before or ""), str(change.after), str(change.change or ""))
        for group, rows, change in changes
    ))  # fmt: skip
    if parity.too_few:
        few = ", ".join(f"{name} ({rows})" for name, rows in parity.too_few.items())
        yield f"Too few rows to judge: {escape(few)}."


def _draw_thresholds(plans: WhatIf) -> Iterator[str]:
    yield f"## What other thresholds over {escape(plans.column)} would cost"
    yield f"{costs_in_words(plans)} {LAWFUL}"
    yield draw_table(("thresholds", "each group's", "cost of 1,000 rows", "change", *map(words_of, GAPS)), (
        (plan.name, rules_in_words(plan), f"{plan.cost.value:.1f}",
         f"{plan.change.value:+.1f} ({plan.change.low:+.1f} to {plan.change.high:+.1f})",
         *(f"{plan.gaps[name]:.3f}" for name in GAPS))
        for plan in plans.plans
    ))  # fmt: skip


GAPS = ("positive_rate", "true_positive_rate", "false_positive_rate")
LAWFUL = (
    "In many fields and countries it is unlawful to decide people by thresholds of their group, or to use the "
    "attribute at all, whatever the aim; ask a lawyer before you do. Nothing here changes how the model decides."
)


def words_of(rate: str) -> str:
    """A rate's name as words."""
    return rate.replace("_", " ")


def costs_in_words(plans: WhatIf) -> str:
    """What a plan weighs, and on which rows it was measured."""
    return (
        f"A false positive costs {plans.false_positive:g}, a false negative {plans.false_negative:g} "
        "(evaluation.costs; 1 and 1 where the spec says nothing). Thresholds are chosen on half of the rows and "
        f"measured on the other {plans.rows}; the last columns are the largest differences between groups then."
    )


def rules_in_words(plan: ThresholdPlan) -> str:
    """The thresholds of each group; how much is drawn by lot, where that is needed."""
    return ", ".join(_rule_in_words(rule) for rule in plan.rules)


def _rule_in_words(rule: GroupRule) -> str:
    one, other = (f"{limit:.3f}" if limit < NOBODY else "nobody" for limit in (rule.threshold, rule.other))
    if one == other and not rule.drawn:
        return f"{rule.group} {one}"
    lot = f"; {rule.drawn:.0%} drawn with chance {rule.chance:.3f}" if rule.drawn else ""
    return f"{rule.group} {one} ({rule.weight:.0%}) or {other}{lot}"
