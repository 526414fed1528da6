"""Everything that is known about a candidate before it is judged."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.ratchet.evaluation.business import BusinessResult, read_business, value_predictions
from include.ratchet.evaluation.comparison import Comparison, Contender, bootstrap_of, compare_measures, measured
from include.ratchet.evaluation.fairness import FairnessResult, measure_fairness
from include.ratchet.evaluation.intervals import Interval
from include.ratchet.evaluation.parity import Parity, group_texts, measure_parity
from include.ratchet.evaluation.slices import SliceResult, WeakSpot, find_weak_spots, measure_slices
from include.ratchet.evaluation.thresholds import WhatIf, plan_thresholds
from include.ratchet.spec import ModelSpec
from include.ratchet.spec.training import LOWER_IS_BETTER
from include.ratchet.training.frames import times
from include.ratchet.training.metrics import Floats

if TYPE_CHECKING:
    import pandas as pd

CURVE_BINS = 10


@dataclass(frozen=True)
class EvaluationReport:
    """A candidate's numbers on the test rows.

    Attributes:
        metric: name of the decisive one.
        lower_is_better: its direction.
        rows: test rows.
        rarest_rows: rows of the rarest class; None of a regression.
        metrics: every metric with its interval.
        baselines: against each baseline.
        champion: against the present champion, if there is one.
        window: against the champion on the window that asked for the retraining, if one did.
        slices: declared ones.
        weak_spots: the worst ones found.
        fairness: by sensitive attribute.
        calibration: reliability curve: rows, mean score, frequency by bin (classification only).
        latency_ms: median time to predict one row.
        size_mb: of the saved model.
        is_reproducible: whether a second fit predicted the same bits.
        pool: of a segment's candidate, against the pooled model on the segment's rows.
        business: what its predictions are worth, if the spec's scope says so.
        guardrails: of each guardrail metric, the paired gain over the champion (positive: the candidate is better).
        parity: by sensitive attribute, rates of each group before and after: of the champion and of the candidate.
        thresholds: by sensitive attribute, what other thresholds would cost (binary only).
    """

    metric: str
    lower_is_better: bool
    rows: int
    rarest_rows: int | None
    metrics: Mapping[str, Interval]
    baselines: tuple[Comparison, ...]
    champion: Comparison | None
    window: Comparison | None
    slices: tuple[SliceResult, ...]
    weak_spots: tuple[WeakSpot, ...]
    fairness: tuple[FairnessResult, ...]
    calibration: tuple[dict[str, float], ...]
    latency_ms: float
    size_mb: float
    is_reproducible: bool
    pool: Comparison | None = None
    business: BusinessResult | None = None
    guardrails: Mapping[str, Interval] = field(default_factory=dict)
    parity: tuple[Parity, ...] = ()
    thresholds: tuple[WhatIf, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> EvaluationReport:
        """The report back from its JSON form."""
        return cls(**{
            **content,
            "metrics": {name: Interval(**interval) for name, interval in content["metrics"].items()},
            "baselines": tuple(Comparison.from_dict(one) for one in content["baselines"]),
            "champion": _against(content["champion"]),
            "pool": _against(content.get("pool")),
            "window": _against(content["window"]),
            "slices": tuple(_slice(one) for one in content["slices"]),
            "weak_spots": tuple(WeakSpot(**one) for one in content["weak_spots"]),
            "fairness": tuple(FairnessResult(**one) for one in content["fairness"]),
            "parity": tuple(Parity.from_dict(one) for one in content.get("parity", ())),
            "thresholds": tuple(WhatIf.from_dict(one) for one in content.get("thresholds", ())),
            "calibration": tuple(content["calibration"]),
            "business": read_business(content.get("business")),
            "guardrails": {name: Interval(**one) for name, one in content.get("guardrails", {}).items()},
        })  # fmt: skip


@dataclass(frozen=True)
class CostResult:
    """What a candidate costs to run, measured before it is judged."""

    latency_ms: float
    size_mb: float
    is_reproducible: bool


def evaluate(
    spec: ModelSpec, table: pa.Table, label: npt.NDArray[Any], scores: Floats, features: Sequence[str], *,
    baselines: Sequence[Contender], champion: Contender | None, cost: CostResult, pool: Contender | None = None,
    window: tuple[datetime, datetime] | None = None, facts: pa.Table | None = None,
    classes: npt.NDArray[Any] | None = None,
) -> EvaluationReport:  # fmt: skip
    """Measure a candidate on the test rows.

    Args:
        spec: what to measure.
        table: the test rows of the snapshot.
        label: (n_rows,); of a multiclass task, columns of the scores.
        scores: the candidate's.
        features: the candidate's feature columns.
        baselines: scores of the baselines on the same rows.
        champion: scores of the champion on the same rows, if there is one.
        cost: latency, size and reproducibility.
        pool: scores of the pooled model on the same rows, if the candidate is a segment's.
        window: event times [from, to) that asked for the retraining.
        facts: (n_rows,) each: what the scope's value reads, if it states one.
        classes: of a multiclass task, by the columns of the scores.
    """
    sign = -1.0 if spec.metric in LOWER_IS_BETTER else 1.0
    rivals = [*baselines, *(one for one in (champion, pool) if one is not None)]
    metrics, comparisons = _compare(spec, label, scores, rivals, sign)
    groups = {name: group_texts(table.column(name).to_pylist()) for name in spec.evaluation.sensitive}
    before = champion.scores if champion else None
    return EvaluationReport(
        metric=spec.metric,
        lower_is_better=sign < 0,
        rows=len(label),
        rarest_rows=None if spec.task == "regression" else _count_rarest(label, scores),
        metrics=metrics,
        baselines=tuple(comparisons[: len(baselines)]),
        champion=comparisons[len(baselines)] if champion else None,
        pool=comparisons[-1] if pool else None,
        window=_on_window(spec, table, label, scores, champion, sign, window),
        slices=measure_slices(spec, table, label, scores, champion.scores if champion else None, sign),
        weak_spots=find_weak_spots(table, features, row_loss(spec, label, scores), spec.evaluation.min_slice_rows),
        fairness=measure_fairness(spec, table, label, scores),
        calibration=reliability_curve(spec, label, scores),
        latency_ms=cost.latency_ms,
        size_mb=cost.size_mb,
        is_reproducible=cost.is_reproducible,
        business=None if facts is None else value_predictions(spec, facts, scores, rivals, classes),
        guardrails=_guard(spec, label, scores, champion),
        parity=tuple(measure_parity(spec, name, own, label, scores, before) for name, own in groups.items()),
        thresholds=_plan_thresholds(spec, groups, label, scores),
    )


def _guard(spec: ModelSpec, label: npt.NDArray[Any], scores: Floats, champion: Contender | None) -> dict[str, Interval]:
    found: dict[str, Interval] = {}
    for name in spec.scope.guardrails if spec.scope and champion else ():
        sign = -1.0 if name in LOWER_IS_BETTER else 1.0
        measures = [measured(spec, name, label, of) for of in (scores, champion.scores)] if champion else []
        found[name] = bootstrap_of(spec, len(label)).compare(measures[0], measures[1], sign)[2]
    return found


def _plan_thresholds(
    spec: ModelSpec, groups: Mapping[str, npt.NDArray[np.str_]], label: npt.NDArray[Any], scores: Floats
) -> tuple[WhatIf, ...]:
    if spec.task != "binary":
        return ()
    plans = [plan_thresholds(spec, name, own, label, scores) for name, own in groups.items()]
    return tuple(one for one in plans if one is not None)


def gain_over(spec: ModelSpec, label: npt.NDArray[Any], one: Contender, other: Contender) -> Interval:
    """The paired gain of one contender over another on the same rows (positive: the first is better)."""
    sign = -1.0 if spec.metric in LOWER_IS_BETTER else 1.0
    return _compare(spec, label, one.scores, [other], sign)[1][0].gain


def _compare(spec: ModelSpec, label: npt.NDArray[Any], scores: Floats, rivals: Sequence[Contender],
             sign: float) -> tuple[dict[str, Interval], list[Comparison]]:  # fmt: skip
    guardrails = spec.scope.guardrails if spec.scope else ()
    names = tuple(dict.fromkeys((spec.metric, *spec.evaluation.metrics, *guardrails)))
    measures = [measured(spec, name, label, scores) for name in names]
    measures += [measured(spec, spec.metric, label, rival.scores) for rival in rivals]
    own, comparisons = compare_measures(spec, len(label), measures, rivals, len(names), sign)
    return dict(zip(names, own, strict=True)), comparisons


def _on_window(spec: ModelSpec, table: pa.Table, label: npt.NDArray[Any], scores: Floats, champion: Contender | None,
               sign: float, window: tuple[datetime, datetime] | None) -> Comparison | None:  # fmt: skip
    if window is None or champion is None:
        return None
    event = times(table, spec.event_time)
    start, end = (np.datetime64(moment.replace(tzinfo=None), "us") for moment in window)
    rows = np.flatnonzero((event >= start) & (event < end))
    is_too_few = len(rows) < spec.evaluation.min_slice_rows
    if is_too_few or (spec.task != "regression" and len(np.unique(label[rows])) < 2):
        return None
    inside = Contender(champion.name, champion.scores[rows], champion.version)
    return _compare(spec, label[rows], scores[rows], [inside], sign)[1][0]


def _count_rarest(label: npt.NDArray[Any], scores: Floats) -> int:
    """Rows of the rarest class; 0 if the test rows lack one."""
    classes = scores.shape[1] if scores.ndim == 2 else 2
    return int(np.bincount(label, minlength=classes).min())


def row_loss(spec: ModelSpec, label: npt.NDArray[Any], scores: Floats) -> Floats:
    """Each row's loss, (n_rows,): log loss of a classification, squared error of a regression."""
    if spec.task == "regression":
        return np.asarray((label - scores) ** 2)
    is_binary = spec.task == "binary"
    said = np.where(label == 1, scores, 1 - scores) if is_binary else scores[np.arange(len(label)), label]
    return -np.log(np.clip(said, 1e-15, 1))  # type: ignore[no-any-return]


