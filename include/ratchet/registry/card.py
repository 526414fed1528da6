"""The model card: what a version is, what it learnt from, how good it is and where it should not be used."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from include.ratchet.dependencies.report import DependencyReport
from include.ratchet.evaluation.report import EvaluationReport
from include.ratchet.evaluation.sources import Finding
from include.ratchet.evaluation.verdict import Verdict
from include.ratchet.explanations.overview import Overview
from include.ratchet.labels.facts import LabelFacts
from include.ratchet.registry.dependencies import render_dependencies
from include.ratchet.registry.lineage import Lineage
from include.ratchet.registry.markdown import draw_table, escape
from include.ratchet.registry.trust import render_bias, render_overview
from include.ratchet.spec import ModelSpec, format_duration

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733 }
table { border-collapse: collapse; margin: .5rem 0 1.5rem }
td, th { border-bottom: 1px solid #d8dee6; padding: .25rem .75rem; text-align: left }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2rem }
img { max-width: 100% } code { background: #eef2f6; padding: 0 .25rem; word-break: break-all }
@media (prefers-color-scheme: dark) { body { background: #12181f; color: #dfe6ee } code { background: #223 } }
"""


def render_markdown(
    spec: ModelSpec, lineage: Lineage, report: EvaluationReport, verdict: Verdict, rows: int,
    plots: Iterable[str] = (), overview: Overview | None = None, sources: Sequence[Finding] = (),
    labels: LabelFacts | None = None, dependencies: DependencyReport | None = None,
) -> str:  # fmt: skip
    """The card in Markdown. Whatever users or data supplied is escaped.

    Args:
        spec: the model's.
        lineage: the version's.
        report: its evaluation.
        verdict: its gates.
        rows: of its training set that it learned from, or is judged on.
        plots: paths of the plots, relative to the card.
        overview: what it leans on, if that was measured.
        sources: the checklist of people's part in the data.
        labels: of its training set.
        dependencies: what its training set depends on.
    """
    parts = [
        f"# {escape(lineage.key)}",
        escape(spec.description),
        *_scope(spec, report),
        draw_table(("", ""), _facts(spec, lineage, verdict)),
        "## Metrics",
        draw_table(("metric", "value", "interval"), _metrics(report)),
        "## Against baselines and champion",
        draw_table(("against", "its value", "gain", "interval"), _comparisons(report)),
        f"## Gates: {verdict.outcome}",
        draw_table(("gate", "", "found", "expected"), (
            (g.name, "pass" if g.passed else g.refusal, g.found, g.expected) for g in verdict.gates)),
        *_slices(report),
        *render_overview(overview),
        *_fairness(report),
        *render_bias(report, sources),
        *render_dependencies(dependencies),
        "## Limits",
        _limits(spec, report),
        "## Data and lineage",
        draw_table(("", ""), _lineage(lineage, rows)),
        *(_labels(labels) if labels else ()),
        *(f"![{path}]({path})" for path in plots),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def render_html(markdown_text: str, title: str) -> str:
    """The card as one HTML page; the Markdown holds no HTML of its own."""
    import markdown

    body = markdown.markdown(markdown_text, extensions=["tables"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style><body>{body}</body></html>\n"
    )


def _scope(spec: ModelSpec, report: EvaluationReport) -> Iterable[str]:
    """What it is there for and is held to, before any number of its own."""
    scope = spec.scope
    if scope is None:
        return
    limits = scope.constraints
    rows = [
        ("problem", scope.problem), ("decision", scope.decision), ("decides", spec.metric),
        ("guardrails", ", ".join(f"{name} (at most {margin:g} worse)" for name, margin in scope.guardrails.items())),
        *((f"{one.kind.replace('_', ' ')}: {name}", f"{spec.metric} {one.value:g}, {one.source}"
           + (" (to be beaten)" if one.beat else "")) for name, one in scope.references.items()),
        ("answers within", f"{limits.latency_ms:g} ms" if limits.latency_ms else None),
        ("knows at most so long ago", format_duration(limits.freshness) if limits.freshness else None),
        ("cost", limits.cost), *(("legal", one) for one in limits.legal),
    ]  # fmt: skip
    yield "## What it is for"
    yield draw_table(("", ""), [row for row in rows if row[1]])
    found = report.business
    if found is not None and found.rows:
        yield f"## {escape(found.name)}, in {escape(found.unit)} a prediction"
        values = [("this version", str(found.mean), ""),
                  *((one.name, str(one.metric), str(one.gain)) for one in found.rivals)]  # fmt: skip
        yield draw_table(("", "mean", "gain over it"), values)
        yield f"Of {found.rows} test rows, by {escape(scope.business.value if scope.business else '')}."


def _facts(spec: ModelSpec, lineage: Lineage, verdict: Verdict) -> Sequence[tuple[str, Any]]:
    return (
        ("owner", spec.owner),
        ("task", spec.task),
        ("verdict", f"{verdict.outcome}: {verdict.reason}"),
        ("as of", lineage.as_of.isoformat()),
        ("estimator", lineage.candidate),
        ("parameters", ", ".join(f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
                                 for name, value in lineage.params.items()) or "defaults"),
    )  # fmt: skip


def _metrics(report: EvaluationReport) -> Iterable[tuple[str, ...]]:
    for name, one in report.metrics.items():
        yield name, f"{one.value:.4f}", f"{one.low:.4f} to {one.high:.4f}"


def _comparisons(report: EvaluationReport) -> Iterable[tuple[str, ...]]:
    for one in (*report.baselines, report.pool, report.champion):
        if one is not None:
            name = f"{one.name} (version {one.version})" if one.version else one.name
            yield (
                name,
                f"{one.metric.value:.4f}",
                f"{one.gain.value:+.4f}",
                f"{one.gain.low:+.4f} to {one.gain.high:+.4f}",
            )


def _slices(report: EvaluationReport) -> Iterable[str]:
    if report.slices:
        yield "## Slices"
        rows = ((s.name, s.rows, str(s.metric), str(s.versus_champion or "")) for s in report.slices)
        yield draw_table(("slice", "rows", report.metric, "gain over champion"), rows)
    if report.weak_spots:
        yield "## Where it errs most"
        found = (
            (s.name, s.rows, f"{s.loss:.4f}", f"{s.loss_elsewhere:.4f}", f"{s.effect:.2f}") for s in report.weak_spots
        )
        yield draw_table(("where", "rows", "loss", "loss elsewhere", "effect"), found)


def _fairness(report: EvaluationReport) -> Iterable[str]:
    for one in report.fairness:
        yield f"## Fairness over {escape(one.column)}"
        names = list(next(iter(one.groups.values()), {}))
        rows = ((group, *(f"{rates[name]:.4g}" for name in names)) for group, rates in one.groups.items())
        yield f"Equalised odds differ by {one.equalized_odds:.4f}, positive rates by {one.demographic_parity:.4f}."
        if not any(parity.column == one.column for parity in report.parity):  # whose table says more
            yield draw_table(("group", *names), rows)


def _limits(spec: ModelSpec, report: EvaluationReport) -> str:
    lead = f" {format_duration(spec.prediction_lead)} before its event" if spec.prediction_lead else ""
    lines = [
        f"- Answers only what it was asked in training: {spec.label.column} of one {', '.join(spec.keys)}{lead}.",
        f"- Judged on {report.rows} rows of the recent past; a world that has changed since is not in these numbers.",
        f"- One row takes {report.latency_ms:.2f} ms; the model takes {report.size_mb:.2f} MB.",
    ]
    if report.weak_spots:
        lines.append(f"- Errs most where {escape(report.weak_spots[0].name)}.")
    return "\n".join(lines)


def _lineage(lineage: Lineage, rows: int) -> Sequence[tuple[str, Any]]:
    return (
        ("snapshot", lineage.snapshot),
        ("training rows", rows),
        ("table versions", ", ".join(f"{name} {number}" for name, number in lineage.source_versions.items())),
        ("features", ", ".join(lineage.features)),
        ("search", ", ".join(f"{name} {value}" for name, value in lineage.search.items())),
        ("seed", lineage.seed),
        ("commit", lineage.git_commit + (" (with uncommitted changes)" if lineage.is_dirty else "")),
        ("spec", lineage.spec_hash),
        ("code", lineage.code_hash),
        ("lock", lineage.lock_hash),
        ("Python", lineage.python),
        ("kernels", lineage.kernels),
    )


def _labels(labels: LabelFacts) -> Iterable[str]:
    balance, human, agreement = labels.balance, labels.human, labels.agreement
    if balance is not None:
        yield "## Classes"
        rows = ((c.name, c.rows, f"{c.share:.1%}", c.test_rows, f"{c.effective_rows:.0f}") for c in balance.classes)
        yield draw_table(("class", "rows", "share", "test rows", "effective test rows"), rows)
        if balance.rare:
            yield f"Rare, with fewer than {balance.rare_below} test rows: {escape(', '.join(balance.rare))}."
    if agreement is not None:
        yield "## Labellers"
        yield draw_table(("labeller", "rows"), tuple(agreement.labelled.items()))
        said = f"Krippendorff's alpha of people is {agreement.alpha}" if agreement.alpha else "Alpha is not defined"
        yield f"{escape(said)}, on {agreement.rows} rows that several labelled."
    if human is not None:
        yield escape(f"People reach {human.metric} {human.value} against each other, on {human.rows} rows.")
