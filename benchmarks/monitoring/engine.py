"""The engine's own judgement of a stream: its reference, its looks day by day, and what its policy makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from benchmarks.monitoring.streams import CATEGORIES, EDGES, Floats, Stream, kind_of, score_values
from include.ratchet.monitoring.binning import Bins
from include.ratchet.monitoring.compare import find_signals
from include.ratchet.monitoring.incidents import Incident, follow
from include.ratchet.monitoring.outcomes import Calibration
from include.ratchet.monitoring.policy import PastRequest, decide
from include.ratchet.monitoring.reference import SCORE, Reference
from include.ratchet.monitoring.signals import Look
from include.ratchet.monitoring.usual import learn_usual, nothing_usual
from include.ratchet.spec import Model, ModelKey, ModelSpec, Partition, partition_of

FIRST = date(2025, 1, 6)
"""A Monday."""
LATE = 2
"""Days until labels come."""


@dataclass(frozen=True)
class Watched:
    """What became of a stream.

    Attributes:
        fired: of each live day, the kinds of signals that fired.
        retrain: the first live day that asked for a retraining; None if none did.
        cause: kinds behind it.
        incidents: live days on which an incident opened.
        subjects: of each live day, what fired: kind and subject.
    """

    fired: tuple[frozenset[str], ...]
    retrain: int | None
    cause: tuple[str, ...]
    incidents: tuple[int, ...]
    subjects: tuple[tuple[str, ...], ...]


def spec_of(name: str = "stream", **monitoring: Any) -> ModelSpec:
    """A binary model with the defaults."""
    return ModelSpec.model_validate({
        "name": name, "owner": "benchmarks", "description": "A stream whose truth is known.", "task": "binary",
        "source": {"python": "none"}, "keys": ["id"], "event_time": "at", "label": {"column": "label", "delay": "2d"},
        "monitoring": monitoring,
    })  # fmt: skip


def model_of(spec: ModelSpec) -> Model:
    """The model of a spec that is in memory only."""
    return Model(spec=spec, folder=Path())


def bins_of(columns: int) -> dict[str, Bins]:
    """Bins of a stream's columns and of its scores."""
    found = {f"x{column}": _bins(kind_of(column)) for column in range(columns)}
    return {**found, SCORE: Bins("number", tuple(expit(-1 + 1.2 * EDGES).tolist()))}


def auc(positives: Floats, negatives: Floats) -> Floats:
    """Area under the ROC curve of rows at ascending scores, over the last axis; nan without both classes."""
    below = np.cumsum(negatives, axis=-1) - negatives
    pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (positives * (below + negatives / 2)).sum(axis=-1) / pairs  # type: ignore[no-any-return]


def watch(stream: Stream, spec: ModelSpec) -> Watched:
    """Look at every live day as production does."""
    return follow_policy(spec, see(stream, spec), stream.world.reference_days)


def see(stream: Stream, spec: ModelSpec) -> list[Look]:
    """The looks at every live day, each with the signals of its own day."""
    world, key = stream.world, ModelKey(spec.name)
    partitions = [partition_of(spec, FIRST + timedelta(days=day)) for day in range(len(stream.rows))]
    reference, numbers = _reference(stream, spec, partitions)
    counts, is_alike = _live_counts(stream, spec.monitoring.window)
    looks: list[Look] = []
    window = spec.monitoring.window
    for day in range(world.live_days):
        at = world.reference_days + day
        looks = [_mature(look, numbers, world.reference_days + i, at) for i, look in enumerate(looks)]
        newest = _see(stream, key, partitions, numbers, at)
        chosen = slice(day, day + window)
        look = find_signals(spec, [*looks, newest], reference, (counts[chosen], is_alike[chosen]),
                            partitions[at - window + 1 : at + 1])  # fmt: skip
        looks.append(look)
    return looks


def follow_policy(spec: ModelSpec, seen: Sequence[Look], reference_days: int) -> Watched:
    """What the policy makes of looks, day by day."""
    looks: list[Look] = []
    past: list[PastRequest] = []
    incident: Incident | None = None
    cause: tuple[str, ...] = ()
    opened: list[int] = []
    for day, look in enumerate(seen):
        looks.append(look)
        decision = decide(spec.monitoring.policy, looks, past, look.as_of)
        follows = follow(incident, look, decision, spec.monitoring.policy.streak)
        incident = follows or incident
        if follows is not None and follows.event == "opened":
            opened.append(day)
        if decision.outcome == "retrain":
            if not past:
                cause = tuple(sorted(decision.cause))
            past.append(PastRequest(look.as_of, 1, decision.cause, True, decision.start or look.start))
    retrain = (past[0].at.date() - FIRST).days - reference_days - 1 if past else None
    return Watched(
        tuple(frozenset(look.kinds) for look in looks), retrain, cause, tuple(opened),
        tuple(tuple(f"{one.kind}:{one.subject}:{one.partitions}" for one in look.fired) for look in looks),
    )  # fmt: skip


