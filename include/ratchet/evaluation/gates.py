"""The gates: named checks with a threshold that a candidate passes or fails, each with its numbers, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from include.ratchet.evaluation.dependencies import DependencyFacts, hold_dependencies
from include.ratchet.evaluation.report import EvaluationReport
from include.ratchet.evaluation.scope import hold_scope
from include.ratchet.evaluation.verdict import GateResult, Outcome, Verdict
from include.ratchet.spec import ModelSpec
from include.ratchet.spec.training import GatesSpec


@dataclass(frozen=True)
class Circumstances:
    """What decides beside the candidate's own numbers.

    Attributes:
        is_data_valid: whether the snapshot passed its validation.
        as_of: what the candidate knew.
        champion_as_of: what the champion knew; None without a champion.
        champion_error: why the champion could not be compared, if it could not.
        has_window: whether a window asked for the retraining.
        is_backfill: whether history is being replayed.
        dependencies: what is known of the snapshot's sources; None where that was not looked into.
    """

    is_data_valid: bool
    as_of: datetime
    champion_as_of: datetime | None = None
    champion_error: str | None = None
    has_window: bool = False
    is_backfill: bool = False
    dependencies: DependencyFacts | None = None


def judge(spec: ModelSpec, report: EvaluationReport, circumstances: Circumstances) -> Verdict:
    """Ask every gate that the spec sets and conclude.

    Any refusal to hold keeps a candidate from promotion; any to reject rejects it. What lacks the rows to be judged
    is held, not rejected, whatever else its numbers seem to say.
    """
    asked = (gate(spec.gates, report, circumstances) for gate in GATES)
    held = hold_scope(spec.scope, report) if spec.scope else ()
    sources = hold_dependencies(spec.gates.dependencies, circumstances.dependencies)
    results = (*(result for result in asked if result is not None), *held, *sources)
    return Verdict(_conclude(results), results)


def _conclude(results: Iterable[GateResult]) -> Outcome:
    failed = [gate for gate in results if not gate.passed]
    if not failed:
        return "promote"
    if any(gate.name == "minimum sample" for gate in failed):
        return "hold"
    return "reject" if any(gate.refusal == "reject" for gate in failed) else "hold"


def _minimum_sample(gates: GatesSpec, report: EvaluationReport, _: Circumstances) -> GateResult:
    found, expected = f"{report.rows} rows", f"at least {gates.min_test_rows} rows"
    enough = report.rows >= gates.min_test_rows
    if report.rarest_rows is not None:
        found += f", {report.rarest_rows} of the rarest class"
        expected += f", {gates.min_positive_rows} of the rarest class"
        enough = enough and report.rarest_rows >= gates.min_positive_rows
    return GateResult("minimum sample", enough, found, expected, "hold")


def _data_validated(_: GatesSpec, __: EvaluationReport, circumstances: Circumstances) -> GateResult:
    valid = circumstances.is_data_valid
    return GateResult("data validated", valid, "passed" if valid else "failed", "every expectation of severity fail")


def _minimum_metric(gates: GatesSpec, report: EvaluationReport, _: Circumstances) -> GateResult | None:
    if gates.min_metric is None:
        return None
    interval = report.metrics[report.metric]
    if report.lower_is_better:
        passed, bound = interval.high <= gates.min_metric, f"interval at most {gates.min_metric:g}"
    else:
        passed, bound = interval.low >= gates.min_metric, f"interval at least {gates.min_metric:g}"
    return GateResult("minimum metric", passed, f"{report.metric} {interval}", bound)


def _beats_baseline(gates: GatesSpec, report: EvaluationReport, _: Circumstances) -> GateResult:
    best = min(report.baselines, key=lambda one: one.gain.value)
    return GateResult(
        "beats baseline",
        best.gain.low > gates.beats_baseline,
        f"gain over {best.name} {best.gain}",
        f"interval above {gates.beats_baseline:g}",
    )


def _versus_champion(gates: GatesSpec, report: EvaluationReport, circumstances: Circumstances) -> GateResult | None:
    name = "better than champion" if gates.versus_champion == "superior" else "not worse than champion"
    if circumstances.champion_error is not None:
        return GateResult(name, False, circumstances.champion_error, "a comparison on the same rows", "hold")
    if report.champion is None:
        return None
    gain = report.champion.gain
    bound = 0.0 if gates.versus_champion == "superior" else -gates.margin
    # Not merely >: the same model again has a gain of exactly 0 and is not worse by any margin.
    passed = gain.low > bound if gates.versus_champion == "superior" else gain.low >= bound
    return GateResult(name, passed, f"gain over version {report.champion.version} {gain}", f"interval above {bound:g}")


def _versus_pool(gates: GatesSpec, report: EvaluationReport, _: Circumstances) -> GateResult | None:
    """A segment's first own model must be surely better than the pooled one, a later one not worse."""
    if report.pool is None:
        return None
    gain, found = report.pool.gain, f"gain over pooled version {report.pool.version} {report.pool.gain}"
    if report.champion is None:
        return GateResult("better than pool", gain.low > 0, found, "interval above 0", "hold")
    return GateResult("not worse than pool", gain.low >= -gates.margin, found, f"interval above {-gates.margin:g}")


