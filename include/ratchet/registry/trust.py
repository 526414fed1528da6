"""The card's sections on what a version leans on, and on bias."""

from __future__ import annotations

from collections.abc import Iterator

from include.ratchet.evaluation.report import EvaluationReport
from include.ratchet.explanations.overview import Overview
from include.ratchet.registry.markdown import draw_table, escape

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
        for one in overview.weights
    ))  # fmt: skip


def render_bias(report: EvaluationReport) -> Iterator[str]:
    """Nothing yet."""
    yield from ()