def _bins(kind: str) -> Bins:
    if kind == "category":
        return Bins("category", categories=tuple(f"c{i}" for i in range(CATEGORIES)))
    return Bins("number", tuple((EDGES if kind == "number" else np.exp(EDGES / 2)).tolist()))


def _reference(
    stream: Stream, spec: ModelSpec, partitions: list[Partition]
) -> tuple[Reference, dict[str, Floats]]:  # fmt: skip
    """The reference, and the numbers of every day of the stream."""
    world = stream.world
    tested = slice(world.reference_days - world.test_days, world.reference_days)
    calibration = _calibrate(stream.scores[tested].sum(axis=0), stream.positives[tested].sum(axis=0))
    likely = calibration(score_values())
    numbers = {
        "metric": auc(stream.positives, stream.scores - stream.positives),
        "estimate": auc(stream.scores * likely, stream.scores * (1 - likely)),
        "label": stream.positives.sum(axis=1) / stream.rows, "volume": stream.rows.astype(np.float64),
    }  # fmt: skip
    names = [one.key for one in partitions]
    columns = tuple(f"x{column}" for column in range(world.columns))
    bins = bins_of(world.columns)
    own, scored = {name: bins[name] for name in columns}, {SCORE: bins[SCORE]}
    return Reference(
        ModelKey(spec.name), 1, bins,
        learn_usual(spec, names[: world.reference_days], own, stream.counts[: world.reference_days]),
        learn_usual(spec, names[tested], scored, count_scores(stream)[tested][:, None]),
        nothing_usual(), {name: values[tested] for name, values in numbers.items()}, calibration, (),
        dict.fromkeys(columns, 1 / world.columns),
    ), numbers  # fmt: skip


def count_scores(stream: Stream) -> Floats:
    """(n_days, n_bins) of the scores, the last one of nulls."""
    edges = np.asarray(bins_of(0)[SCORE].edges)
    place = np.searchsorted(edges, score_values())
    found = np.zeros((len(stream.rows), len(edges) + 2))
    np.add.at(found.T, place, stream.scores.T)
    return found


def _calibrate(rows: Floats, positives: Floats) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    is_there = rows > 0
    scores = score_values()[is_there]
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(
        scores, positives[is_there] / rows[is_there], sample_weight=rows[is_there])  # fmt: skip
    return Calibration(fitted.X_thresholds_, fitted.y_thresholds_)


def _live_counts(stream: Stream, window: int) -> tuple[Floats, Any]:
    """Counts of the live days, with days before them that nothing was seen of, and whether all values are alike."""
    live = slice(stream.world.reference_days, None)
    both = np.concatenate([stream.counts[live], count_scores(stream)[live][:, None]], axis=1)
    is_alike = (both[:, :, :-1] > 0).sum(axis=2) == 1
    if stream.change.kind == "unit":
        is_alike[:] = False
    return (np.concatenate([np.zeros((window - 1, *both.shape[1:])), both]),
            np.concatenate([np.zeros((window - 1, both.shape[1]), bool), is_alike]))  # fmt: skip


def _see(stream: Stream, key: ModelKey, partitions: list[Partition], numbers: dict[str, Floats], at: int) -> Look:
    """A day before any of its labels has come."""
    one = partitions[at]
    told = {"volume": float(stream.rows[at]), "estimate": float(numbers["estimate"][at]), "error_share": 0.0,
            "stale_share": 0.0}  # fmt: skip
    return Look(key, one.key, one.start, one.end, one.end, 1, int(stream.rows[at]), 0.0, frozenset(), (), told)


def _mature(look: Look, numbers: dict[str, Floats], day: int, at: int) -> Look:
    """The look with its labels, if they have come by now."""
    from dataclasses import replace

    if look.maturity or at - day < LATE:
        return look
    told = {name: float(numbers[name][day]) for name in ("metric", "label") if np.isfinite(numbers[name][day])}
    return replace(look, maturity=1.0, numbers={**look.numbers, **told})