def _slices(gates: GatesSpec, report: EvaluationReport, _: Circumstances) -> GateResult | None:
    compared = [part for part in report.slices if part.versus_champion is not None]
    if gates.max_slice_drop is None or not compared:
        return None
    worst = min(compared, key=lambda part: part.versus_champion.high if part.versus_champion else 0.0)
    gain = worst.versus_champion
    passed = gain is None or gain.high >= -gates.max_slice_drop
    found = f"{worst.name} ({worst.rows} rows): gain {gain}"
    return GateResult("no slice worse", passed, found, f"no drop surely above {gates.max_slice_drop:g}")


def _calibration(gates: GatesSpec, report: EvaluationReport, _: Circumstances) -> GateResult | None:
    if gates.max_ece is None or "ece" not in report.metrics:
        return None
    interval = report.metrics["ece"]
    return GateResult(
        "calibration", interval.high <= gates.max_ece, f"ece {interval}", f"interval at most {gates.max_ece:g}"
    )


def _fairness(gates: GatesSpec, report: EvaluationReport, _: Circumstances) -> GateResult | None:
    """Held where no group has enough rows; one that is alone in having them has none to be compared with."""
    if gates.max_fairness_gap is None or not report.fairness:
        return None
    compared = [one for one in report.fairness if len(one.groups) > 1]
    expected = f"at most {gates.max_fairness_gap:g}"
    if not compared:
        is_one = any(one.groups for one in report.fairness)
        found = f"{'only one' if is_one else 'no'} group of evaluation.min_slice_rows test rows"
        return GateResult("fairness", is_one, found, expected, "hold")
    worst = max(compared, key=lambda one: one.equalized_odds)
    found = f"equalised odds differ by {worst.equalized_odds:.4f} over {worst.column}"
    return GateResult("fairness", worst.equalized_odds <= gates.max_fairness_gap, found, expected)


def _latency(gates: GatesSpec, report: EvaluationReport, _: Circumstances) -> GateResult | None:
    if gates.max_latency_ms is None:
        return None
    passed = report.latency_ms <= gates.max_latency_ms
    return GateResult("latency", passed, f"{report.latency_ms:.2f} ms a row", f"at most {gates.max_latency_ms:g} ms")


def _size(gates: GatesSpec, report: EvaluationReport, _: Circumstances) -> GateResult | None:
    if gates.max_size_mb is None:
        return None
    return GateResult(
        "size", report.size_mb <= gates.max_size_mb, f"{report.size_mb:.2f} MB", f"at most {gates.max_size_mb:g} MB"
    )


def _reproducible(gates: GatesSpec, report: EvaluationReport, _: Circumstances) -> GateResult | None:
    if not gates.reproducible:
        return None
    found = "a second fit predicts the same" if report.is_reproducible else "a second fit predicts otherwise"
    return GateResult("reproducible", report.is_reproducible, found, "identical predictions")


def _wins_on_window(gates: GatesSpec, report: EvaluationReport, circumstances: Circumstances) -> GateResult | None:
    if not circumstances.has_window or circumstances.champion_as_of is None:
        return None
    if report.window is None:
        return GateResult(
            "wins on its window", False, "too few test rows there, or of one class", "a comparison", "hold"
        )
    return GateResult(
        "wins on its window",
        report.window.gain.low > gates.window_margin,
        f"gain {report.window.gain}",
        f"interval above {gates.window_margin:g}",
    )


def _may_move_production(_: GatesSpec, __: EvaluationReport, circumstances: Circumstances) -> GateResult:
    """A backfill never moves production, and what knew less than the champion is scored, and no candidate."""
    known, as_of = circumstances.champion_as_of, circumstances.as_of
    found = f"{'a backfill ' if circumstances.is_backfill else ''}as of {as_of:%Y-%m-%d %H:%M}"
    expected = "no backfill" + (f", not before the champion's {known:%Y-%m-%d %H:%M}" if known else "")
    passed = not circumstances.is_backfill and (known is None or as_of >= known)
    return GateResult("may move production", passed, found, expected, "hold")


GATES: tuple[Callable[[GatesSpec, EvaluationReport, Circumstances], GateResult | None], ...] = (
    _minimum_sample,
    _data_validated,
    _minimum_metric,
    _beats_baseline,
    _versus_champion,
    _versus_pool,
    _slices,
    _calibration,
    _fairness,
    _latency,
    _size,
    _reproducible,
    _wins_on_window,
    _may_move_production,
)
"""Every gate, in the order in which they are told."""