def reliability_curve(spec: ModelSpec, label: npt.NDArray[Any], scores: Floats) -> tuple[dict[str, float], ...]:
    """How often what was said with some probability came true, over bins with equal numbers of rows."""
    if spec.task == "regression":
        return ()
    if spec.task == "binary":
        said, came = scores, label == 1
    else:
        said, came = scores.max(axis=1), scores.argmax(axis=1) == label
    bins = np.array_split(np.argsort(said, kind="stable"), CURVE_BINS)
    return tuple(
        {"rows": float(len(rows)), "score": float(said[rows].mean()), "frequency": float(came[rows].mean())}
        for rows in bins
        if len(rows)
    )


def measure_latency_ms(predict_one: Any, frame: pd.DataFrame, repeats: int = 20) -> float:
    """Median milliseconds to predict one row, after a warm-up."""
    rows = [frame.iloc[[number % len(frame)]] for number in range(repeats + 3)]
    seconds = []
    for row in rows:
        started = time.perf_counter()
        predict_one(row)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[3:]) * 1000)


def _against(content: Mapping[str, Any] | None) -> Comparison | None:
    return None if content is None else Comparison.from_dict(content)


def _slice(content: Mapping[str, Any]) -> SliceResult:
    gain = content["versus_champion"]
    return SliceResult(
        content["name"], content["rows"], Interval(**content["metric"]), Interval(**gain) if gain else None
    )
