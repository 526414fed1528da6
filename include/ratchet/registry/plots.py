"""The plots of a model card, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from include.ratchet.evaluation.report import EvaluationReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _MUTED = "#0b5cad", "#9aa5b1"


def draw_plots(
    report: EvaluationReport, trials: Sequence[Mapping[str, Any]], importance: Mapping[str, float],
    learning: Sequence[Mapping[str, float]],
) -> dict[str, bytes]:  # fmt: skip
    """Every plot by file name: search, learning curve, reliability curve, importances and slices."""
    plots = {}
    if trials:
        plots["plots/search.png"] = _draw("Search", lambda axes: _search(axes, report, trials))
    if learning:
        plots["plots/learning.png"] = _draw("Learning curve", lambda axes: _learning(axes, report, learning))
    if report.calibration:
        plots["plots/reliability.png"] = _draw("Reliability", lambda axes: _reliability(axes, report))
    if importance:
        plots["plots/importance.png"] = _draw("Permutation importance", lambda axes: _importance(axes, importance))
    if report.slices:
        plots["plots/slices.png"] = _draw("Slices", lambda axes: _slices(axes, report))
    return plots


def _draw(title: str, paint: Any) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    paint(axes)
    content = io.BytesIO()
    # No date in the file: the same candidate gives the same bytes.
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _search(axes: Axes, report: EvaluationReport, trials: Sequence[Mapping[str, Any]]) -> None:
    for name in sorted({str(trial["candidate"]) for trial in trials}):
        points = [(t["number"], t["value"]) for t in trials if t["candidate"] == name and t["value"] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), "o", label=name, markersize=5)
    axes.set_xlabel("trial", fontsize=8)
    axes.set_ylabel(f"validation {report.metric}", fontsize=8)
    axes.legend(fontsize=8, frameon=False)


def _learning(axes: Axes, report: EvaluationReport, points: Sequence[Mapping[str, float]]) -> None:
    rows = [point["rows"] for point in points]
    axes.plot(rows, [point["seen"] for point in points], "o--", color=_MUTED, label="rows it learnt from")
    axes.plot(rows, [point["unseen"] for point in points], "o-", color=_INK, label="test rows")
    axes.set_xscale("log")
    axes.set_xlabel("newest rows learnt from", fontsize=8)
    axes.set_ylabel(report.metric, fontsize=8)
    axes.legend(fontsize=8, frameon=False)


def _reliability(axes: Axes, report: EvaluationReport) -> None:
    said = [part["score"] for part in report.calibration]
    came = [part["frequency"] for part in report.calibration]
    axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle="--")
    axes.plot(said, came, "o-", color=_INK)
    axes.set_xlabel("predicted probability", fontsize=8)
    axes.set_ylabel("observed frequency", fontsize=8)


def _importance(axes: Axes, importance: Mapping[str, float]) -> None:
    top = sorted(importance.items(), key=lambda item: item[1])[-15:]
    axes.barh([name for name, _ in top], [value for _, value in top], color=_INK)
    axes.set_xlabel("loss of the metric when the column is shuffled", fontsize=8)


def _slices(axes: Axes, report: EvaluationReport) -> None:
    shown = report.slices[:20]
    values = [part.metric.value for part in shown]
    errors = [[p.metric.value - p.metric.low for p in shown], [p.metric.high - p.metric.value for p in shown]]
    axes.errorbar(values, range(len(shown)), xerr=errors, fmt="o", color=_INK, markersize=4)
    axes.axvline(report.metrics[report.metric].value, color=_MUTED, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(shown)), [part.name for part in shown], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel(report.metric, fontsize=8)
