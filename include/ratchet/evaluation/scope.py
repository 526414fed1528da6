"""The gates that a spec's scope sets: references from outside, guardrail metrics, constraints, the business's value."""

from __future__ import annotations

from collections.abc import Iterator

from include.ratchet.evaluation.report import EvaluationReport
from include.ratchet.evaluation.verdict import GateResult
from include.ratchet.spec.scope import BusinessSpec, ScopeSpec


def hold_scope(scope: ScopeSpec, report: EvaluationReport) -> Iterator[GateResult]:
    """What the gates of a scope say of a candidate, each that it sets."""
    yield from _references(scope, report)
    for metric, margin in scope.guardrails.items():
        gain = report.guardrails.get(metric)
        if gain is None:
            continue  # no champion to be worse than
        found, expected = f"gain over the champion {gain}", f"interval above {-margin:g}"
        yield GateResult(f"guardrail {metric}", gain.low >= -margin, found, expected)
    limit = scope.constraints.latency_ms
    if limit is not None:
        found, expected = f"{report.latency_ms:.2f} ms a row", f"at most {limit:g} ms"
        yield GateResult("latency constraint", report.latency_ms <= limit, found, expected)
    if scope.business is not None:
        yield from _business(scope.business, report)


def _references(scope: ScopeSpec, report: EvaluationReport) -> Iterator[GateResult]:
    interval = report.metrics[report.metric]
    for name, reference in scope.references.items():
        if not reference.beat:
            continue
        is_beaten = interval.high < reference.value if report.lower_is_better else interval.low > reference.value
        side = "below" if report.lower_is_better else "above"
        expected = f"interval {side} {reference.value:g} ({reference.kind.replace('_', ' ')})"
        yield GateResult(f"beats {name}", is_beaten, f"{report.metric} {interval}", expected)


def _business(business: BusinessSpec, report: EvaluationReport) -> Iterator[GateResult]:
    found = report.business
    if found is None or not found.rows:
        if business.min is not None or business.margin is not None:
            yield GateResult(business.name, False, "no test row of known value", "rows of known value", "hold")
        return
    if business.min is not None:
        is_reached = found.mean.high <= business.min if business.lower_is_better else found.mean.low >= business.min
        expected = f"interval {'at most' if business.lower_is_better else 'at least'} {business.min:g}"
        yield GateResult(business.name, is_reached, f"{found.mean} {found.unit} a prediction", expected)
    if business.margin is not None and found.champion is not None:
        gain = found.champion.gain
        said, expected = f"gain over the champion {gain} {found.unit}", f"interval above {-business.margin:g}"
        yield GateResult(f"{business.name} against champion", gain.low >= -business.margin, said, expected)
